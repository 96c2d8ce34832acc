// Package historytest is the suite that every history.Store passes.
package historytest

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/towpath/towpath/internal/event"
	"github.com/towpath/towpath/internal/history"
)

// Run runs the suite. open returns an empty store, and the same store again when it is called again with the same folder.
func Run(t *testing.T, open func(dir string) history.Store) {
	for name, f := range map[string]func(*testing.T, history.Store, func() history.Store){
		"a run is read back as it was written":   testRoundTrip,
		"output of steps is left to the logs":    testStepOutput,
		"runs are listed the newest first":       testRuns,
		"references resolve":                     testResolve,
		"a run without an end is shown":          testUnfinished,
		"logs of stages with any name":           testLogs,
		"what is remembered adds up":             testRemember,
		"a run that is discarded is gone":        testDiscard,
		"many processes remember at once":        testRememberAtOnce,
		"an empty store has nothing and no fail": testEmpty,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			f(t, open(dir), func() history.Store { return open(dir) })
		})
	}
}

func at(sec int) time.Time { return time.Date(2026, 1, 2, 3, 4, sec, 0, time.UTC) }

func write(t *testing.T, s history.Store, id string, events ...event.Event) {
	t.Helper()
	w, err := s.Begin(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range events {
		w.Emit(event.Record{Seq: int64(i + 1), Time: at(i), Run: id, Event: e})
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, s history.Store, id string) []event.Event {
	t.Helper()
	var got []event.Event
	err := s.Events(context.Background(), id, func(r event.Record) error {
		got = append(got, r.Event)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func testRoundTrip(t *testing.T, s history.Store, again func() history.Store) {
	want := []event.Event{
		event.RunStarted{Version: "1", Program: "pipeline.py", Targets: []string{"a"}, Jobs: 2},
		event.StageFinished{Stage: "a", Outcome: event.Succeeded, Value: []byte(`{"x":1}`), Duration: time.Second},
		event.RunFinished{Outcome: event.Succeeded, Succeeded: 1},
	}
	write(t, s, "20260102-030405-0001", want...)
	if diff := cmp.Diff(want, read(t, again(), "20260102-030405-0001")); diff != "" {
		t.Error(diff)
	}
	if _, err := s.Begin(context.Background(), "20260102-030405-0001"); err == nil {
		t.Error("a run was begun twice")
	}
}

func testStepOutput(t *testing.T, s history.Store, _ func() history.Store) {
	write(t, s, "r", event.RunStarted{}, event.StepOutput{Text: "much"}, event.RunFinished{})
	if n := len(read(t, s, "r")); n != 2 {
		t.Errorf("%d events were kept, want 2", n)
	}
}

func testRuns(t *testing.T, s history.Store, _ func() history.Store) {
	for _, id := range []string{"20260102-030405-0002", "20260102-030405-0001", "20260102-030406-0000"} {
		write(t, s, id, event.RunStarted{Targets: []string{"x"}},
			event.StageFinished{Stage: "a", Outcome: event.Cached},
			event.StageFinished{Stage: "b", Outcome: event.Failed, Failure: &event.Failure{Code: "failed"}},
			event.StageFinished{Stage: "whole", Outcome: event.Failed, Because: "an element of it failed"},
			event.RunFinished{Outcome: event.Failed})
	}
	got, err := s.Runs(context.Background(), 2)
	if err != nil {
		t.Fatal(err)
	}
	want := []history.Summary{
		{ID: "20260102-030406-0000", Started: at(0), Targets: []string{"x"}, Outcome: event.Failed, Duration: 4 * time.Second, Ran: 1, Cached: 1, Failed: []string{"b"}},
		{ID: "20260102-030405-0002", Started: at(0), Targets: []string{"x"}, Outcome: event.Failed, Duration: 4 * time.Second, Ran: 1, Cached: 1, Failed: []string{"b"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func testResolve(t *testing.T, s history.Store, _ func() history.Store) {
	ctx := context.Background()
	for _, id := range []string{"20260101-1", "20260102-1", "20260102-12"} {
		write(t, s, id, event.RunStarted{})
	}
	for ref, want := range map[string]string{"": "20260102-12", "latest": "20260102-12", "20260101": "20260101-1", "20260102-1": "20260102-1"} {
		if got, err := s.Resolve(ctx, ref); err != nil || got != want {
			t.Errorf("Resolve(%q) = %q, %v, want %q", ref, got, err, want)
		}
	}
	var ambiguous *history.AmbiguousError
	if _, err := s.Resolve(ctx, "20260102"); !errors.As(err, &ambiguous) {
		t.Errorf("an ambiguous reference gave %v", err)
	}
	var missing *history.NotFoundError
	if _, err := s.Resolve(ctx, "1999"); !errors.As(err, &missing) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an unknown reference gave %v", err)
	}
}

func testUnfinished(t *testing.T, s history.Store, again func() history.Store) {
	w, err := s.Begin(context.Background(), "r")
	if err != nil {
		t.Fatal(err)
	}
	w.Emit(event.Record{Seq: 1, Time: at(0), Run: "r", Event: event.RunStarted{Targets: []string{"x"}}})
	got, err := again().Runs(context.Background(), 0)
	if err != nil || len(got) != 1 || got[0].Outcome != "" || got[0].ID != "r" {
		t.Errorf("Runs = %+v, %v", got, err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

func testLogs(t *testing.T, s history.Store, again func() history.Store) {
	ctx := context.Background()
	w, err := s.Begin(ctx, "r")
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"test", "test[os=linux/amd64]", "a[x=\"..\"]", "long[" + strings.Repeat("é", 120) + "1]", "long[" + strings.Repeat("é", 120) + "2]"}
	for _, n := range names {
		for _, part := range []string{"one of " + n + "\n", "two\n"} {
			l, err := w.Log(n)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(l, part); err != nil {
				t.Fatal(err)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		l, err := again().Log(ctx, "r", n)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(l)
		if err != nil || string(b) != "one of "+n+"\ntwo\n" {
			t.Errorf("log of %s = %q, %v", n, b, err)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := s.Log(ctx, "r", "none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing log gave %v", err)
	}
}

func testRemember(t *testing.T, s history.Store, again func() history.Store) {
	ctx := context.Background()
	write(t, s, "r", event.RunStarted{})
	for _, m := range []map[string]history.Stage{
		{"a": {Run: "1", Key: "k1", Duration: 1}, "b": {Run: "1", Key: "k2"}},
		{"b": {Run: "2", Key: "k3", Duration: 4}},
		{},
	} {
		if err := s.Remember(ctx, m); err != nil {
			t.Fatal(err)
		}
	}
	got, err := again().Last(ctx)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]history.Stage{"a": {Run: "1", Key: "k1", Duration: 1}, "b": {Run: "2", Key: "k3", Duration: 4}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func testRememberAtOnce(t *testing.T, s history.Store, again func() history.Store) {
	ctx := context.Background()
	write(t, s, "r", event.RunStarted{})
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			name := string(rune('a' + i))
			if err := again().Remember(ctx, map[string]history.Stage{name: {Run: name}}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	got, err := s.Last(ctx)
	if err != nil || len(got) != 20 {
		t.Errorf("%d of 20 stages are remembered, %v", len(got), err)
	}
}

func testDiscard(t *testing.T, s history.Store, again func() history.Store) {
	w, err := s.Begin(context.Background(), "r")
	if err != nil {
		t.Fatal(err)
	}
	w.Emit(event.Record{Seq: 1, Time: at(0), Run: "r", Event: event.RunStarted{}})
	if err := w.Discard(); err != nil {
		t.Fatal(err)
	}
	if runs, err := again().Runs(context.Background(), 0); err != nil || len(runs) != 0 {
		t.Errorf("Runs = %v, %v", runs, err)
	}
}

func testEmpty(t *testing.T, s history.Store, _ func() history.Store) {
	ctx := context.Background()
	if runs, err := s.Runs(ctx, 0); err != nil || len(runs) != 0 {
		t.Errorf("Runs = %v, %v", runs, err)
	}
	if last, err := s.Last(ctx); err != nil || len(last) != 0 {
		t.Errorf("Last = %v, %v", last, err)
	}
	if _, err := s.Resolve(ctx, ""); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Resolve = %v", err)
	}
}
