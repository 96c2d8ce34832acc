package history

import (
	"fmt"
	"testing"

	"github.com/towpath/towpath/internal/event"
)

func read(t *testing.T, events ...event.Event) Calls {
	t.Helper()
	calls, err := ReadCalls("r1", func(fn func(event.Record) error) error {
		for _, e := range events {
			if err := fn(event.Record{Event: e}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return calls
}

// Of a stage that was called twice in a run the last call counts, with its steps and no others.
func TestTheLastCallOfAStageCounts(t *testing.T) {
	calls := read(t,
		event.StageFinished{Stage: "skipped", Outcome: event.Skipped, Because: "why"},
		event.StageCached{Stage: "make", From: "r0"}, event.StageFinished{Stage: "make", Outcome: event.Cached},
		event.StageStarted{Stage: "make", Reasons: []event.Reason{{Text: "a blob was lost"}}},
		event.StepStarted{Stage: "make", Step: 1, Key: "k1"}, event.StepFinished{Stage: "make", Step: 1},
		event.StageFinished{Stage: "make", Outcome: event.Failed},
		event.StageStarted{Stage: "make"}, event.StepStarted{Stage: "make", Step: 2, Key: "k2"})
	got := ""
	for _, c := range calls.Stages {
		got += fmt.Sprintf("%s %v %q %q %q %d;", c.Stage, c.Began(), c.From, c.Outcome, c.Because, len(c.Steps))
	}
	if want := `skipped false "" "skipped" "why" 0;make true "" "" "" 1;`; got != want || calls.Ended {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if s := calls.Stages[1].Steps[0]; s.Key != "k2" || s.Finished != nil || s.End() != "was cut off" || !s.Failed() {
		t.Errorf("its step is %+v", s)
	}
	if !read(t, event.RunFinished{}).Ended {
		t.Error("a run that ended has not")
	}
}

func TestHowAStepEnded(t *testing.T) {
	for _, c := range []struct {
		e            event.StepFinished
		end, refused string
		failed       bool
	}{
		{e: event.StepFinished{}, end: "ended with exit code 0"},
		{e: event.StepFinished{ExitCode: 1}, end: "ended with exit code 1", failed: true}, // and was accepted
		{e: event.StepFinished{ExitCode: 1, Refused: "ended with exit code 1"}, end: "ended with exit code 1", refused: "ended with exit code 1", failed: true},
		{e: event.StepFinished{Refused: "did not make x"}, end: "did not make x", refused: "did not make x", failed: true},
		{e: event.StepFinished{ExitCode: 137, Signal: "SIGKILL", Refused: "ended with signal SIGKILL"}, end: "ended with signal SIGKILL", refused: "ended with signal SIGKILL", failed: true},
		{e: event.StepFinished{Exceeded: "memory", Refused: "needed more"}, end: "exceeded its limit of memory", refused: "needed more", failed: true},
		{e: event.StepFinished{Error: "e"}, end: "could not be run to its end", refused: "could not be run to its end", failed: true},
	} {
		s := Step{Finished: &c.e}
		if s.End() != c.end || s.Refused() != c.refused || s.Failed() != c.failed {
			t.Errorf("%+v %s, %q, %v", c.e, s.End(), s.Refused(), s.Failed())
		}
	}
}
