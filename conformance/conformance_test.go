package conformance_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/towpath/towpath"
	"github.com/towpath/towpath/conformance/docs"
	"github.com/towpath/towpath/conformance/edges"
	"github.com/towpath/towpath/conformance/effects"
	"github.com/towpath/towpath/conformance/families"
	"github.com/towpath/towpath/conformance/fanout"
	"github.com/towpath/towpath/conformance/fanout_gather"
	"github.com/towpath/towpath/conformance/matrix"
	"github.com/towpath/towpath/conformance/names"
	"github.com/towpath/towpath/conformance/optionals"
	"github.com/towpath/towpath/conformance/params"
	"github.com/towpath/towpath/conformance/records"
	"github.com/towpath/towpath/conformance/reports"
	"github.com/towpath/towpath/conformance/secrets"
	"github.com/towpath/towpath/conformance/sources"
	"github.com/towpath/towpath/conformance/values"
	"github.com/towpath/towpath/protocol"
)

func pipelines() map[string]func(*towpath.Pipeline) {
	return map[string]func(*towpath.Pipeline){
		"docs":          docs.Pipeline,
		"edges":         edges.Pipeline,
		"effects":       effects.Pipeline,
		"families":      families.Pipeline,
		"fanout":        fanout.Pipeline,
		"fanout_gather": fanout_gather.Pipeline,
		"matrix":        matrix.Pipeline,
		"names":         names.Pipeline,
		"optionals":     optionals.Pipeline,
		"params":        params.Pipeline,
		"records":       records.Pipeline,
		"reports":       reports.Pipeline,
		"secrets":       secrets.Pipeline,
		"sources":       sources.Pipeline,
		"values":        values.Pipeline,
	}
}

// pipelineVariable makes the test binary the Go worker of a pipeline.
const pipelineVariable = "TOWPATH_CONFORMANCE_PIPELINE"

func TestMain(m *testing.M) {
	if name, ok := os.LookupEnv(pipelineVariable); ok {
		towpath.Main(pipelines()[name])
	}
	flag.Parse()
	os.Exit(m.Run())
}

var update = flag.Bool("update", false, "write the plans that the Go worker declares")

// worker is a started worker of one SDK.
type worker struct {
	language string
	conn     *protocol.Conn
	program  string
	root     string
}

// start starts a worker as section 1 of the specification says.
func start(t *testing.T, language, name string) worker {
	t.Helper()
	root, err := filepath.Abs(name)
	if err != nil {
		t.Fatal(err)
	}
	w := worker{language: language, root: root}
	var cmd *exec.Cmd
	switch language {
	case "go":
		w.program = root
		cmd = exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), pipelineVariable+"="+name)
	case "python":
		w.program = filepath.Join(root, "pipeline.py")
		boot, err := filepath.Abs("../sdk/python/src/towpath/_boot.py")
		if err != nil {
			t.Fatal(err)
		}
		cmd = exec.Command(python(t), "-I", "-S", "-X", "utf8", boot)
		cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	}
	toWorker, in := pipe(t)
	out, fromWorker := pipe(t)
	cmd.ExtraFiles = []*os.File{toWorker, fromWorker}
	cmd.Env = append(cmd.Env, protocol.FDsVariable+"=3,4")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	toWorker.Close()
	fromWorker.Close()
	w.conn = protocol.NewConn(out, in, protocol.Options{})
	served := make(chan error, 1)
	go func() { served <- w.conn.Serve(context.Background(), refuse{}) }()
	t.Cleanup(func() {
		w.conn.Close()
		if err := <-served; !errors.Is(err, protocol.ErrClosed) {
			t.Errorf("%s: the connection ended with %v", language, err)
		}
		timer := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
		defer timer.Stop()
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: the worker ended with %v, not with status 0", language, err)
		}
	})
	return w
}

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	return r, w
}

// python returns a Python that the SDK supports. That there is none is a failure:
// nothing would tell otherwise that one language was left out.
func python(t *testing.T) string {
	t.Helper()
	const check = "import sys; sys.exit(sys.version_info < (3, 11))"
	for _, name := range []string{"python3", "python3.14", "python3.13", "python3.12", "python3.11", "python"} {
		if path, err := exec.LookPath(name); err == nil && exec.Command(path, "-I", "-c", check).Run() == nil {
			return path
		}
	}
	t.Fatal("no Python of version 3.11 or later in PATH")
	return ""
}

// refuse is an engine that can do nothing.
type refuse struct{}

func (refuse) Handle(_ context.Context, _ uint64, method string, _ json.RawMessage) (any, error) {
	return nil, protocol.Errorf(protocol.CodeUnsupported, "no %s here", method)
}

func (refuse) Notify(method string, _ json.RawMessage) error {
	return protocol.Errorf(protocol.CodeUnsupported, "no %s here", method)
}

func (w worker) call(t *testing.T, method string, params, result any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := w.conn.Call(ctx, method, params, result); err != nil {
		t.Fatalf("%s: %s: %v", w.language, method, err)
	}
}

func (w worker) hello(t *testing.T) {
	t.Helper()
	var hello protocol.HelloResult
	w.call(t, protocol.MethodHello, protocol.HelloParams{
		Protocol: protocol.VersionRange{Min: 1, Max: protocol.Version},
		Engine:   protocol.EngineInfo{Name: "conformance", Version: "1"},
	}, &hello)
	if hello.Protocol != protocol.Version || hello.SDK.Language != w.language || hello.SDK.Runtime == "" {
		t.Errorf("%s: hello is answered with %+v", w.language, hello)
	}
	w.call(t, protocol.MethodPing, protocol.PingParams{}, nil)
}

// describe returns the plan in the bytes that were sent.
func (w worker) describe(t *testing.T) []byte {
	t.Helper()
	var result protocol.DescribeResult
	w.call(t, protocol.MethodDescribe, protocol.DescribeParams{Program: w.program, Root: w.root}, &result)
	plan, err := protocol.DecodePlan(result.Plan)
	if err != nil {
		t.Fatalf("%s: %v", w.language, err)
	}
	for _, stage := range plan.Stages {
		site, ok := result.Sites[stage.Name]
		if !ok || !strings.HasPrefix(site.File, "pipeline.") || site.Line < 1 {
			t.Errorf("%s: the site of %s is %+v", w.language, stage.Name, site)
		}
	}
	if len(result.Sites) != len(plan.Stages) {
		t.Errorf("%s: %d sites of %d stages", w.language, len(result.Sites), len(plan.Stages))
	}
	return result.Plan
}

// call is one call of a stage, and what it returns in canonical JSON.
type call struct {
	Stage    string                        `json:"stage"`
	Function string                        `json:"function"`
	Inputs   protocol.Map[json.RawMessage] `json:"inputs"`
	Value    json.RawMessage               `json:"value"`
}

func readCalls(t *testing.T, name string) []call {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(name, "calls.json"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	var calls []call
	if err == nil {
		err = json.Unmarshal(text, &calls)
	}
	if err != nil {
		t.Fatal(err)
	}
	return calls
}

func TestPlansAndCallsAreTheSameInEveryLanguage(t *testing.T) {
	for name := range pipelines() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			golden := filepath.Join(name, "plan.json")
			want, err := os.ReadFile(golden)
			if err != nil && !*update {
				t.Fatal(err)
			}
			calls := readCalls(t, name)
			for _, language := range []string{"go", "python"} {
				w := start(t, language, name)
				w.hello(t)
				plan := w.describe(t)
				if *update && language == "go" {
					want = indent(t, plan)
					if err := os.WriteFile(golden, want, 0o644); err != nil {
						t.Fatal(err)
					}
				}
				wantPlan, err := protocol.Canonicalize(want)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(plan, wantPlan) {
					t.Errorf("%s declares\n%s\nand %s has\n%s", language, indent(t, plan), golden, want)
				}
				for _, call := range calls {
					w.check(t, call)
				}
			}
		})
	}
}

func (w worker) check(t *testing.T, call call) {
	t.Helper()
	var result protocol.StageCallResult
	w.call(t, protocol.MethodStageCall, protocol.StageCallParams{Stage: call.Stage, Function: call.Function, Inputs: call.Inputs}, &result)
	want, err := protocol.Canonicalize(call.Value)
	if err != nil {
		t.Fatal(err)
	}
	got, err := protocol.Canonicalize(result.Value)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s: %s returns %s, %v, want %s", w.language, call.Stage, got, err, want)
	}
}

func indent(t *testing.T, text []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := json.Indent(&out, text, "", "  "); err != nil {
		t.Fatal(err)
	}
	out.WriteByte('\n')
	return out.Bytes()
}

func TestEveryPipelineIsRun(t *testing.T) {
	files, err := filepath.Glob("*/pipeline.*")
	if err != nil || len(files) == 0 {
		t.Fatalf("no pipelines: %v", err)
	}
	for _, file := range files {
		if pipelines()[filepath.Dir(file)] == nil {
			t.Errorf("%s is not in pipelines", file)
		}
	}
	if len(files) != 2*len(pipelines()) {
		t.Errorf("%d pipelines in two languages have %d files", len(pipelines()), len(files))
	}
}
