package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/cas/mem"
	"github.com/towpath/towpath/internal/config"
	"github.com/towpath/towpath/internal/event"
	"github.com/towpath/towpath/internal/executor"
	"github.com/towpath/towpath/internal/history"
	"github.com/towpath/towpath/internal/history/files"
)

// record writes a run into the history.
func record(t *testing.T, h history.Store, id string, events ...event.Event) {
	t.Helper()
	w, err := h.Begin(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range events {
		w.Emit(event.Record{Seq: int64(i + 1), Time: time.Unix(int64(i), 0), Run: id, Event: e})
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// ran is a step that ended with an exit code, and calling the call of a stage.
func ran(stage string, n, code int, key string) []event.Event {
	return []event.Event{event.StepStarted{Stage: stage, Step: n, Args: []string{"x"}, Key: key}, event.StepFinished{Stage: stage, Step: n, ExitCode: code}}
}

func calling(stage string, o event.Outcome, steps ...[]event.Event) []event.Event {
	out := []event.Event{event.StageStarted{Stage: stage}}
	for _, s := range steps {
		out = append(out, s...)
	}
	return append(out, event.StageFinished{Stage: stage, Outcome: o})
}

func TestTheStepThatAPersonMeansIsFound(t *testing.T) {
	h := files.Open(t.TempDir())
	run := func(id string, stages ...[]event.Event) {
		all := []event.Event{event.RunStarted{}}
		for _, s := range stages {
			all = append(all, s...)
		}
		record(t, h, id, append(all, event.RunFinished{})...)
	}
	run("20260101-1", calling("fails", event.Failed, ran("fails", 1, 0, ""), ran("fails", 2, 3, ""), ran("fails", 3, 0, "")),
		calling("expects", event.Succeeded, ran("expects", 1, 1, ""), ran("expects", 2, 0, "")),
		calling("none", event.Succeeded),
		calling("m[a=1]", event.Succeeded, ran("m[a=1]", 1, 0, "")), calling("m[a=2]", event.Failed, ran("m[a=2]", 1, 1, "")),
		calling("ok[a=1]", event.Succeeded), calling("ok[a=2]", event.Succeeded))
	run("20260102-1",
		[]event.Event{event.StageFinished{Stage: "fails", Outcome: event.Skipped}},
		[]event.Event{event.StageCached{Stage: "expects", From: "20260101-1"}, event.StageFinished{Stage: "expects", Outcome: event.Cached}},
		[]event.Event{event.StageCached{Stage: "lost", From: "20251231-1"}, event.StageFinished{Stage: "lost", Outcome: event.Cached}})
	record(t, h, "20260103-1", event.RunStarted{}, event.StageStarted{Stage: "cut"}, event.StepStarted{Stage: "cut", Step: 1}, event.StepStarted{Stage: "cut", Step: 2},
		event.StepFinished{Stage: "cut", Step: 2})

	for name, c := range map[string]struct {
		run, stage string
		step       int
		want, fail string
	}{
		"the last that failed":      {stage: "fails", want: "step 2 of stage fails, 20260101-1, ended with exit code 3"},
		"the one that is named":     {stage: "fails", step: 3, want: "step 3 of stage fails, 20260101-1, ended with exit code 0"},
		"the last of a success":     {stage: "expects", want: "step 2 of stage expects, 20260101-1, ended with exit code 0"},
		"the one that was cut off":  {stage: "cut", want: "step 1 of stage cut, 20260103-1, was cut off"},
		"the only one that failed":  {stage: "m", want: "step 1 of stage m[a=2], 20260101-1, ended with exit code 1"},
		"of a run, made by another": {run: "20260102", stage: "expects", want: "step 2 of stage expects, 20260101-1, ended with exit code 0"},
		"one of many":               {stage: "ok", fail: "it is not clear which is meant"},
		"no such step":              {stage: "fails", step: 9, fail: "has no step 9"},
		"no such run":               {run: "2024", stage: "fails", fail: "2024"},
		"no such stage":             {stage: "fail", fail: "a run that called stage fail is not there"},
		"not in that run":           {run: "20260102-1", stage: "fails", fail: "a call of stage fails in run 20260102-1 is not there"},
		"no steps":                  {stage: "none", fail: "a step of stage none"},
		"a run that is not kept":    {stage: "lost", fail: "run 20251231-1, which called stage lost last, is not there"},
	} {
		t.Run(name, func(t *testing.T) {
			c1, err := findCall(t.Context(), h, c.run, c.stage)
			var s step
			if err == nil {
				s, err = c1.choose(c.step)
			}
			switch {
			case c.fail != "":
				if err == nil || !strings.Contains(err.Error(), c.fail) || exitCode(err) != 2 || hint(err) == "" && c.run != "2024" {
					t.Errorf("found %v, %v (hint %q)", s, err, hint(err))
				}
			case err != nil:
				t.Error(err)
			default:
				if got := s.String() + ", " + s.run + ", " + s.End(); got != c.want {
					t.Errorf("found %s, want %s", got, c.want)
				}
			}
		})
	}
}

// counting counts the runs that were looked through.
type counting struct {
	history.Store
	listed, read int
}

func (c *counting) Runs(ctx context.Context, limit int) ([]history.Summary, error) {
	list, err := c.Store.Runs(ctx, limit)
	c.listed += len(list)
	return list, err
}

func (c *counting) Events(ctx context.Context, id string, fn func(event.Record) error) error {
	c.read++
	return c.Store.Events(ctx, id, fn)
}

// A stage that was called just now is found without reading every run that is kept; one that was cut off since is found as well.
func TestTheLastCallIsFoundFast(t *testing.T) {
	h := &counting{Store: files.Open(t.TempDir())}
	for i := range 30 {
		record(t, h, fmt.Sprintf("202601%02d-1", i+1), calling("s", event.Failed, ran("s", 1, 1, ""))...)
	}
	if err := h.Remember(t.Context(), map[string]history.Stage{"s": {Run: "20260130-1"}, "other": {Run: "20260101-1"}}); err != nil {
		t.Fatal(err)
	}
	if c, err := findCall(t.Context(), h, "", "s"); err != nil || c.Run != "20260130-1" || h.listed > 1 || h.read > 1 {
		t.Errorf("found %+v, %v, of %d listed and %d read", c, err, h.listed, h.read)
	}
	record(t, h, "20260131-1", event.StageStarted{Stage: "s"}, event.StepStarted{Stage: "s", Step: 1})
	record(t, h, "20260131-2", event.StageStarted{Stage: "new"})
	if c, err := findCall(t.Context(), h, "", "s"); err != nil || c.Run != "20260131-1" {
		t.Errorf("found %+v, %v", c, err)
	}
}

// sheller is an executor whose shell says what it was given.
type sheller struct {
	executor.Executor
	isolation string
	gaps      []executor.Gap
	err       error
	got       executor.Action
	args      []string
}

func (s *sheller) Name() string         { return "test" }
func (s *sheller) Isolation() string    { return s.isolation }
func (s *sheller) Gaps() []executor.Gap { return s.gaps }

func (s *sheller) Shell(_ context.Context, a executor.Action, args []string, t executor.Terminal) (int, error) {
	s.got, s.args = a, args
	_, err := io.WriteString(t.Out, "in the shell\n")
	return 7, errors.Join(s.err, err)
}

type blobs struct {
	cas.Store
	BlobKeeper
}

func TestShellOpensWhatTheStepRan(t *testing.T) {
	store := mem.New()
	root, err := cas.PutBytes(t.Context(), store, nil)
	if err != nil {
		t.Fatal(err)
	}
	action, err := executor.NewAction(executor.Command{Args: []string{"sh", "-c", "exit 3"}, Cwd: "src"}, root, executor.Platform("sandbox"))
	if err != nil {
		t.Fatal(err)
	}
	am, cm, key := action.Encode()
	for _, m := range [][]byte{am, cm} {
		if _, err := cas.PutBytes(t.Context(), store, m); err != nil {
			t.Fatal(err)
		}
	}
	h := files.Open(t.TempDir())
	gone := "0000000000000000000000000000000000000000000000000000000000000000/5"
	record(t, h, "20260101-1", append(calling("test", event.Failed, ran("test", 1, 3, key.String())), calling("gone", event.Failed, ran("gone", 1, 1, gone))...)...)

	for name, c := range map[string]struct {
		stage     string
		isolation string
		setting   string
		err       error
		fail      string
		hint      string
	}{
		"opens":           {stage: "test", isolation: "sandbox"},
		"other isolation": {stage: "test", isolation: "workspace", fail: "step 1 of stage test cannot be opened here", hint: "tow run --no-cache test"},
		"insists":         {stage: "test", isolation: "workspace", setting: "sandbox", fail: "this machine has no sandbox for steps: refused", hint: "allow it; "},
		"gone":            {stage: "gone", isolation: "sandbox", fail: "not all that it had is in the store any more", hint: "tow run --no-cache gone"},
		"input gone":      {stage: "test", isolation: "sandbox", err: &executor.MissingInputError{Err: errors.New("x")}, fail: "in the store", hint: "--no-cache"},
		"no shell":        {stage: "test", isolation: "sandbox", err: &executor.CommandNotFoundError{Name: "sh", Err: os.ErrNotExist}, fail: `"sh"`, hint: "-- PROGRAM"},
		"fault":           {stage: "test", isolation: "sandbox", err: &executor.InfrastructureError{Op: "open a pty", Err: errors.New("x")}, fail: "open a pty"},
	} {
		t.Run(name, func(t *testing.T) {
			stdout, stderr := tempFile(t), tempFile(t)
			a := &App{Stdout: stdout, Stderr: stderr}
			e := &sheller{isolation: c.isolation, err: c.err, gaps: []executor.Gap{{What: "w", Why: "refused", Remedy: "allow it", Weak: true}}}
			w := &workplace{settings: config.Settings{Isolation: c.setting}, stores: &Stores{Blobs: blobs{Store: store}, Executor: e, History: h}}
			code, err := a.shell(t.Context(), w, shellOptions{stage: c.stage, command: []string{"ls"}})
			if c.fail != "" {
				if err == nil || !strings.Contains(err.Error(), c.fail) || !strings.Contains(hint(err), c.hint) {
					t.Errorf("shell = %v, hint %q", err, hint(err))
				}
				return
			}
			if err != nil || code != 7 || e.got.Digest() != key || len(e.args) != 1 {
				t.Errorf("shell = %d, %v; opened %v with %v", code, err, e.got, e.args)
			}
			want := "step 1 of stage test of run 20260101-1 ended with exit code 3; what you change here is gone when you leave\n$ sh -c 'exit 3'\n"
			if got := read(t, stderr); got != want {
				t.Errorf("it says %q, want %q", got, want)
			}
			if got := read(t, stdout); got != "in the shell\n" {
				t.Errorf("the shell printed %q", got)
			}
		})
	}
}

func tempFile(t *testing.T) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func read(t *testing.T, f *os.File) string {
	t.Helper()
	b, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
