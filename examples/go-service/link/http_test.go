package link

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func serve(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(Handler(new(Store)))
	t.Cleanup(server.Close)
	return server.URL
}

func do(t *testing.T, method, url, body string) (int, http.Header, map[string]any) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultTransport.RoundTrip(request) // does not follow redirects
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var decoded map[string]any
	if response.Header.Get("Content-Type") == "application/json" {
		if err := json.NewDecoder(response.Body).Decode(&decoded); err != nil {
			t.Fatal(err)
		}
	}
	return response.StatusCode, response.Header, decoded
}

func TestTheWholeWay(t *testing.T) {
	url := serve(t)
	status, header, body := do(t, http.MethodPost, url+"/links", `{"target": "https://go.dev"}`)
	if status != http.StatusCreated || body["target"] != "https://go.dev" {
		t.Fatalf("POST /links: %d %v", status, body)
	}
	link := header.Get("Location")
	for range 2 {
		status, header, _ := do(t, http.MethodGet, url+link, "")
		if status != http.StatusFound || header.Get("Location") != "https://go.dev" {
			t.Errorf("GET %s: %d, Location %q", link, status, header.Get("Location"))
		}
	}
	status, _, body = do(t, http.MethodGet, url+"/links"+link, "")
	if status != http.StatusOK || body["visits"] != 2.0 {
		t.Errorf("GET /links%s: %d %v, want 2 visits", link, status, body)
	}
}

func TestAnswers(t *testing.T) {
	url := serve(t)
	for _, test := range []struct {
		name, method, path, body string
		status                   int
		message                  string
	}{
		{"health", http.MethodGet, "/healthz", "", http.StatusOK, ""},
		{"unknown link", http.MethodGet, "/nope", "", http.StatusNotFound, "no such link"},
		{"unknown link's visits", http.MethodGet, "/links/nope", "", http.StatusNotFound, "no such link"},
		{"no JSON", http.MethodPost, "/links", "{", http.StatusBadRequest, "not a JSON object"},
		{"no address", http.MethodPost, "/links", `{"target": "go.dev"}`, http.StatusBadRequest, "no http or https address"},
		{"endless body", http.MethodPost, "/links", strings.Repeat(" ", maxBody+1), http.StatusBadRequest, "not a JSON object"},
	} {
		t.Run(test.name, func(t *testing.T) {
			status, _, body := do(t, test.method, url+test.path, test.body)
			if status != test.status {
				t.Errorf("status %d, want %d", status, test.status)
			}
			if message, _ := body["error"].(string); !strings.Contains(message, test.message) {
				t.Errorf("error %q, want %q", message, test.message)
			}
		})
	}
}
