package files

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/towpath/towpath/internal/event"
	"github.com/towpath/towpath/internal/history"
	"github.com/towpath/towpath/internal/history/historytest"
)

func TestStore(t *testing.T) {
	historytest.Run(t, func(dir string) history.Store { return Open(dir) })
}

func TestACutLastLineIsLeftOut(t *testing.T) {
	dir := t.TempDir()
	s := Open(dir)
	w, err := s.Begin(context.Background(), "r")
	if err != nil {
		t.Fatal(err)
	}
	w.Emit(event.Record{Seq: 1, Event: event.RunStarted{}})
	w.Emit(event.Record{Seq: 2, Event: event.RunFinished{Outcome: event.Succeeded}})
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "runs", "r", "events.jsonl")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b[:len(b)-5], 0o644); err != nil {
		t.Fatal(err)
	}
	runs, err := s.Runs(context.Background(), 0)
	if err != nil || len(runs) != 1 || runs[0].Outcome != "" {
		t.Errorf("Runs = %+v, %v, want one unfinished", runs, err)
	}
}

func TestOldRunsAreRemoved(t *testing.T) {
	s := Open(t.TempDir())
	for i := range keep + 3 {
		w, err := s.Begin(context.Background(), fmt.Sprintf("r%04d", i))
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	ids, err := s.ids()
	if err != nil || len(ids) != keep || ids[0] != fmt.Sprintf("r%04d", keep+2) {
		t.Errorf("%d runs are kept, the newest %v, %v", len(ids), ids[0], err)
	}
}

func TestADamagedRunIsListedAsSuchAndSpoilsNoOther(t *testing.T) {
	dir := t.TempDir()
	s := Open(dir)
	for _, id := range []string{"r1", "r2"} {
		w, err := s.Begin(context.Background(), id)
		if err != nil {
			t.Fatal(err)
		}
		w.Emit(event.Record{Seq: 1, Event: event.RunStarted{}})
		w.Emit(event.Record{Seq: 2, Event: event.RunFinished{Outcome: event.Succeeded}})
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "runs", "r1", "events.jsonl")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	copy(b[len(b)-20:], make([]byte, 10))
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	runs, err := s.Runs(context.Background(), 0)
	if err != nil || len(runs) != 2 || runs[0].Damaged || !runs[1].Damaged {
		t.Errorf("Runs = %+v, %v", runs, err)
	}
}
