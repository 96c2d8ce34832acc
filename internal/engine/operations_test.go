package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/towpath/towpath/internal/actioncache"
	cachemem "github.com/towpath/towpath/internal/actioncache/mem"
	"github.com/towpath/towpath/internal/cas"
	casmem "github.com/towpath/towpath/internal/cas/mem"
	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/event"
	"github.com/towpath/towpath/internal/executor/fake"
	"github.com/towpath/towpath/internal/plan"
	"github.com/towpath/towpath/internal/source"
	"github.com/towpath/towpath/protocol"
)

// bench is an engine with one call open, with the id 1, of a stage that does nothing by itself.
type bench struct {
	t       *testing.T
	store   *watchedStore
	results *watchedCache
	steps   *fake.Executor
	ops     *operations
	call    *calling
	cancel  context.CancelCauseFunc

	mu     sync.Mutex
	events []event.Event
	order  []string // what was done to the stores
}

func (b *bench) did(what string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.order = append(b.order, what)
}

// watchedStore notes flushes, and fails them when it is told to.
type watchedStore struct {
	*casmem.Store
	b       *bench
	failing error
}

func (s *watchedStore) Flush(ctx context.Context) error {
	s.b.did("flush")
	return errors.Join(s.failing, s.Store.Flush(ctx))
}

// watchedCache notes results.
type watchedCache struct {
	*cachemem.Cache
	b *bench
}

func (c *watchedCache) PutAll(ctx context.Context, entries []actioncache.Entry) error {
	for _, e := range entries {
		c.b.did("put " + string(e.Kind))
	}
	return c.Cache.PutAll(ctx, entries)
}

func newBench(t *testing.T, kind protocol.Kind, step fake.Func) *bench {
	t.Helper()
	b := &bench{t: t}
	b.store = &watchedStore{Store: casmem.New(), b: b}
	if _, err := cas.PutBytes(t.Context(), b.store, nil); err != nil { // the empty directory
		t.Fatal(err)
	}
	b.results = &watchedCache{Cache: cachemem.New(), b: b}
	b.steps = fake.New(b.store, step)
	sources, err := source.Open(source.Config{Store: b.store, Repository: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	e := New(Config{
		Sources: sources, Store: b.store, Cache: b.results, Executor: b.steps, Journal: &memJournal{}, Jobs: 2, Now: time.Now,
		Lookup: func(string) (string, bool) { return "", false },
	})
	rec, err := e.record(t.Context(), event.SinkFunc(func(r event.Record) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.events = append(b.events, r.Event)
	}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := rec.close(); err != nil {
			t.Error(err)
		}
	})
	b.ops = newOperations(e)
	b.ops.run = &run{e: e, ops: b.ops, rec: rec, p: &prepared{}}
	ctx, cancel := context.WithCancelCause(t.Context())
	b.cancel = cancel
	stage := &plan.Stage{Stage: protocol.Stage{Name: "s", Function: "s", Kind: kind}, Each: -1}
	b.call = newCalling(ctx, b.ops.run, &node{stage: stage, name: "s"})
	b.ops.open(1, b.call)
	t.Cleanup(b.call.close)
	return b
}

// put stores text and returns it as the JSON of a file.
func (b *bench) put(text string) string {
	b.t.Helper()
	d, err := cas.PutBytes(b.t.Context(), b.store, []byte(text))
	if err != nil {
		b.t.Fatal(err)
	}
	return fmt.Sprintf(`{"$file":{"digest":%q,"executable":false,"name":"f.txt"}}`, d)
}

// ask makes a request as the worker does, and returns the answer in JSON.
func (b *bench) ask(method, params string) (string, error) {
	b.t.Helper()
	result, err := b.ops.Handle(b.t.Context(), 7, method, json.RawMessage(params))
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(result)
	if err != nil {
		b.t.Fatal(err)
	}
	return string(text), nil
}

func (b *bench) must(method, params string) string {
	b.t.Helper()
	text, err := b.ask(method, params)
	if err != nil {
		b.t.Fatalf("%s %s: %v", method, params, err)
	}
	return text
}

const (
	absent     = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/5"
	absentFile = `{"$file":{"digest":"` + absent + `","executable":false,"name":"x"}}`
	absentDir  = `{"$directory":{"digest":"` + absent + `"}}`
	emptyDir   = `{"$directory":{"digest":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855/0"}}`
)

// A worker may be wrong in any way: it gets an error with the right code, and nothing of it is run.
func TestHostileRequests(t *testing.T) {
	step := func(rest string) string {
		return `{"call":1,"args":["x"],"tree":[],"cwd":"","env":{},"outputs":[],"ok":[0]` + rest + `}`
	}
	long := strings.Repeat("x", protocol.MaxStepText+1)
	for _, c := range []struct {
		name, method, params string
		code                 protocol.Code
	}{
		{"unknown method", "step.fly", `{"call":1}`, protocol.CodeUnsupported},
		{"secrets are reserved", "secret.reveal", `{"call":1,"name":"x"}`, protocol.CodeUnsupported},
		{"unknown call", "tool.find", `{"call":2,"name":"sh"}`, protocol.CodeInvalid},
		{"no call", "tool.find", `{"name":"sh"}`, protocol.CodeInvalid},
		{"call of another type", "tool.find", `{"call":"1"}`, protocol.CodeInvalid},
		{"no object", "tool.find", `[]`, protocol.CodeInvalid},
		{"tool with a relative path", "tool.find", `{"call":1,"name":"bin/sh"}`, protocol.CodeInvalid},
		{"tool that is not there, with its path", "tool.find", `{"call":1,"name":"/bin/nothing"}`, protocol.CodeNotFound},
		{"tool without a name", "tool.find", `{"call":1,"name":""}`, protocol.CodeInvalid},
		{"tool that is not there", "tool.find", `{"call":1,"name":"nothing"}`, protocol.CodeNotFound},
		{"file not in the store", "file.read", `{"call":1,"file":` + absentFile + `,"offset":0,"length":1}`, protocol.CodeInternal},
		{"file with no digest", "file.read", `{"call":1,"file":{"$file":{"digest":"x","executable":false,"name":"x"}},"offset":0,"length":1}`, protocol.CodeInvalid},
		{"read from before", "file.read", `{"call":1,"file":` + absentFile + `,"offset":-1,"length":1}`, protocol.CodeInvalid},
		{"read nothing", "file.read", `{"call":1,"file":` + absentFile + `,"offset":0,"length":0}`, protocol.CodeInvalid},
		{"read too much", "file.read", `{"call":1,"file":` + absentFile + `,"offset":0,"length":1048577}`, protocol.CodeInvalid},
		{"unknown blob", "blob.append", `{"call":1,"blob":9,"data":""}`, protocol.CodeNotFound},
		{"commit of an unknown blob", "blob.commit", `{"call":1,"blob":9,"name":"x","executable":false}`, protocol.CodeNotFound},
		{"blob with a path", "blob.commit", `{"call":1,"blob":9,"name":"../x","executable":false}`, protocol.CodeInvalid},
		{"blob without a name", "blob.commit", `{"call":1,"blob":9,"name":"","executable":false}`, protocol.CodeInvalid},
		{"list what is not in the store", "directory.list", `{"call":1,"directory":` + absentDir + `,"path":"","recursive":false,"after":""}`, protocol.CodeInternal},
		{"list above", "directory.list", `{"call":1,"directory":` + emptyDir + `,"path":"..","recursive":false,"after":""}`, protocol.CodeInvalid},
		{"list an absolute path", "directory.list", `{"call":1,"directory":` + emptyDir + `,"path":"/x","recursive":false,"after":""}`, protocol.CodeInvalid},
		{"get what is not there", "directory.get", `{"call":1,"directory":` + emptyDir + `,"path":"x"}`, protocol.CodeNotFound},
		{"get with an empty part", "directory.get", `{"call":1,"directory":` + emptyDir + `,"path":"a//b"}`, protocol.CodeInvalid},
		{"make of a file at the root", "directory.make", `{"call":1,"mounts":[{"path":"","value":` + absentFile + `}]}`, protocol.CodeInvalid},
		{"make of a file not in the store", "directory.make", `{"call":1,"mounts":[{"path":"x","value":` + absentFile + `}]}`, protocol.CodeInternal},
		{"make of a directory not in the store", "directory.make", `{"call":1,"mounts":[{"path":"x","value":` + absentDir + `}]}`, protocol.CodeInternal},
		{"make above", "directory.make", `{"call":1,"mounts":[{"path":"../x","value":` + emptyDir + `}]}`, protocol.CodeInvalid},
		{"filter by no glob at all", "directory.filter", `{"call":1,"directory":` + emptyDir + `,"globs":["[a"]}`, protocol.CodeInvalid},
		{"report not in the store", "report.parse", `{"call":1,"junit":` + absentFile + `}`, protocol.CodeInternal},
		{"step without a command", "step.run", `{"call":1,"args":[],"tree":[],"cwd":"","env":{},"outputs":[],"ok":[0]}`, protocol.CodeInvalid},
		{"step above", "step.run", step(`,"cwd":"../x"`), protocol.CodeInvalid},
		{"step with an absolute output", "step.run", step(`,"outputs":["/etc"]`), protocol.CodeInvalid},
		{"step with no variable's name", "step.run", step(`,"env":{"A=B":"c"}`), protocol.CodeInvalid},
		{"step that accepts nothing", "step.run", step(`,"ok":[]`), protocol.CodeInvalid},
		{"step with too long arguments", "step.run", `{"call":1,"args":["` + long + `"],"tree":[],"cwd":"","env":{},"outputs":[],"ok":[0]}`, protocol.CodeTooLarge},
		{"step on what is not in the store", "step.run", `{"call":1,"args":["x"],"tree":[{"path":"x","value":` + absentFile + `}],"cwd":"","env":{},"outputs":[],"ok":[0]}`, protocol.CodeInternal},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, protocol.KindStage, nil)
			params := c.params
			if strings.Count(params, `"cwd"`) == 2 || strings.Count(params, `"outputs"`) == 2 || strings.Count(params, `"env"`) == 2 || strings.Count(params, `"ok"`) == 2 {
				params = lastWins(t, params)
			}
			_, err := b.ask(c.method, params)
			if got := protocol.CodeOf(err); got != c.code {
				t.Errorf("the code is %q and should be %q: %v", got, c.code, err)
			}
			if b.steps.Begun() != 0 || len(b.order) != 0 {
				t.Errorf("%d steps were run, and the stores saw %v", b.steps.Begun(), b.order)
			}
		})
	}
}

// lastWins drops all but the last member of a name.
func lastWins(t *testing.T, object string) string {
	t.Helper()
	var m map[string]json.RawMessage
	if err := json.Unmarshal([]byte(object), &m); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestBlobsAreStoredInParts(t *testing.T) {
	b := newBench(t, protocol.KindStage, nil)
	if got := b.must("blob.begin", `{"call":1}`); got != `{"blob":1}` {
		t.Fatalf("begin: %s", got)
	}
	b.must("blob.append", `{"call":1,"blob":1,"data":"aGVs"}`)
	b.must("blob.append", `{"call":1,"blob":1,"data":"bG8="}`)
	got := b.must("blob.commit", `{"call":1,"blob":1,"name":"hi.txt","executable":true}`)
	want := digest.OfBytes([]byte("hello")).String()
	if !strings.Contains(got, want) || !strings.Contains(got, `"executable":true`) || !strings.Contains(got, `"name":"hi.txt"`) {
		t.Errorf("commit: %s", got)
	}
	if _, err := b.ask("blob.append", `{"call":1,"blob":1,"data":""}`); protocol.CodeOf(err) != protocol.CodeNotFound {
		t.Errorf("append after commit: %v", err)
	}
	file := `{"$file":{"digest":"` + want + `","executable":true,"name":"hi.txt"}}`
	if got := b.must("file.read", `{"call":1,"file":`+file+`,"offset":1,"length":3}`); got != `{"data":"ZWxs","eof":false}` {
		t.Errorf("read: %s", got)
	}
	if got := b.must("file.read", `{"call":1,"file":`+file+`,"offset":4,"length":9}`); got != `{"data":"bw==","eof":true}` {
		t.Errorf("read to the end: %s", got)
	}
	if got := b.must("file.read", `{"call":1,"file":`+file+`,"offset":99,"length":9}`); got != `{"data":"","eof":true}` {
		t.Errorf("read behind the end: %s", got)
	}
}

func TestACallStoresOnlySoManyBlobsAtOnce(t *testing.T) {
	b := newBench(t, protocol.KindStage, nil)
	for range maxBlobs {
		b.must("blob.begin", `{"call":1}`)
	}
	if _, err := b.ask("blob.begin", `{"call":1}`); protocol.CodeOf(err) != protocol.CodeTooLarge {
		t.Errorf("one more: %v", err)
	}
}

func TestDamagedFilesAreNeverRead(t *testing.T) {
	b := newBench(t, protocol.KindStage, nil)
	file := b.put("hello")
	if err := b.store.Corrupt(digest.OfBytes([]byte("hello")), []byte("hallo")); err != nil {
		t.Fatal(err)
	}
	if got, err := b.ask("file.read", `{"call":1,"file":`+file+`,"offset":0,"length":100}`); err == nil {
		t.Errorf("a damaged file was read: %s", got)
	}
}

func TestDirectoriesArePagedSortedAndMerged(t *testing.T) {
	b := newBench(t, protocol.KindStage, nil)
	file := b.put("x")
	var mounts []string
	for _, path := range []string{"b/c", "a", "b.c"} {
		mounts = append(mounts, fmt.Sprintf(`{"path":%q,"value":%s}`, path, file))
	}
	made := b.must("directory.make", `{"call":1,"mounts":[`+strings.Join(mounts, ",")+`]}`)
	var dir struct{ Value json.RawMessage }
	if err := json.Unmarshal([]byte(made), &dir); err != nil {
		t.Fatal(err)
	}
	list := func(after string) []string {
		var r struct {
			Entries []struct{ Path string }
			More    bool
		}
		text := b.must("directory.list", fmt.Sprintf(`{"call":1,"directory":%s,"path":"","recursive":true,"after":%q}`, dir.Value, after))
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, e := range r.Entries {
			out = append(out, e.Path)
		}
		return out
	}
	if got := list(""); !slices.Equal(got, []string{"a", "b", "b.c", "b/c"}) {
		t.Errorf("all: %v", got)
	}
	if got := list("b"); !slices.Equal(got, []string{"b.c", "b/c"}) {
		t.Errorf("after b: %v", got)
	}
	other := b.put("y")
	if _, err := b.ask("directory.make", fmt.Sprintf(`{"call":1,"mounts":[{"path":"","value":%s},{"path":"a","value":%s}]}`, dir.Value, other)); protocol.CodeOf(err) != protocol.CodeInvalid {
		t.Errorf("two contents of one path: %v", err)
	}
}

const echo = `{"call":1,"args":["echo"],"tree":[],"cwd":"","env":{},"outputs":["out.txt"],"ok":[0]}`

func writeOut(_ context.Context, s *fake.Step) (int, error) {
	if _, err := io.WriteString(s.Stdout(), "one\ntwo"); err != nil {
		return 0, err
	}
	return 0, s.WriteFile("out.txt", []byte("made"))
}

// The result of a step is recorded after its blobs are durable, and found the next time.
func TestAStepIsRecordedOnlyOnceItIsDurable(t *testing.T) {
	b := newBench(t, protocol.KindStage, writeOut)
	first := b.must("step.run", echo)
	if again := b.must("step.run", echo); !strings.Contains(again, `"cached":true`) {
		t.Errorf("before it is recorded: %s", again)
	}
	if err := b.ops.commits.wait(); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(b.order, []string{"flush", "put step"}) {
		t.Errorf("the stores saw %v", b.order)
	}
	if strings.Contains(first, `"cached":true`) || !strings.Contains(first, `"path":"out.txt"`) {
		t.Errorf("first: %s", first)
	}
	second := b.must("step.run", echo)
	if want := strings.Replace(first, `"cached":false`, `"cached":true`, 1); second != want {
		t.Errorf("second: %s\nwant:   %s", second, want)
	}
	if b.steps.Begun() != 1 {
		t.Errorf("%d steps were run", b.steps.Begun())
	}
	if err := b.store.Delete(t.Context(), digest.OfBytes([]byte("made"))); err != nil {
		t.Fatal(err)
	}
	if third := b.must("step.run", echo); third != first || b.steps.Begun() != 2 {
		t.Errorf("with its output gone: %s after %d steps", third, b.steps.Begun())
	}
}

func TestAStepThatIsNotDurableIsNotRecorded(t *testing.T) {
	b := newBench(t, protocol.KindStage, writeOut)
	b.store.failing = errors.New("the disk is full")
	b.must("step.run", echo)
	if err := b.ops.commits.wait(); err == nil || !strings.Contains(err.Error(), "the disk is full") {
		t.Errorf("the error is %v", err)
	}
	if !slices.Equal(b.order, []string{"flush"}) {
		t.Errorf("the stores saw %v", b.order)
	}
}

func TestStepsThatFailAreNotRecorded(t *testing.T) {
	code := 3
	b := newBench(t, protocol.KindStage, func(context.Context, *fake.Step) (int, error) { return code, nil })
	for range 2 {
		_, err := b.ask("step.run", echo)
		var pe *protocol.Error
		if !errors.As(err, &pe) || pe.Code != protocol.CodeStepFailed || pe.Step == nil || pe.Step.ExitCode != 3 {
			t.Errorf("exit code 3: %v", err)
		}
	}
	code = 0
	if _, err := b.ask("step.run", echo); protocol.CodeOf(err) != protocol.CodeStepFailed || !strings.Contains(err.Error(), "echo did not make out.txt") {
		t.Errorf("without the output: %v", err)
	}
	if len(b.order) != 0 || b.steps.Begun() != 3 {
		t.Errorf("the stores saw %v after %d steps", b.order, b.steps.Begun())
	}
}

// A result with an exit code that this caller does not accept is none for it.
func TestAResultIsForThoseWhoAcceptIt(t *testing.T) {
	b := newBench(t, protocol.KindStage, func(context.Context, *fake.Step) (int, error) { return 4, nil })
	take := `{"call":1,"args":["x"],"tree":[],"cwd":"","env":{},"outputs":[],"ok":"any"}`
	b.must("step.run", take)
	if _, err := b.ask("step.run", strings.Replace(take, `"any"`, "[0]", 1)); protocol.CodeOf(err) != protocol.CodeStepFailed {
		t.Errorf("with 0 alone: %v", err)
	}
	if got := b.must("step.run", strings.Replace(take, `"any"`, "[0,4]", 1)); !strings.Contains(got, `"cached":true`) {
		t.Errorf("with 4: %s", got)
	}
}

func TestStepsOfEffectsAreNeverCached(t *testing.T) {
	b := newBench(t, protocol.KindEffect, writeOut)
	for range 2 {
		b.must("step.run", echo)
	}
	if b.steps.Begun() != 2 || len(b.order) != 0 {
		t.Errorf("%d steps were run, the stores saw %v", b.steps.Begun(), b.order)
	}
}

// Two equal steps at once are run once.
func TestEqualStepsAtOnceAreOne(t *testing.T) {
	b := newBench(t, protocol.KindStage, writeOut)
	release := b.steps.Hold()
	answers := make(chan string, 2)
	for range 2 {
		go func() {
			result, err := b.ops.Handle(t.Context(), 7, "step.run", json.RawMessage(echo))
			text, _ := json.Marshal(result)
			answers <- fmt.Sprint(string(text), err)
		}()
	}
	if err := b.steps.Await(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	release()
	both := <-answers + <-answers
	if strings.Count(both, `"cached":true`) != 1 || strings.Count(both, `"cached":false`) != 1 || b.steps.Begun() != 1 {
		t.Errorf("%d steps: %s", b.steps.Begun(), both)
	}
}

// The end of a call ends what it asked for, before it is told.
func TestTheEndOfACallEndsItsSteps(t *testing.T) {
	for name, end := range map[string]func(*bench){
		"returned":  func(b *bench) { b.call.close() },
		"cancelled": func(b *bench) { b.cancel(errStopped); b.call.close() },
	} {
		t.Run(name, func(t *testing.T) {
			var b *bench
			b = newBench(t, protocol.KindStage, func(ctx context.Context, _ *fake.Step) (int, error) {
				<-ctx.Done()
				for range 10_000 { // whoever does not wait for this has gone on by then
					runtime.Gosched()
				}
				b.did("clean up")
				return 1, nil
			})
			answer := make(chan error, 1)
			go func() {
				_, err := b.ops.Handle(t.Context(), 7, "step.run", json.RawMessage(echo))
				answer <- err
			}()
			if err := b.steps.Await(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			b.must("blob.begin", `{"call":1}`)
			end(b)
			b.mu.Lock()
			last := b.events[len(b.events)-1]
			told := len(b.events)
			if !slices.Equal(b.order, []string{"clean up"}) {
				t.Errorf("at the end of the call the step had done %v", b.order)
			}
			b.mu.Unlock()
			if _, ok := last.(event.StepFinished); !ok {
				t.Errorf("the last event is %T", last)
			}
			if err := <-answer; protocol.CodeOf(err) != protocol.CodeCancelled {
				t.Errorf("the step was answered with %v", err)
			}
			if _, err := b.ask("step.run", echo); protocol.CodeOf(err) != protocol.CodeInvalid {
				t.Errorf("a request after the end: %v", err)
			}
			if err := b.ops.Notify("log", json.RawMessage(`{"call":1,"level":"info","message":"late","fields":{}}`)); err != nil {
				t.Errorf("a message after the end: %v", err)
			}
			if len(b.events) != told || len(b.order) != 1 {
				t.Errorf("after the end came %d events, the stores saw %v", len(b.events)-told, b.order)
			}
		})
	}
}

func TestNoticesThatAreNotKnownEndTheConnection(t *testing.T) {
	b := newBench(t, protocol.KindStage, nil)
	if err := b.ops.Notify("shout", json.RawMessage(`{"call":1}`)); err == nil {
		t.Error("an unknown notification was taken")
	}
	if err := b.ops.Notify("log", json.RawMessage(`{"call":1,"level":"info","message":"m","fields":{"b":1,"a":"x"}}`)); err != nil {
		t.Error(err)
	}
	if got, ok := b.events[len(b.events)-1].(event.StageLog); !ok || got.Message != "m" || len(got.Fields) != 2 {
		t.Errorf("told %#v", b.events)
	}
}

func TestRunIDsSortByTime(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	last := ""
	for n := time.Duration(0); n < time.Second; n += 997 * time.Microsecond {
		id := newRunID(at.Add(n))
		if id <= last {
			t.Fatalf("%s came after %s", id, last)
		}
		last = id
	}
	if id := newRunID(at.Add(time.Second - 1)); id < last || id >= newRunID(at.Add(time.Second)) {
		t.Errorf("the last of a second is %s", id)
	}
}

func TestRunsAtOneMomentGetIDsOfTheirOwn(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	e := New(Config{Journal: &memJournal{}, Now: func() time.Time { return at }})
	seen := map[string]bool{}
	for range 3 {
		rec, err := e.record(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		seen[rec.id] = true
		if err := rec.close(); err != nil {
			t.Error(err)
		}
	}
	if len(seen) != 3 {
		t.Errorf("the ids are %v", seen)
	}
}
