package session

import (
	"strings"
	"testing"

	"github.com/towpath/towpath/protocol"
)

func TestFilesThatAStageReadsAreToldAndWatched(t *testing.T) {
	p := newPlace(t, map[string]string{"pipeline.py": strings.ReplaceAll(hello, `return "hi"`, `return open("late.txt").read()`), "late.txt": "a"})
	s, err := p.open()
	if err != nil {
		t.Fatal(err)
	}
	w, err := s.Worker(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got, err := w.Call(t.Context(), protocol.StageCallParams{Stage: "hello", Function: "hello"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	late := s.Late(got)
	if len(late.Files) != 1 || late.Files[0].Name != "late.txt" {
		t.Fatalf("it read %+v", late)
	}
	if name, err := s.Changed(t.Context(), late); err != nil || name != "" {
		t.Errorf("Changed = %s, %v", name, err)
	}
	p.write("late.txt", "b")
	if name, err := s.Changed(t.Context(), late); err != nil || name != "late.txt" {
		t.Errorf("Changed = %s, %v", name, err)
	}
}
