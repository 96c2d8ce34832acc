package engine

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/event"
	"github.com/towpath/towpath/internal/executor/fake"
	"github.com/towpath/towpath/protocol"
)

// versions has each call of a stage that makes a file make another one: "version 1", "version 2".
func (w *world) versions() {
	var calls atomic.Int32
	w.made = func(string) string { return fmt.Sprintf("version %d", calls.Add(1)) }
}

func after(s protocol.Stage, stages ...string) protocol.Stage {
	s.After = stages
	return s
}

// A stage that waits for a slot while what it takes becomes something else is recorded under the key of what it was called with.
func TestAResultHasTheKeyOfWhatItWasMadeOf(t *testing.T) {
	w := newWorld(t)
	w.versions()
	w.c.Jobs = 1
	w.write([]protocol.Stage{file("make"), file("pass_a", "make"), file("pass_b", "make")})
	var order []string
	done := false
	w.told = func(r event.Record) {
		switch e := r.Event.(type) {
		case event.StageStarted:
			order = append(order, e.Stage)
		case event.StageFinished:
			if e.Stage == "make" && !done {
				done = true
				w.lose("version 1")
			}
		default:
		}
	}
	if result, _ := w.run(t.Context(), Request{}); result.ExitCode != ExitOK || len(order) != 4 || order[2] != "make" {
		t.Fatalf("%+v %+v, started %v", result, result.Failure, order)
	}
	if _, p := w.run(t.Context(), Request{}); len(p.started) != 0 {
		t.Errorf("again: %v", p.started)
	}
	// Now what it takes is what it was when it was looked up.
	w.made = func(string) string { return "version 1" }
	if result, _ := w.run(t.Context(), Request{Targets: []string{"make"}, NoCache: true}); result.ExitCode != ExitOK {
		t.Fatalf("%+v", result)
	}
	_, p := w.run(t.Context(), Request{})
	for _, stage := range []string{"pass_a", "pass_b"} {
		if got := string(p.ends[stage].Value); !strings.Contains(got, digest.OfBytes([]byte("version 1")).String()) {
			t.Errorf("%s takes version 1 and returns %s", stage, got)
		}
	}
}

// What has ended well, or was cached, was made of one version of a file. Then no other stage of the run gets another.
func TestARunMixesNoVersions(t *testing.T) {
	for _, differs := range []bool{false, true} {
		for _, cached := range []bool{false, true} {
			t.Run(fmt.Sprintf("differs %v cached %v", differs, cached), func(t *testing.T) {
				w := newWorld(t)
				version := "version 1"
				w.made = func(string) string { return version }
				test := takesFiles("read_test", "make")
				w.write([]protocol.Stage{file("make"), test, after(takesFiles("use", "make"), "read_test")})
				if cached {
					if result, _ := w.run(t.Context(), Request{Targets: []string{"read_test"}}); result.ExitCode != ExitOK {
						t.Fatalf("%+v", result)
					}
				}
				w.after("read_test", func() {
					w.lose("version 1")
					if differs {
						version = "version 2"
					}
				})
				result, p := w.run(t.Context(), Request{})
				const mixed = "stage make was made again and came out different, and stage read_test has used what it was before"
				switch {
				case !differs && result.ExitCode != ExitOK:
					t.Errorf("%+v %+v", result, result.Failure)
				case differs && (result.ExitCode != ExitFailed || !strings.Contains(result.Failure.Message, mixed) || p.ends["use"].Outcome != event.Failed):
					t.Errorf("%+v %+v", result, result.Failure)
				}
				if result, p = w.run(t.Context(), Request{}); result.ExitCode != ExitOK {
					t.Errorf("again: %+v %+v, ends %v", result, result.Failure, p.ends)
				}
			})
		}
	}
}

// A call that is under way while its input becomes something else is repeated; an effect cannot be.
func TestACallWithWhatIsMadeAgainMeanwhile(t *testing.T) {
	for _, isEffect := range []bool{false, true} {
		t.Run(fmt.Sprintf("effect %v", isEffect), func(t *testing.T) {
			w := newWorld(t)
			w.versions()
			slow := takesFiles("step_slow", "make")
			if isEffect {
				slow = effect(slow)
			}
			w.write([]protocol.Stage{file("make"), slow, st("step_gate"), after(takesFiles("read", "make"), "step_gate")})
			running, read := make(chan struct{}), make(chan struct{})
			w.c.Executor = fake.New(w.store, func(_ context.Context, s *fake.Step) (int, error) {
				switch {
				case s.Action.Args[0] == "make":
					return 0, s.WriteFile("f", []byte(w.made("")))
				case s.Action.Args[1] == "step_gate":
					<-running
				default:
					close(running)
					<-read
				}
				return 0, nil
			})
			lost := false
			w.told = func(r event.Record) {
				switch e := r.Event.(type) {
				case event.StepStarted:
					if e.Stage == "step_slow" && !lost {
						lost = true
						w.lose("version 1")
					}
				case event.StageFinished:
					if e.Stage == "read" {
						close(read)
					}
				default:
				}
			}
			targets := []string{"read", "step_slow"}
			result, p := w.run(t.Context(), Request{Targets: targets})
			if isEffect {
				if result.ExitCode != ExitFailed || !strings.Contains(result.Failure.Message, "what stage step_slow takes was made again while it ran") {
					t.Errorf("%+v %+v", result, result.Failure)
				}
				return
			}
			if result.ExitCode != ExitOK || !strings.HasSuffix(p.warnings[len(p.warnings)-1], "it is called with that") {
				t.Fatalf("%+v %+v, warnings %q", result, result.Failure, p.warnings)
			}
			w.told = nil
			if _, p = w.run(t.Context(), Request{Targets: targets}); len(p.started) != 0 {
				t.Errorf("again: %v", p.started)
			}
		})
	}
}

// What never was is not lost: the function is called once more, since another call may have made again what it lacks, and no more.
func TestADigestThatNeverWas(t *testing.T) {
	w := newWorld(t)
	w.write([]protocol.Stage{st("invent")})
	calls := 0
	w.told = func(r event.Record) {
		if _, ok := r.Event.(event.StepStarted); ok {
			calls++
		}
	}
	if result, _ := w.run(t.Context(), Request{}); result.ExitCode == ExitOK || calls != 2 {
		t.Errorf("%+v, %d calls", result, calls)
	}
}

// Who waits for a stage that is made again is cancelled as what it waits for is, and is not told that something was lost twice.
func TestWhatIsMadeAgainIsCancelled(t *testing.T) {
	w := newWorld(t)
	w.write([]protocol.Stage{file("make"), takesFiles("read_one", "make"), takesFiles("read_two", "make")})
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	var calls atomic.Int32
	w.c.Executor = fake.New(w.store, func(ctx context.Context, s *fake.Step) (int, error) {
		if calls.Add(1) > 1 {
			interrupt()
			<-ctx.Done()
			return 0, context.Cause(ctx)
		}
		return 0, s.WriteFile("f", []byte("made by make"))
	})
	w.after("make", func() { w.lose("made by make") })
	result, p := w.run(ctx, Request{})
	if result.ExitCode != ExitCancelled {
		t.Errorf("%+v %+v", result, result.Failure)
	}
	for stage, e := range p.ends {
		if e.Outcome != event.Cancelled {
			t.Errorf("%s is %s: %+v", stage, e.Outcome, e.Failure)
		}
	}
}
