package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	cachemem "github.com/towpath/towpath/internal/actioncache/mem"
	casmem "github.com/towpath/towpath/internal/cas/mem"
	"github.com/towpath/towpath/internal/event"
	"github.com/towpath/towpath/internal/executor/fake"
	"github.com/towpath/towpath/internal/session"
	"github.com/towpath/towpath/internal/source"
	"github.com/towpath/towpath/protocol"
)

// world is an engine whose pipelines are plans.
type world struct {
	t     *testing.T
	dir   string
	c     Config
	store *casmem.Store
	steps *fake.Executor
	// made is what a step that makes a file writes into it, by the stage.
	made func(stage string) string
	// told is called with each event as it is told.
	told func(event.Record)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// An interpreter that says that the test itself is the real one.
	python := filepath.Join(dir, "python")
	script := fmt.Sprintf("#!/bin/sh\necho '[\"%s\", \"cpython\", [3, 11, 0]]'\n", self)
	if err := os.WriteFile(python, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, dir: dir, store: casmem.New(), made: func(stage string) string { return "made by " + stage }}
	w.steps = fake.New(w.store, func(ctx context.Context, s *fake.Step) (int, error) {
		if s.Action.Args[0] == "wait" {
			<-ctx.Done()
		}
		if s.Action.Args[0] == "use" {
			names, err := s.List("")
			for _, name := range names {
				_, more := s.ReadFile(name)
				err = errors.Join(err, more)
			}
			return 0, err
		}
		if s.Action.Args[0] == "make" {
			return 0, s.WriteFile("f", []byte(w.made(s.Action.Args[1])))
		}
		return 0, nil
	})
	sources, err := source.Open(source.Config{Store: w.store, Repository: dir, Lazy: true})
	if err != nil {
		t.Fatal(err)
	}
	program := session.Program{Language: session.Python, Path: filepath.Join(dir, "pipeline.py"), Root: dir, Repository: dir}
	w.c = Config{
		Store: w.store, Cache: cachemem.New(), Executor: w.steps, Sources: sources, Journal: &memJournal{}, Program: program,
		Jobs: 3, Now: time.Now, Lookup: func(string) (string, bool) { return "", false },
		Session: session.Config{
			CacheDir: filepath.Join(dir, "cache"), Python: python, Lookup: func(string) (string, bool) { return "", false },
			Digest: sources.Digest, PythonSDK: fstest.MapFS{"towpath/_boot.py": {}},
		},
	}
	return w
}

func (w *world) write(stages []protocol.Stage) {
	w.t.Helper()
	b, err := json.Marshal(protocol.Plan{Version: 1, Stages: sorted(stages)})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(w.c.Program.Path, b, 0o644); err != nil {
		w.t.Fatal(err)
	}
}

func sorted(stages []protocol.Stage) []protocol.Stage {
	out := append([]protocol.Stage{}, stages...)
	for i := range out {
		for k := i; k > 0 && out[k].Name < out[k-1].Name; k-- {
			out[k], out[k-1] = out[k-1], out[k]
		}
	}
	return out
}

// run runs the plan and returns what was told, which is checked.
func (w *world) run(ctx context.Context, q Request) (Result, *tape) {
	w.t.Helper()
	var list []event.Record
	result, err := New(w.c).Run(ctx, q, event.SinkFunc(func(r event.Record) {
		list = append(list, r)
		if w.told != nil {
			w.told(r)
		}
	}))
	if err != nil {
		w.t.Fatal(err)
	}
	return result, w.check(list, result)
}

// tape is what the events of a run say.
type tape struct {
	ends     map[string]event.StageFinished
	started  map[string]event.StageStarted
	warnings []string
}

// check holds the events of a run to what every reader relies on.
func (w *world) check(list []event.Record, result Result) *tape {
	w.t.Helper()
	p := &tape{ends: map[string]event.StageFinished{}, started: map[string]event.StageStarted{}}
	needs := map[string][]string{}
	steps := map[string]int{} // that are under way, by stage
	begun := func(stage string) {
		if _, over := p.ends[stage]; over {
			w.t.Errorf("stage %s goes on after its end", stage)
		}
	}
	for i, r := range list {
		if r.Seq != int64(i+1) || r.Run != result.Run {
			w.t.Errorf("event %d has the number %d, of run %s", i+1, r.Seq, r.Run)
		}
		switch e := r.Event.(type) {
		case event.PlanMade:
			for _, s := range e.Stages {
				needs[s.Name] = s.Deps
			}
		case event.Warning:
			p.warnings = append(p.warnings, e.Message)
			if what, ok := strings.CutSuffix(e.Message, " runs again"); ok { // from here on it has neither begun nor ended
				name := what[strings.LastIndex(what, " ")+1:]
				delete(p.started, name)
				delete(p.ends, name)
			}
		case event.StageExpanded:
			for _, name := range e.Elements {
				needs[name] = needs[e.Stage]
			}
		case event.StageStarted:
			begun(e.Stage)
			if _, twice := p.started[e.Stage]; twice {
				w.t.Errorf("stage %s was started twice", e.Stage)
			}
			p.started[e.Stage] = e
			for _, need := range needs[e.Stage] {
				if !p.ends[need].Outcome.OK() {
					w.t.Errorf("stage %s was started before %s had succeeded", e.Stage, need)
				}
			}
		case event.StepStarted:
			begun(e.Stage)
			steps[e.Stage]++
		case event.StepOutput:
			begun(e.Stage)
		case event.StepFinished:
			begun(e.Stage)
			steps[e.Stage]--
		case event.StageFinished:
			begun(e.Stage)
			if steps[e.Stage] != 0 {
				w.t.Errorf("stage %s ended with %d steps under way", e.Stage, steps[e.Stage])
			}
			p.ends[e.Stage] = e
		case event.RunFinished:
			if i != len(list)-1 {
				w.t.Errorf("%d events came after the end of the run", len(list)-1-i)
			}
			if e.ExitCode != result.ExitCode || e.Outcome != result.Outcome {
				w.t.Errorf("the run ended as %s with %d, the result is %s with %d", e.Outcome, e.ExitCode, result.Outcome, result.ExitCode)
			}
		}
	}
	if _, ok := list[len(list)-1].Event.(event.RunFinished); !ok {
		w.t.Errorf("the last event is %T", list[len(list)-1].Event)
	}
	for name := range needs {
		if _, ok := p.ends[name]; !ok {
			w.t.Errorf("stage %s has no end", name)
		}
	}
	return p
}

// st is a stage that returns an int and takes those of others.
func st(function string, needs ...string) protocol.Stage {
	s := protocol.Stage{Name: function, Function: function, Kind: protocol.KindStage, Output: protocol.Type{Kind: protocol.TypeInt}}
	for i, need := range needs {
		s.Inputs = append(s.Inputs, protocol.Input{Name: fmt.Sprintf("i%d", i), Type: protocol.Type{Kind: protocol.TypeInt}, From: protocol.From{Stage: need}})
	}
	return s
}

func each(function, list string) protocol.Stage {
	s := st(function)
	s.Inputs = protocol.List[protocol.Input]{{
		Name: "x", Type: protocol.Type{Kind: protocol.TypeInt}, From: protocol.From{Each: &protocol.From{Stage: list}},
	}}
	return s
}

func listOf(n int) protocol.Stage {
	s := st(fmt.Sprintf("list_%d", n))
	s.Output = protocol.ListOf(protocol.Type{Kind: protocol.TypeInt})
	return s
}

func effect(s protocol.Stage) protocol.Stage {
	s.Kind = protocol.KindEffect
	return s
}

// Random graphs, with failures, steps, fan-outs and effects: the events are well-formed, and a second run calls what has no result and nothing else.
func TestRandomGraphs(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 1))
			w := newWorld(t)
			stages := []protocol.Stage{listOf(r.IntN(4))}
			var ints []string
			for i := range 5 + r.IntN(25) {
				kind := []string{"ok", "ok", "ok", "step", "step", "each", "fail"}[r.IntN(6+int(seed%2))]
				name := fmt.Sprintf("%s_%d", kind, i)
				if kind == "each" {
					stages = append(stages, each(name, stages[0].Name))
					continue
				}
				s := st(name)
				for k := range ints {
					if r.IntN(len(ints)) < 2 {
						s = st(name, append(needsOf(s), ints[k])...)
					}
				}
				if r.IntN(8) == 0 {
					s = effect(s)
				}
				stages, ints = append(stages, s), append(ints, name)
			}
			w.write(stages)
			var targets []string
			for _, s := range stages {
				targets = append(targets, s.Name)
			}
			first, before := w.run(t.Context(), Request{Targets: targets})
			failed := false
			for name, e := range before.ends {
				failed = failed || e.Outcome == event.Failed
				if strings.HasPrefix(name, "fail") && e.Outcome.OK() {
					t.Errorf("%s %s", name, e.Outcome)
				}
			}
			if failed != (first.ExitCode == ExitFailed) || !failed && first.ExitCode != ExitOK {
				t.Errorf("the exit code is %d", first.ExitCode)
			}
			_, after := w.run(t.Context(), Request{Targets: targets})
			for _, s := range stages {
				_, again := after.started[s.Name]
				switch before := before.ends[s.Name]; {
				case s.Kind == protocol.KindEffect || !again:
				case before.Outcome.OK():
					t.Errorf("%s had a result and was called again: %v", s.Name, after.started[s.Name].Reasons)
				}
			}
		})
	}
}

func needsOf(s protocol.Stage) []string {
	var out []string
	for _, in := range s.Inputs {
		out = append(out, in.From.Stage)
	}
	return out
}

func TestFanOuts(t *testing.T) {
	for _, n := range []int{0, 1, 50} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			w := newWorld(t)
			total := st("ok_total")
			total.Inputs = protocol.List[protocol.Input]{{
				Name: "all", Type: protocol.ListOf(protocol.Type{Kind: protocol.TypeInt}), From: protocol.From{Gather: protocol.List[string]{"step_item"}},
			}}
			w.write([]protocol.Stage{listOf(n), each("step_item", listOf(n).Name), total})
			result, p := w.run(t.Context(), Request{})
			if result.ExitCode != 0 || len(p.ends) != n+3 || !p.ends["ok_total"].Outcome.OK() {
				t.Errorf("exit code %d, %d ends", result.ExitCode, len(p.ends))
			}
			if result, p = w.run(t.Context(), Request{}); result.ExitCode != 0 || len(p.started) != 0 {
				t.Errorf("again: exit code %d, %d were called", result.ExitCode, len(p.started))
			}
		})
	}
}

func TestEffectsAreCalledEachTime(t *testing.T) {
	w := newWorld(t)
	w.write([]protocol.Stage{st("ok"), effect(st("step_push", "ok")), st("ok_after", "step_push")})
	for i := range 3 {
		_, p := w.run(t.Context(), Request{Targets: []string{"ok_after"}})
		if _, called := p.started["step_push"]; !called || p.ends["step_push"].Key != "" || w.steps.Begun() != i+1 {
			t.Errorf("run %d: %+v after %d steps", i, p.started, w.steps.Begun())
		}
	}
	w.write([]protocol.Stage{st("ok"), effect(st("step_push", "ok"))})
	if _, p := w.run(t.Context(), Request{}); len(p.ends) != 1 {
		t.Errorf("without targets %d stages ran", len(p.ends))
	}
}

// An interrupted run ends everything, in order, and nothing of it is a result.
func TestInterruptedRuns(t *testing.T) {
	interrupt := errors.New("interrupted")
	w := newWorld(t)
	w.write([]protocol.Stage{st("ok"), st("wait", "ok"), st("ok_after", "wait")})
	ctx, cancel := context.WithCancelCause(t.Context())
	w.told = func(r event.Record) {
		if e, ok := r.Event.(event.StageStarted); ok && e.Stage == "wait" {
			cancel(interrupt)
		}
	}
	result, p := w.run(ctx, Request{})
	if result.ExitCode != ExitCancelled || result.Outcome != event.Cancelled {
		t.Errorf("the result is %+v", result)
	}
	if !p.ends["ok"].Outcome.OK() || p.ends["wait"].Outcome != event.Cancelled || p.ends["ok_after"].Outcome != event.Cancelled {
		t.Errorf("the ends are %+v", p.ends)
	}
	all, err := New(w.c).Explain(t.Context(), Request{Targets: []string{"ok_after"}})
	if err != nil {
		t.Fatal(err)
	}
	if all[0].State != "cached" || all[1].State != "runs" || all[2].State != "runs" {
		t.Errorf("explained as %+v", all)
	}
}

// A failure cancels what runs and skips what needs it.
func TestAFailureStopsTheRest(t *testing.T) {
	w := newWorld(t)
	w.write([]protocol.Stage{st("fail"), st("wait"), st("ok_after", "fail")})
	result, p := w.run(t.Context(), Request{})
	if result.ExitCode != ExitFailed || p.ends["ok_after"].Outcome != event.Skipped || p.ends["wait"].Outcome != event.Cancelled {
		t.Errorf("exit code %d, ends %+v", result.ExitCode, p.ends)
	}
	if f := p.ends["fail"].Failure; f == nil || f.Message != "no luck" || f.Code != "failed" {
		t.Errorf("the failure is %+v", f)
	}
}

// A step that its function did not wait for is ended with the call, before the end of the stage is told.
func TestAForgottenStepEndsWithItsCall(t *testing.T) {
	w := newWorld(t)
	w.write([]protocol.Stage{st("forget")})
	if result, _ := w.run(t.Context(), Request{}); result.ExitCode != ExitOK {
		t.Errorf("the result is %+v", result)
	}
}

// What a worker gives back is checked: type, artifacts, and that it lives.
func TestWrongAnswersAreFailures(t *testing.T) {
	file := st("blob")
	file.Output = protocol.Type{Kind: protocol.TypeFile}
	for want, s := range map[string]protocol.Stage{
		"returned something else than it declares": st("text"),
		"which is not in the store":                file,
		"stage exit was running when":              st("exit"),
	} {
		w := newWorld(t)
		w.write([]protocol.Stage{s})
		for range 2 {
			result, p := w.run(t.Context(), Request{})
			if result.ExitCode != ExitFailed || !strings.Contains(result.Failure.Message, want) {
				t.Errorf("%s: %d %+v", s.Name, result.ExitCode, result.Failure)
			}
			if _, called := p.started[s.Name]; !called {
				t.Errorf("%s was not called", s.Name)
			}
		}
	}
}

func TestCallsAtOnce(t *testing.T) {
	for jobs, want := range map[int]int{1: 1, 2: 4, 16: 18} {
		if got := callsAtOnce(jobs); got != want {
			t.Errorf("with %d jobs %d stages are called at once, want %d", jobs, got, want)
		}
	}
}
