package link

import (
	"encoding/json"
	"errors"
	"net/http"
)

const maxBody = 16 << 10

// Handler serves the links of the store: POST /links makes one, GET /links/NAME tells of it, GET /NAME follows it.
func Handler(store *Store) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]string{"status": "ok"})
	})
	mux.HandleFunc("POST /links", func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Target string `json:"target"`
		}
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&body); err != nil {
			answer(w, http.StatusBadRequest, map[string]string{"error": "the body is not a JSON object with a target"})
			return
		}
		name, err := store.Add(body.Target)
		if err != nil {
			fail(w, err)
			return
		}
		w.Header().Set("Location", "/"+name)
		answer(w, http.StatusCreated, map[string]string{"name": name, "target": body.Target})
	})
	mux.HandleFunc("GET /links/{name}", func(w http.ResponseWriter, r *http.Request) {
		visits, err := store.Visits(r.PathValue("name"))
		if err != nil {
			fail(w, err)
			return
		}
		answer(w, http.StatusOK, map[string]int{"visits": visits})
	})
	mux.HandleFunc("GET /{name}", func(w http.ResponseWriter, r *http.Request) {
		target, err := store.Visit(r.PathValue("name"))
		if err != nil {
			fail(w, err)
			return
		}
		http.Redirect(w, r, target, http.StatusFound)
	})
	return mux
}

func fail(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	switch {
	case errors.Is(err, ErrNotFound):
		status = http.StatusNotFound
	case errors.Is(err, ErrTarget):
		status = http.StatusBadRequest
	}
	answer(w, status, map[string]string{"error": err.Error()})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client is gone: there is nobody left to tell
}
