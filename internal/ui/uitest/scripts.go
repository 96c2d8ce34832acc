package uitest

import (
	"fmt"
	"strings"
	"time"

	"github.com/towpath/towpath/internal/event"
)

func started(stage, why string) event.StageStarted {
	return event.StageStarted{Stage: stage, Key: "k", Reasons: []event.Reason{{Kind: "file", Text: why}}}
}

func printed(stage string, step int, text string) event.StepOutput {
	return event.StepOutput{Stage: stage, Step: step, Stream: "stdout", Text: text}
}

func ended(stage string, o event.Outcome, d time.Duration) event.StageFinished {
	return event.StageFinished{Stage: stage, Outcome: o, Duration: d}
}

func plan(d time.Duration, stages ...event.PlannedStage) event.PlanMade {
	return event.PlanMade{Stages: stages, Duration: d}
}

func node(name string, expected time.Duration, deps ...string) event.PlannedStage {
	return event.PlannedStage{Name: name, Kind: "stage", Expected: expected, Deps: deps}
}

func pythonPlan() event.PlanMade {
	return plan(41*time.Millisecond,
		node("env", 2*time.Second), node("lint", time.Second, "env"), node("test", 14*time.Second, "env"),
		node("wheel", 3*time.Second, "env"), node("publish", 5*time.Second, "test", "wheel"))
}

func cached(stage string, saved time.Duration) []event.Event {
	return []event.Event{
		event.StageCached{Stage: stage, Key: "k", From: "r0", Saved: saved},
		event.StageFinished{Stage: stage, Outcome: event.Cached, Key: "k"},
	}
}

// Success is a run in which two stages run in parallel and everything goes well. Its steps print as real ones do: in pieces, with colours,
// with a progress bar, without a last newline.
func Success() []event.Event {
	events := []event.Event{
		event.RunStarted{Version: "0.1.0", Program: "pipeline.py", Targets: []string{"publish"}, Jobs: 8},
		pythonPlan(),
		event.SourcesSnapshot{Sources: 3, Files: 120, Duration: 4 * time.Millisecond},
	}
	events = append(events, cached("env", 2100*time.Millisecond)...)
	events = append(events, cached("lint", 900*time.Millisecond)...)
	return append(events,
		started("test", "src: tests/test_app.py changed"),
		event.StepStarted{Stage: "test", Step: 1, Args: []string{"pytest", "-q", "a b"}, Key: "k"},
		started("wheel", "src: src/app.py changed"),
		event.StepStarted{Stage: "wheel", Step: 1, Args: []string{"uv", "build"}, Key: "k"},
		printed("test", 1, "collected 12 items\ntests/"),
		printed("wheel", 1, "Building wheel…\n  1%\r 50%\r100%"),
		printed("test", 1, "test_app.py \x1b[3"),
		printed("wheel", 1, "\nBuilt app.whl"),
		printed("test", 1, "2mPASSED\x1b[0m\n\x1b[2J\x1b]0;title\a12 passed\r\n"),
		event.StageLog{Stage: "test", Level: "debug", Message: "nobody wants to know"},
		event.StageLog{Stage: "test", Level: "info", Message: "coverage", Fields: map[string]any{"percent": 93, "branch": true}},
		event.ProgramOutput{Stream: "stdout", Text: "print() in the pipeline"},
		event.StepFinished{Stage: "wheel", Step: 1, Duration: 2 * time.Second, UserTime: time.Second, MaxRSS: 120 << 20},
		ended("wheel", event.Succeeded, 2300*time.Millisecond),
		event.StepFinished{Stage: "test", Step: 1, Duration: 4 * time.Second},
		ended("test", event.Succeeded, 4200*time.Millisecond),
		event.Warning{Message: "the lockfile is older than pyproject.toml", Hint: "run uv lock"},
		started("publish", "effects always run"),
		event.StageFinished{Stage: "publish", Outcome: event.Succeeded, Duration: 380 * time.Millisecond, Value: []byte(`{"url":"a.invalid"}`)},
		event.RunFinished{Outcome: event.Succeeded, Duration: 4200 * time.Millisecond, Succeeded: 3, Cached: 2, Saved: 3 * time.Second},
	)
}

// Failure is a run in which one stage fails, then another one, one is cancelled and one skipped. The steps of the failing stages share the
// stream line by line, and the first prints more than is shown again.
func Failure() []event.Event {
	events := []event.Event{
		event.RunStarted{Version: "0.1.0", Program: "pipeline.py", Jobs: 8},
		pythonPlan(),
	}
	events = append(events, cached("env", 2100*time.Millisecond)...)
	events = append(events,
		started("test", "src: tests/test_app.py changed"), started("wheel", "src: src/app.py changed"), started("lint", "src: src/app.py changed"),
		event.StepStarted{Stage: "test", Step: 1, Args: []string{"pytest"}, Key: "k"})
	for i := range 25 {
		events = append(events, printed("test", 1, fmt.Sprintf("line %d", i)), printed("lint", 1, "a piece, "), printed("test", 1, " ends\n"))
	}
	failure := event.Failure{Code: "step_failed", Message: "step 1 (pytest) exited with 1\nit was tried twice", Hint: "run pytest locally",
		File: "pipeline.py", Line: 14, ExitCode: 1}
	return append(events,
		printed("test", 1, "E   assert 1 == 2\n::error file=x::injected\n"),
		event.StepFinished{Stage: "test", Step: 1, ExitCode: 1, Duration: time.Second},
		event.StageFinished{Stage: "test", Outcome: event.Failed, Duration: 3400 * time.Millisecond, Failure: &failure},
		event.StageFinished{Stage: "lint", Outcome: event.Failed, Duration: time.Second,
			Failure: &event.Failure{Code: "failed", Message: "ValueError: no\x1b[2J such rule"}},
		event.StageFinished{Stage: "wheel", Outcome: event.Cancelled, Duration: time.Second, Because: "test failed"},
		event.StageFinished{Stage: "publish", Outcome: event.Skipped, Because: "test failed"},
		event.RunFinished{Outcome: event.Failed, ExitCode: 1, Duration: 63 * time.Second, Cached: 1, Failed: 2, Cancelled: 1, Skipped: 1,
			Saved: 2100 * time.Millisecond, FirstFailed: "test", Failure: &failure})
}

// BadProgram is a run that fails before it has a plan.
func BadProgram() []event.Event {
	trace := "Traceback (most recent call last):\n" + strings.Repeat("  File \"pipeline.py\", line 1, in f\n", 30) + "NameError: name 'stag' is not defined"
	return []event.Event{
		event.RunStarted{Version: "0.1.0", Program: "pipeline.py", Jobs: 8},
		event.RunFinished{Outcome: event.Failed, ExitCode: 2, Duration: 90 * time.Millisecond,
			Failure: &event.Failure{Code: "pipeline", Message: "loading pipeline.py: NameError: name 'stag' is not defined", File: "pipeline.py", Line: 7,
				Hint: "did you mean stage?", Trace: trace}},
	}
}

// Interrupted is a run that was cancelled by a person, with a fan-out.
func Interrupted() []event.Event {
	return []event.Event{
		event.RunStarted{Version: "0.1.0", Program: "pipeline.py", Jobs: 2},
		plan(time.Millisecond, node("shards", 0), node("report", 0, "shards")),
		event.StageExpanded{Stage: "shards", Elements: []string{"shards[0]", "shards[1]", "shards[2]", "shards[3]"}},
		started("shards[0]", "first run"), started("shards[1]", "first run"),
		printed("shards[0]", 1, "no newline"),
		event.StageFinished{Stage: "shards[0]", Outcome: event.Cancelled, Because: "interrupted"},
		event.StageFinished{Stage: "shards[1]", Outcome: event.Cancelled, Because: "interrupted"},
		event.StageFinished{Stage: "shards", Outcome: event.Cancelled, Because: "interrupted"},
		event.StageFinished{Stage: "report", Outcome: event.Skipped, Because: "shards was cancelled"},
		event.RunFinished{Outcome: event.Cancelled, ExitCode: 130, Duration: 1500 * time.Millisecond, Cancelled: 3, Skipped: 1},
	}
}

// AllCached is a run of n stages, each needing the one before, in which nothing has to be done.
func AllCached(n int) []event.Event {
	p := event.PlanMade{FromCache: true, Duration: 3 * time.Millisecond}
	events := []event.Event{event.RunStarted{Version: "0.1.0", Program: "pipeline.py", Jobs: 8}, nil}
	for i := range n {
		name := fmt.Sprintf("stage-%03d", i)
		s := node(name, time.Second)
		if i > 0 {
			s.Deps = []string{fmt.Sprintf("stage-%03d", i-1)}
		}
		p.Stages = append(p.Stages, s)
		events = append(events, cached(name, time.Second)...)
	}
	events[1] = p
	return append(events, event.RunFinished{Outcome: event.Succeeded, Duration: 41 * time.Millisecond, Cached: n, Saved: time.Duration(n) * time.Second})
}
