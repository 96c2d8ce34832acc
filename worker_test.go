package towpath_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/towpath/towpath"
	"github.com/towpath/towpath/internal/sdk"
	"github.com/towpath/towpath/protocol"
	"github.com/towpath/towpath/towpathtest"
)

// workerVariable makes the test binary a pipeline program.
const workerVariable = "TOWPATH_TEST_WORKER"

func TestMain(m *testing.M) {
	switch os.Getenv(workerVariable) {
	case "good":
		towpath.Main(testPipeline)
	case "panics":
		towpath.Main(func(*towpath.Pipeline) { panic("oh no") })
	case "wrong":
		towpath.Main(func(p *towpath.Pipeline) { p.Source() })
	case "reads":
		towpath.Main(readingPipeline)
	}
	os.Exit(m.Run())
}

type noteIn struct {
	Text  string
	Times int
}

type fileIn struct {
	Src towpath.Ref[towpath.Directory]
}

type listIn struct {
	Items towpath.Ref[[]string]
	Ratio towpath.Ref[float64]
}

type oneIn struct {
	Item towpath.Ref[string]
}

// readingPipeline is declared by what is in files, and reads others late.
func readingPipeline(p *towpath.Pipeline) {
	names, err := p.ReadDir("packages")
	if err != nil {
		panic(err)
	}
	if _, err := p.ReadFile("missing"); !errors.Is(err, fs.ErrNotExist) {
		panic(err)
	}
	for _, name := range names {
		doc, err := p.ReadFile("packages/" + name)
		if err != nil {
			panic(err)
		}
		towpath.Stage(p, name, func(ctx context.Context, in oneIn) (string, error) {
			data, err := towpath.ReadFile(ctx, in.Item.Get())
			if err != nil {
				return "", err
			}
			more, err := towpath.ReadDir(ctx, "packages")
			return string(data) + strings.Join(more, " "), err
		}, oneIn{Item: towpath.Value("late.txt")}, towpath.Doc(string(doc)))
	}
	towpath.Stage(p, "large", func(context.Context, struct{}) (string, error) {
		return strings.Repeat("x", protocol.MaxValue), nil
	}, struct{}{})
}

func testPipeline(p *towpath.Pipeline) {
	towpath.Stage(p, "echo", func(_ context.Context, in noteIn) (string, error) {
		return strings.Repeat(in.Text, in.Times), nil
	}, noteIn{Text: "a", Times: 2})
	towpath.Stage(p, "wait", func(ctx context.Context, _ struct{}) (towpath.None, error) {
		<-ctx.Done()
		return towpath.None{}, fmt.Errorf("stopped: %w", ctx.Err())
	}, struct{}{})
	towpath.Stage(p, "hang", func(ctx context.Context, _ struct{}) (towpath.None, error) {
		towpath.Log(ctx, slog.LevelInfo, "hanging")
		select {}
	}, struct{}{})
	towpath.Stage(p, "fail", func(context.Context, struct{}) (towpath.None, error) {
		return towpath.None{}, errors.New("it went wrong")
	}, struct{}{})
	towpath.Stage(p, "panic", func(context.Context, struct{}) (towpath.None, error) {
		panic("oh no")
	}, struct{}{})
	towpath.Stage(p, "unwritable", func(context.Context, struct{}) (string, error) { return "\xff", nil }, struct{}{})
	towpath.Stage(p, "environ", func(ctx context.Context, _ struct{}) (string, error) {
		return os.Getenv(protocol.FDsVariable) + inheritedFDs(ctx), nil
	}, struct{}{})
	for name, step := range map[string]towpath.Step{"network": {Network: true}, "limits": {PIDs: 1}} {
		step.Args = []string{"true"}
		towpath.Stage(p, name, func(ctx context.Context, _ struct{}) (towpath.None, error) {
			_, err := towpath.Run(ctx, step)
			return towpath.None{}, err
		}, struct{}{})
	}
	src := p.Source("src")
	towpath.Stage(p, "build", build, fileIn{Src: src})
	items := towpath.Stage(p, "items", func(context.Context, fileIn) ([]string, error) { return nil, nil }, fileIn{Src: src})
	towpath.Stage(p, "each", func(_ context.Context, in oneIn) (string, error) { return in.Item.Get() + "!", nil },
		oneIn{Item: towpath.Each(items)})
	towpath.Stage(p, "list", func(_ context.Context, in listIn) (map[string]float64, error) {
		out := make(map[string]float64)
		for _, item := range in.Items.Get() {
			out[item] = in.Ratio.Get()
		}
		return out, nil
	}, listIn{Items: items, Ratio: towpath.Param[float64](p, "ratio", towpath.Default(1))})
}

// inheritedFDs lists the pipes that a process of the stage has.
func inheritedFDs(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "sh", "-c", "for fd in 3 4 5 6; do [ -p /proc/self/fd/$fd ] && echo $fd; done; true").Output()
	if err != nil {
		return err.Error()
	}
	return string(out)
}

func build(ctx context.Context, in fileIn) (towpath.File, error) {
	result, err := towpath.Run(ctx, towpath.Step{
		Args: []string{"cc", "main.c"}, Tree: []towpath.Mount{{Content: in.Src.Get()}}, Outputs: []string{"a.out"},
	})
	if err != nil {
		return towpath.File{}, fmt.Errorf("compile: %w", err)
	}
	towpath.Log(ctx, slog.LevelWarn, "built", "cached", result.Cached, slog.Group("exit", "code", result.ExitCode))
	return result.File("a.out")
}

// testWorker is a worker process and the engine that it talks to.
type testWorker struct {
	*protocol.Conn
	engine *towpathtest.Engine
	cmd    *exec.Cmd
	exited chan error
}

// backend answers a worker with a test engine.
type backend struct{ engine *towpathtest.Engine }

func (b backend) Handle(ctx context.Context, _ uint64, method string, params json.RawMessage) (any, error) {
	var result json.RawMessage
	err := engineOf(b.engine).Call(ctx, method, params, &result)
	return result, err
}

func (b backend) Notify(method string, params json.RawMessage) error {
	var line protocol.LogParams
	if err := protocol.Decode(params, &line); err != nil {
		return err
	}
	return engineOf(b.engine).Notify(method, line)
}

func engineOf(engine *towpathtest.Engine) sdk.Engine {
	call, err := sdk.CallOf(engine.Context())
	if err != nil {
		panic(err)
	}
	return call.Engine
}

func allCapabilities() []string {
	return []string{
		protocol.MethodStepRun, protocol.MethodFileRead, protocol.MethodBlobBegin, protocol.MethodBlobAppend,
		protocol.MethodBlobCommit, protocol.MethodLog,
	}
}

func startWorker(t *testing.T, which string, capabilities []string) *testWorker {
	t.Helper()
	// The descriptors are not the first ones, since a worker must not count on that.
	fromEngine, toWorker := testPipe(t)
	fromWorker, toEngine := testPipe(t)
	w := &testWorker{engine: towpathtest.New(t), cmd: exec.Command(os.Args[0]), exited: make(chan error, 1)}
	w.cmd.ExtraFiles = []*os.File{nil, fromEngine, toEngine}
	w.cmd.Env = append(os.Environ(), workerVariable+"="+which, protocol.FDsVariable+"=4,5")
	w.cmd.Stderr = os.Stderr
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	fromEngine.Close()
	toEngine.Close()
	go func() { w.exited <- w.cmd.Wait() }()
	w.Conn = protocol.NewConn(fromWorker, toWorker, protocol.Options{})
	go func() { _ = w.Serve(context.Background(), backend{w.engine}) }()
	t.Cleanup(func() {
		w.Close()
		select {
		case err := <-w.exited:
			if err != nil {
				t.Errorf("the worker ended with %v, not with status 0", err)
			}
		case <-time.After(20 * time.Second):
			t.Error("the worker did not end with its connection")
			_ = w.cmd.Process.Kill()
		}
	})
	err := w.Call(t.Context(), protocol.MethodHello, protocol.HelloParams{
		Protocol: protocol.VersionRange{Min: 1, Max: 3}, Capabilities: capabilities,
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func testPipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	return r, w
}

func (w *testWorker) load(t *testing.T) {
	t.Helper()
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Call(t.Context(), protocol.MethodLoad, protocol.LoadParams{Program: root, Root: root}, nil); err != nil {
		t.Fatal(err)
	}
}

func (w *testWorker) stage(ctx context.Context, stage, function, inputs string) (string, error) {
	params := protocol.StageCallParams{Stage: stage, Function: function}
	if err := json.Unmarshal([]byte(inputs), &params.Inputs); err != nil {
		return "", err
	}
	var result protocol.StageCallResult
	err := w.Call(ctx, protocol.MethodStageCall, params, &result)
	return string(result.Value), err
}

func TestWorkerRunsStages(t *testing.T) {
	w := startWorker(t, "good", allCapabilities())
	if _, err := w.stage(t.Context(), "echo", "echo", `{}`); protocol.CodeOf(err) != protocol.CodeInvalid {
		t.Errorf("stage.call before load: %v", err)
	}
	w.load(t)
	for _, test := range []struct {
		stage, function, inputs string
		want                    string
		code                    protocol.Code
	}{
		{"echo", "echo", `{"text":"ab","times":2}`, `"abab"`, ""},
		{"echo", "echo", `{"text":"ab"}`, ``, protocol.CodeInvalid},
		{"echo", "echo", `{"text":"ab","times":2.0}`, ``, protocol.CodeInvalid},
		{"echo", "echo", `{"text":"ab","times":-1}`, ``, protocol.CodeFailed},
		{"echo", "other", `{"text":"ab","times":2}`, ``, protocol.CodeInvalid},
		{"gone", "gone", `{}`, ``, protocol.CodeInvalid},
		{"echo[0]", "echo", `{"text":"ab","times":2}`, ``, protocol.CodeInvalid},
		{"each[12]", "each", `{"item":"x"}`, `"x!"`, ""},
		{"items", "items", `{"src":{"$directory":{"digest":"` + strings.Repeat("0", 64) + `/0"}}}`, `[]`, ""},
		{"list", "list", `{"items":["b","a"],"ratio":1}`, `{"a":1.0,"b":1.0}`, ""},
		{"fail", "fail", `{}`, ``, protocol.CodeFailed},
		{"panic", "panic", `{}`, ``, protocol.CodeFailed},
		{"unwritable", "unwritable", `{}`, ``, protocol.CodeFailed},
		{"environ", "environ", `{}`, `""`, ""},
	} {
		got, err := w.stage(t.Context(), test.stage, test.function, test.inputs)
		if got != test.want || protocol.CodeOf(err) != test.code {
			t.Errorf("%s(%s) = %s, %v, want %s, %q", test.stage, test.inputs, got, err, test.want, test.code)
		}
		if test.stage == "panic" {
			if failure, ok := errors.AsType[*protocol.Error](err); !ok || !strings.Contains(failure.Trace, "worker_test.go") {
				t.Errorf("the panic has no trace: %+v", failure)
			}
		}
	}
	if err := w.Call(t.Context(), "dance", nil, nil); protocol.CodeOf(err) != protocol.CodeUnsupported {
		t.Errorf("an unknown method: %v", err)
	}
	if err := w.Call(t.Context(), protocol.MethodHello, protocol.HelloParams{Protocol: protocol.VersionRange{Min: 1, Max: 1}}, nil); err == nil {
		t.Error("a second hello was answered")
	}
}

func TestWorkerAsksTheEngine(t *testing.T) {
	w := startWorker(t, "good", allCapabilities())
	w.load(t)
	src, err := json.Marshal(map[string]any{"src": map[string]any{
		"$directory": map[string]string{"digest": w.engine.Directory(map[string]string{"main.c": "int main;"}).Digest()},
	}})
	if err != nil {
		t.Fatal(err)
	}
	w.engine.OnRun("cc").Returns(towpathtest.Result{Outputs: map[string]string{"a.out": "ELF"}})
	got, err := w.stage(t.Context(), "build", "build", string(src))
	if err != nil || !strings.Contains(got, `"name":"a.out"`) {
		t.Errorf("build = %s, %v", got, err)
	}
	logs := w.engine.Logs()
	if len(logs) != 1 || logs[0].Level != slog.LevelWarn || fmt.Sprint(logs[0].Fields) != "map[cached:false exit:map[code:0]]" {
		t.Errorf("logged %+v", logs)
	}

	w.engine.OnRun("cc").Returns(towpathtest.Result{ExitCode: 3})
	_, err = w.stage(t.Context(), "build", "build", string(src))
	failure, ok := errors.AsType[*protocol.Error](err)
	if !ok || failure.Code != protocol.CodeStepFailed || failure.Step == nil || failure.Step.ExitCode != 3 ||
		!strings.HasPrefix(failure.Message, "compile: cc ended ") {
		t.Errorf("a failed step: %+v", failure)
	}
}

func TestWorkerChecksCapabilities(t *testing.T) {
	w := startWorker(t, "good", nil)
	w.load(t)
	_, err := w.stage(t.Context(), "build", "build", `{"src":{"$directory":{"digest":"`+strings.Repeat("0", 64)+`/0"}}}`)
	if protocol.CodeOf(err) != protocol.CodeUnsupported {
		t.Errorf("a step that the engine cannot run: %v", err)
	}
}

func TestWorkerChecksFeatures(t *testing.T) {
	for stage, feature := range map[string]string{"network": protocol.FeatureNetwork, "limits": protocol.FeatureLimits} {
		w := startWorker(t, "good", allCapabilities())
		w.load(t)
		w.engine.OnRun("true")
		_, err := w.stage(t.Context(), stage, stage, `{}`)
		if protocol.CodeOf(err) != protocol.CodeUnsupported || !strings.Contains(err.Error(), feature) {
			t.Errorf("%s, which the engine cannot: %v", stage, err)
		}
		w = startWorker(t, "good", append(allCapabilities(), feature))
		w.load(t)
		w.engine.OnRun("true")
		if _, err := w.stage(t.Context(), stage, stage, `{}`); err != nil {
			t.Errorf("%s, which the engine can: %v", stage, err)
		}
	}
}

func TestWorkerIsCancelledAndPinged(t *testing.T) {
	w := startWorker(t, "good", allCapabilities())
	w.load(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := w.stage(ctx, "wait", "wait", `{}`)
		ended <- err
	}()
	for range 3 {
		if err := w.Call(t.Context(), protocol.MethodPing, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled stage: %v", err)
	}
	// A stage that ignores everything must not keep the process: startWorker
	// waits for it.
	hang, stop := context.WithCancel(t.Context())
	defer stop()
	go func() { _, _ = w.stage(hang, "hang", "hang", `{}`) }()
	for deadline := time.Now().Add(10 * time.Second); len(w.engine.Logs()) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the stage did not begin")
		}
	}
}

func TestWorkerReportsWrongPrograms(t *testing.T) {
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for which, want := range map[string]string{
		"panics": "the pipeline program panicked: oh no",
		"wrong":  "worker_test.go:36: a source takes nothing",
	} {
		w := startWorker(t, which, nil)
		err := w.Call(t.Context(), protocol.MethodDescribe, protocol.DescribeParams{Program: root, Root: root}, nil)
		if protocol.CodeOf(err) != protocol.CodePipeline || err.Error() != want {
			t.Errorf("%s: %v, want %s", which, err, want)
		}
		again := w.Call(t.Context(), protocol.MethodLoad, protocol.LoadParams{Program: root, Root: root}, nil)
		if again == nil || again.Error() != want {
			t.Errorf("%s, loaded again: %v", which, again)
		}
	}
}

func TestWorkerReportsWhatTheProgramReads(t *testing.T) {
	root := t.TempDir()
	write := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(root, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(root, "packages"), 0o755); err != nil {
		t.Fatal(err)
	}
	write("packages/a", "A.")
	write("late.txt", "late")
	read := func(name, content string) protocol.ProgramFile {
		return protocol.ProgramFile{Path: filepath.Join(root, name), Digest: fmt.Sprintf("%x/%d", sha256.Sum256([]byte(content)), len(content))}
	}
	listed := func(names ...string) protocol.List[protocol.ProgramFolder] {
		return protocol.List[protocol.ProgramFolder]{{Path: filepath.Join(root, "packages"), Names: names}}
	}
	w := startWorker(t, "reads", nil)
	var plan protocol.DescribeResult
	if err := w.Call(t.Context(), protocol.MethodDescribe, protocol.DescribeParams{Program: root, Root: root}, &plan); err != nil {
		t.Fatal(err)
	}
	wantFiles := protocol.List[protocol.ProgramFile]{{Path: filepath.Join(root, "missing")}, read("packages/a", "A.")}
	if !reflect.DeepEqual(plan.Files, wantFiles) || !reflect.DeepEqual(plan.Folders, listed("a")) {
		t.Errorf("describe reports %+v and %+v", plan.Files, plan.Folders)
	}

	write("packages/b", "B.")
	params := protocol.StageCallParams{Stage: "a", Function: "a", Inputs: map[string]json.RawMessage{"item": json.RawMessage(`"late.txt"`)}}
	var result protocol.StageCallResult
	for _, content := range []string{"late", "changed"} {
		write("late.txt", content)
		if err := w.Call(t.Context(), protocol.MethodStageCall, params, &result); err != nil {
			t.Fatal(err)
		}
		late := read("late.txt", content)
		if content == "changed" {
			late.Digest = "" // what the first call read is not what the second did
		}
		if string(result.Value) != `"`+content+`a b"` || !reflect.DeepEqual(result.Files, protocol.List[protocol.ProgramFile]{late}) ||
			!reflect.DeepEqual(result.Folders, listed("a", "b")) {
			t.Errorf("stage.call reports %+v", result)
		}
	}

	var loaded protocol.LoadResult
	if err := w.Call(t.Context(), protocol.MethodLoad, protocol.LoadParams{Program: root, Root: root}, &loaded); err != nil {
		t.Fatal(err)
	}
	if len(loaded.Files) != 3 || !reflect.DeepEqual(loaded.Folders, listed("a")) {
		t.Errorf("load reports %+v", loaded)
	}
	if _, err := w.stage(t.Context(), "large", "large", `{}`); protocol.CodeOf(err) != protocol.CodeTooLarge {
		t.Errorf("an output of more than %d bytes: %v", protocol.MaxValue, err)
	}
}

func TestWorkerRefusesAnotherProtocol(t *testing.T) {
	near, far := io.Pipe()
	back, out := io.Pipe()
	go func() { _ = sdk.Serve(context.Background(), near, out, testPipeline) }()
	conn := protocol.NewConn(back, far, protocol.Options{})
	defer conn.Close()
	go func() { _ = conn.Serve(context.Background(), backend{}) }()
	if err := conn.Call(t.Context(), protocol.MethodDescribe, protocol.DescribeParams{}, nil); protocol.CodeOf(err) != protocol.CodeInvalid {
		t.Errorf("describe before hello: %v", err)
	}
	err := conn.Call(t.Context(), protocol.MethodHello, protocol.HelloParams{Protocol: protocol.VersionRange{Min: 2, Max: 3}}, nil)
	if protocol.CodeOf(err) != protocol.CodeUnsupported || !strings.Contains(err.Error(), "2 to 3") || !strings.Contains(err.Error(), "1 to 1") {
		t.Errorf("hello: %v", err)
	}
}

func TestProgramStartedByHand(t *testing.T) {
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	tow := filepath.Join(dir, "tow")
	if err := os.WriteFile(tow, []byte("#!/bin/sh\necho \"$@\"\nexit 7\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args []string
		env  string
		want string
	}{
		{nil, "TOW=" + tow, "--file " + here + " run\n"},
		{[]string{"plan", "--json"}, "PATH=" + dir + ":/bin:/usr/bin", "--file " + here + " plan --json\n"},
	} {
		cmd := exec.Command(os.Args[0], test.args...)
		cmd.Env = append(os.Environ(), workerVariable+"=good", test.env)
		out, err := cmd.Output()
		if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 7 || string(out) != test.want {
			t.Errorf("%v: %q, %v, want %q", test.args, out, err, test.want)
		}
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = []string{workerVariable + "=good", "PATH=" + t.TempDir()}
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "set TOW") {
		t.Errorf("without tow: %q, %v", out, err)
	}
}

func TestSDKSourceIsWholeAndBuilds(t *testing.T) {
	dir := t.TempDir()
	source := towpath.SDKSource()
	if err := os.CopyFS(dir, source); err != nil {
		t.Fatal(err)
	}
	for _, pattern := range []string{"*.go", "protocol/*.go", "internal/sdk/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			_, err := fs.Stat(source, filepath.ToSlash(file))
			if test := strings.HasSuffix(file, "_test.go"); test == (err == nil) {
				t.Errorf("%s: in SDKSource: %v", file, err == nil)
			}
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module github.com/towpath/towpath\n\ngo 1.26\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "vet", "./...")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("go vet: %v\n%s", err, out)
	}
}
