package engine

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	cachemem "github.com/towpath/towpath/internal/actioncache/mem"
	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/event"
	"github.com/towpath/towpath/internal/executor"
	"github.com/towpath/towpath/internal/executor/fake"
	"github.com/towpath/towpath/protocol"
)

// startedLast returns the newest step that was started.
func (b *bench) startedLast() event.StepStarted {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range slices.Backward(b.events) {
		if s, ok := e.(event.StepStarted); ok {
			return s
		}
	}
	b.t.Fatal("no step was started")
	return event.StepStarted{}
}

// forget makes what was run so far the last call of the stage.
func (b *bench) forget() {
	b.ops.run.p.last = map[string]LastCall{"s": {Run: b.ops.run.rec.id}}
	b.ops.past = newPast()
}

func texts(list []event.Reason) string {
	var out []string
	for _, r := range list {
		out = append(out, r.Text)
	}
	return strings.Join(out, "; ")
}

func stepOf(args, rest string) string {
	return lastOf(`{"call":1,"args":[` + args + `],"tree":[],"cwd":"","env":{},"outputs":[],"ok":[0]` + rest + `}`)
}

// lastOf is lastWins for parameters that are known to be valid.
func lastOf(object string) string {
	for _, name := range []string{"tree", "cwd", "env", "outputs", "ok"} {
		if first, again := strings.Index(object, `,"`+name+`"`), strings.LastIndex(object, `,"`+name+`"`); first != again {
			end := first + 1 + strings.Index(object[first+1:], `,"`)
			object = object[:first] + object[end:]
		}
	}
	return object
}

func TestAStepSaysWhyItRuns(t *testing.T) {
	b := newBench(t, protocol.KindStage, func(_ context.Context, s *fake.Step) (int, error) {
		if s.Action.Args[0] == "false" {
			return 1, nil
		}
		return 0, nil
	})
	one, two := b.put("one"), b.put("two")
	mount := func(file string) string { return `,"tree":[{"path":"src/a.c","value":` + file + `}]` }
	b.must("step.run", stepOf(`"cc","-O1","a.c"`, mount(one)))
	if got := texts(b.startedLast().Reasons); got != "it has not been run here before" {
		t.Errorf("the first time: %s", got)
	}
	b.must("step.run", stepOf(`"cc","-O1","b.c"`, mount(one)))
	b.must("step.run", stepOf(`"ld","a.o","b.o"`, ""))
	if _, err := b.ask("step.run", stepOf(`"false"`, "")); err == nil {
		t.Fatal("false is true")
	}
	b.forget()
	for _, c := range []struct{ step, want string }{
		// The one that has the most in common is the one that changed, whatever its number.
		{stepOf(`"cc","-O2","b.c"`, mount(one)), "argument 1 changed from -O1 to -O2"},
		{stepOf(`"cc","-O2","b.c"`, mount(two)), "argument 1 changed from -O1 to -O2; input src/a.c changed (digest 7692c3ad3540… -> 3fc4ccfe7458…)"},
		{stepOf(`"cc","-O1","-g","a.c"`, mount(one)), "argument 2 (-g) is new"},
		{stepOf(`"cc","a.c"`, mount(one)), "argument 1 (-O1) is gone"},
		{stepOf(`"ld","a.o","b.o"`, `,"env":{"X":"a b","LANG":"C"}`), "variable LANG changed from C.UTF-8 to C; variable X is new: 'a b'"},
		{stepOf(`"ld","a.o","b.o"`, `,"network":true`), "it may use the network now"},
		{stepOf(`"ld","a.o","b.o"`, `,"cwd":"sub"`), "the folder that it starts in changed from . to sub"},
		{stepOf(`"strip","app"`, ""), "stage s ran no step like it in run " + b.ops.run.rec.id},
	} {
		b.must("step.run", c.step)
		if got := texts(b.startedLast().Reasons); got != c.want {
			t.Errorf("%s\nsays   %s\nand not %s", c.step, got, c.want)
		}
	}
	if _, err := b.ask("step.run", stepOf(`"false"`, "")); err == nil {
		t.Fatal("false is true")
	}
	if got := texts(b.startedLast().Reasons); got != "it ended with exit code 1 in run "+b.ops.run.rec.id {
		t.Errorf("what failed: %s", got)
	}
	b.must("step.run", stepOf(`"cc","-O1","a.c"`, mount(one)))
	if got := b.startedLast().Reasons; got != nil {
		t.Errorf("a cached step has reasons: %v", got)
	}
}

// Why a step did not come to a result that could be found is said as it was.
func TestAStepSaysWhyItHasNoResult(t *testing.T) {
	b := newBench(t, protocol.KindStage, nil)
	lacking := stepOf(`"make","-j2"`, `,"outputs":["out.txt"]`)
	if _, err := b.ask("step.run", lacking); err == nil {
		t.Fatal("an output that is not there is accepted")
	}
	b.forget()
	run := b.ops.run.rec.id
	if _, err := b.ask("step.run", lacking); err == nil || texts(b.startedLast().Reasons) != "it did not make out.txt in run "+run {
		t.Errorf("%v, says %s", err, texts(b.startedLast().Reasons))
	}
	// One that was accepted and is gone from the cache did not fail, whatever its exit code.
	b = newBench(t, protocol.KindStage, func(context.Context, *fake.Step) (int, error) { return 1, nil })
	accepted := stepOf(`"grep","x"`, `,"ok":[0,1]`)
	for cut, want := range map[bool]string{false: "its result is not in the store any more", true: "run " + b.ops.run.rec.id + " was cut off, and did not record its result or lost it"} {
		b.ops.e.c.Journal.(*memJournal).cut = cut
		b.must("step.run", accepted)
		b.forget()
		b.ops.e.c.Cache = cachemem.New()
		b.ops.commits = newCommitter(b.store, b.ops.e.c.Cache)
		b.must("step.run", accepted)
		if got := texts(b.startedLast().Reasons); got != want {
			t.Errorf("cut off %v: says %s", cut, got)
		}
	}
	// A stage that is called again since what it made is damaged takes nothing from the cache, and that is why.
	b.call.node.fresh = true
	b.must("step.run", accepted)
	if got := texts(b.startedLast().Reasons); got != "a blob that the stage made is damaged, so none of its steps is taken from the cache" {
		t.Errorf("damaged: says %s", got)
	}
}

// Which steps of a stage began before it, which is a matter of time when several run at once, is no part of a step.
func TestAnActionDoesNotDependOnOtherSteps(t *testing.T) {
	b := newBench(t, protocol.KindStage, nil)
	b.must("step.run", stepOf(`"ls"`, ""))
	alone := b.startedLast().Key
	b.must("step.run", stepOf(`"cat"`, ""))
	b.must("step.run", stepOf(`"ls"`, ""))
	if got := b.startedLast().Key; got != alone || b.steps.Begun() != 2 {
		t.Errorf("after another step it is %s and was %s; %d steps were run", got, alone, b.steps.Begun())
	}
}

// What is not known any more is not made up.
func TestAStepSaysLessWhenLessIsKnown(t *testing.T) {
	b := newBench(t, protocol.KindStage, writeOut)
	b.must("step.run", stepOf(`"cc","-O1"`, `,"outputs":["out.txt"]`))
	action, err := digest.Parse(b.startedLast().Key)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.store.Delete(t.Context(), digest.OfBytes([]byte("made"))); err != nil {
		t.Fatal(err)
	}
	b.must("step.run", stepOf(`"cc","-O1"`, `,"outputs":["out.txt"]`)) // the cache itself says so, whatever is known of the past
	if got := texts(b.startedLast().Reasons); got != "its result is not in the store any more" {
		t.Errorf("with its output gone: %s", got)
	}
	if err := b.store.Delete(t.Context(), action); err != nil {
		t.Fatal(err)
	}
	for _, run := range []string{b.ops.run.rec.id, "of another time"} {
		b.forget()
		b.ops.run.p.last["s"] = LastCall{Run: run}
		b.must("step.run", stepOf(`"cc","-O`+run+`"`, ""))
		if got := texts(b.startedLast().Reasons); got != "something changed since run "+run+", of which there is no record any more" {
			t.Errorf("with the action gone: %s", got)
		}
		if err := b.store.Delete(t.Context(), mustParse(t, b.startedLast().Key)); err != nil {
			t.Fatal(err)
		}
	}
	b.ops.run.q.NoCache = true
	b.must("step.run", stepOf(`"cc","-O1"`, ""))
	if got := b.startedLast().Reasons; len(got) != 1 || got[0].Kind != event.ReasonNoCache {
		t.Errorf("without the cache: %v", got)
	}
}

func mustParse(t *testing.T, text string) digest.Digest {
	t.Helper()
	d, err := digest.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// The action of a step is in the store before it runs, however it ends and whatever its stage is.
func TestTheActionIsStoredBeforeItRuns(t *testing.T) {
	for _, kind := range []protocol.Kind{protocol.KindStage, protocol.KindEffect} {
		var b *bench
		b = newBench(t, kind, func(ctx context.Context, s *fake.Step) (int, error) {
			got, err := readAction(ctx, b.store, s.Action.Digest().String())
			if err != nil || got.Digest() != s.Action.Digest() || !slices.Equal(got.Args, s.Action.Args) {
				return 0, fmt.Errorf("the action is not in the store: %v, %w", got, err)
			}
			return 7, nil
		})
		if _, err := b.ask("step.run", echo); protocol.CodeOf(err) != protocol.CodeStepFailed {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

func TestReasonsAreBounded(t *testing.T) {
	b := newBench(t, protocol.KindStage, nil)
	tree := func(n int, file string) string {
		var mounts []string
		for i := range n {
			mounts = append(mounts, fmt.Sprintf(`{"path":"f%04d","value":%s}`, i, file))
		}
		return `,"tree":[` + strings.Join(mounts, ",") + `]`
	}
	b.must("step.run", stepOf(`"x"`, tree(37, b.put("one"))))
	b.forget()
	b.must("step.run", stepOf(`"x"`, tree(37, b.put("two"))))
	got := b.startedLast().Reasons
	if len(got) != maxNamed+1 || got[maxNamed].Text != "and 17 more inputs" || got[0].Before == "" || got[0].After == "" {
		t.Errorf("%d reasons, at the end %v", len(got), got[len(got)-1])
	}
	b.forget()
	b.must("step.run", stepOf(`"x"`, tree(maxCounted+5, b.put("three"))))
	if got = b.startedLast().Reasons; !strings.HasSuffix(got[len(got)-1].Text, " more inputs at least") {
		t.Errorf("at the end %v", got[len(got)-1])
	}
	long := strings.Repeat("ü", maxKept)
	if r := changed(event.ReasonArgument, "1", "x", long, "b"); len(r.Before) > maxKept+10 || len(r.Text) > 3*maxShown {
		t.Errorf("a value of %d bytes is kept with %d and shown with %d", len(long), len(r.Before), len(r.Text))
	}
}

func TestTheMachineIsCompared(t *testing.T) {
	b := newBench(t, protocol.KindStage, nil)
	empty, err := cas.PutBytes(t.Context(), b.store, nil)
	if err != nil {
		t.Fatal(err)
	}
	one, two := digest.OfBytes([]byte("one")), digest.OfBytes([]byte("two"))
	build := func(isolation string, c executor.Command) executor.Action {
		c.Args = []string{"x"}
		a, err := executor.NewAction(c, empty, executor.Platform(isolation))
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	was := build("workspace", executor.Command{
		Outputs: []string{"a", "b"}, Network: true, Tools: []executor.Tool{{Name: "cc", Path: "/opt/cc", Digest: one}, {Name: "ld", Path: "/opt/ld", Digest: one}},
		Limits: executor.Limits{MemoryBytes: 64 << 20, PIDs: 7},
	})
	is := build("sandbox", executor.Command{
		Outputs: []string{"b", "c"}, Root: one, Tools: []executor.Tool{{Name: "cc", Path: "/opt/cc", Digest: two}, {Name: "go", Path: "/opt/go", Digest: one}},
		Limits: executor.Limits{MemoryBytes: 900_000_000, PIDs: 7, CPUs: 0.5},
	})
	got := texts(difference(t.Context(), b.store, was, is))
	want := "output c is new; output a is gone; it may not use the network any more; the image that it runs in changed from none to " + one.String()[:maxShown] + "…; " +
		"the limit cpus changed from none to 0.5; the limit memory changed from 64 MiB to 900 MB; " +
		"the tool cc changed (digest " + one.Short() + "… -> " + two.Short() + "…); the tool go is new; the tool ld is gone; isolation changed from workspace to sandbox"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestLimitsThatNobodyCanMeanAreRefused(t *testing.T) {
	for _, limits := range []string{`"cpus":-1`, `"cpus":1e9`, `"memory":-1`, `"memory":512`, `"pids":-1`, `"pids":99999999`, `"output":-1`} {
		b := newBench(t, protocol.KindStage, nil)
		if _, err := b.ask("step.run", stepOf(`"x"`, `,"limits":{`+limits+`}`)); protocol.CodeOf(err) != protocol.CodeInvalid {
			t.Errorf("%s: %v", limits, err)
		}
	}
	b := newBench(t, protocol.KindStage, nil)
	b.must("step.run", stepOf(`"x"`, `,"limits":{"cpus":0.5,"memory":1048576,"pids":1,"output":1}`))
}

func TestALimitThatWasExceededIsNamed(t *testing.T) {
	l := limits(&protocol.StepLimits{Memory: 512 << 20, PIDs: 64, Output: 3 << 29})
	for n, want := range map[int64]string{
		1: "1 bytes", 1000: "1 kB", 1023: "1023 bytes", 1024: "1 KiB", 1_000_000: "1 MB", 2_500_000: "2.5 MB", 64 << 20: "64 MiB", 10_000_000_000: "10 GB", 1 << 40: "1 TiB",
	} {
		if got := inBytes(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
	for limit, want := range map[string]string{
		"memory": "needed more than the 512 MiB of memory that it may have",
		"pids":   "started more than the 64 processes and threads that it may have at once",
		"output": "printed or made more than the 1.5 GiB that it may",
		"time":   "exceeded its limit of time",
	} {
		if got := exceeded(limit, l); got != want {
			t.Errorf("%s: %s", limit, got)
		}
	}
}

// gappy is an executor on a machine that does not let it enforce everything.
type gappy struct{ *fake.Executor }

// Gaps implements executor.Executor.
func (gappy) Gaps() []executor.Gap {
	return []executor.Gap{{What: "limits are not enforced"}, {What: "steps see everything", Why: "nothing is refused", Remedy: "buy a machine", Weak: true}}
}

// Execute says that the command ran out of memory.
func (g gappy) Execute(ctx context.Context, a executor.Action, o executor.Options) (executor.Result, error) {
	_, err := io.WriteString(o.Stdout, "Killed\n")
	return executor.Result{ExitCode: 137, Signal: "SIGKILL", Exceeded: "memory"}, err
}

func TestGapsAreToldOnceAndExceededLimitsNamed(t *testing.T) {
	b := newBench(t, protocol.KindStage, nil)
	b.ops.e.c.Executor = gappy{b.steps}
	for range 2 {
		_, err := b.ask("step.run", stepOf(`"cc","a.c"`, `,"limits":{"memory":536870912}`))
		if err == nil || err.Error() != "cc a.c needed more than the 512 MiB of memory that it may have" || protocol.CodeOf(err) != protocol.CodeStepFailed {
			t.Errorf("the error is %v", err)
		}
	}
	var warnings []event.Event
	for _, e := range b.events {
		switch e := e.(type) {
		case event.Warning:
			warnings = append(warnings, e)
		case event.StepFinished:
			if e.Exceeded != "memory" {
				t.Errorf("it ended with %+v", e)
			}
		default:
		}
	}
	want := event.Warning{Message: "steps see everything: nothing is refused", Hint: "buy a machine"}
	if !slices.Equal(warnings, []event.Event{want}) {
		t.Errorf("the warnings are %v", warnings)
	}
}
