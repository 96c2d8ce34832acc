package towpath

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/towpath/towpath/internal/sdk"
	"github.com/towpath/towpath/protocol"
)

// The exit codes of a program that Main ends.
const (
	exitClosed    = 0 // the engine closed the connection
	exitViolation = 3 // the engine broke the protocol, or could not be reached
)

// Main runs a pipeline program, and does not return. It is called in main with
// the function that declares the pipeline.
//
// Started by the engine, the program is a worker: it tells the engine what build
// declares and runs stages until the engine closes the connection. Started by
// hand, it replaces itself with `tow` on this program: `go run ./pipeline test`
// is `tow --file pipeline test`.
func Main(build func(p *Pipeline)) {
	at := caller()
	fds, ok := os.LookupEnv(protocol.FDsVariable)
	if !ok {
		os.Exit(runTow(filepath.Dir(filepath.FromSlash(at.file))))
	}
	err := os.Unsetenv(protocol.FDsVariable)
	if err == nil {
		err = serveFDs(fds, build)
	}
	if err != nil && !errors.Is(err, protocol.ErrClosed) {
		fmt.Fprintf(os.Stderr, "towpath: %v\n", err)
		os.Exit(exitViolation)
	}
	os.Exit(exitClosed)
}

// serveFDs is the worker on the file descriptors "READ,WRITE". It returns as soon
// as the connection has ended, whatever stages are doing.
func serveFDs(fds string, build func(p *Pipeline)) error {
	read, write, ok := strings.Cut(fds, ",")
	r, readErr := strconv.Atoi(read)
	w, writeErr := strconv.Atoi(write)
	if !ok || readErr != nil || writeErr != nil || r < 0 || w < 0 {
		return fmt.Errorf("%s is %q, not two file descriptors", protocol.FDsVariable, fds)
	}
	if err := closeOnExec(r, w); err != nil {
		return err
	}
	conn := protocol.NewConn(os.NewFile(uintptr(r), "engine to worker"), os.NewFile(uintptr(w), "worker to engine"), protocol.Options{})
	go func() { _ = conn.Serve(context.Background(), newWorker(conn, build)) }() // Err returns it
	<-conn.Done()
	return conn.Err()
}

// The test kit serves a pipeline in its own process; Main is what programs call.
var _ = sdk.SetServer(func(ctx context.Context, r io.Reader, w io.Writer, build any) error {
	conn := protocol.NewConn(r, w, protocol.Options{})
	return conn.Serve(ctx, newWorker(conn, build.(func(p *Pipeline))))
})

// worker answers the engine.
type worker struct {
	conn  *protocol.Conn
	build func(p *Pipeline)
	reads *sdk.Reads

	mu       sync.Mutex // guards what follows
	engine   *capableEngine
	pipeline *Pipeline
	failure  error // why there is no pipeline
}

func newWorker(conn *protocol.Conn, build func(p *Pipeline)) *worker {
	return &worker{conn: conn, build: build, reads: sdk.NewReads("")}
}

// Handle answers one request of the engine.
func (w *worker) Handle(ctx context.Context, id uint64, method string, params json.RawMessage) (any, error) {
	if method == protocol.MethodHello {
		return w.hello(params)
	}
	w.mu.Lock()
	engine := w.engine
	w.mu.Unlock()
	if engine == nil {
		return nil, protocol.Errorf(protocol.CodeInvalid, "%s before hello", method)
	}
	switch method {
	case protocol.MethodPing:
		return protocol.PingResult{}, nil
	case protocol.MethodDescribe:
		return w.describe(params)
	case protocol.MethodLoad:
		var load protocol.LoadParams
		if err := protocol.Decode(params, &load); err != nil {
			return nil, err
		}
		if _, err := w.load(locator{program: load.Program, root: load.Root}); err != nil {
			return nil, err
		}
		var result protocol.LoadResult
		result.Files, result.Folders = w.reads.Loaded()
		return result, nil
	case protocol.MethodStageCall:
		return w.call(sdk.WithCall(ctx, &sdk.Call{Engine: engine, ID: id, Reads: w.reads}), params)
	}
	return nil, protocol.Errorf(protocol.CodeUnsupported, "this SDK does not know the method %q", method)
}

// Notify takes one notification of the engine. There are none besides cancel,
// which the connection deals with.
func (w *worker) Notify(method string, _ json.RawMessage) error {
	return fmt.Errorf("the notification %q is not known", method)
}

func (w *worker) hello(params json.RawMessage) (any, error) {
	var hello protocol.HelloParams
	if err := protocol.Decode(params, &hello); err != nil {
		return nil, err
	}
	if hello.Protocol.Min > protocol.Version || hello.Protocol.Max < protocol.Version {
		return nil, &protocol.Error{
			Code: protocol.CodeUnsupported,
			Message: fmt.Sprintf("the engine speaks versions %d to %d of the protocol, and this SDK %d to %d",
				hello.Protocol.Min, hello.Protocol.Max, protocol.Version, protocol.Version),
			Hint: "update the older of tow and github.com/towpath/towpath",
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.engine != nil {
		return nil, protocol.Errorf(protocol.CodeInvalid, "a second hello")
	}
	w.engine = &capableEngine{Engine: w.conn, capabilities: hello.Capabilities}
	return protocol.HelloResult{
		Protocol: protocol.Version,
		SDK:      protocol.SDKInfo{Language: "go", Version: sdkVersion(), Runtime: languageVersion()},
		Capabilities: []string{
			protocol.MethodCancel, protocol.MethodDescribe, protocol.MethodLoad, protocol.MethodPing, protocol.MethodStageCall,
		},
	}, nil
}

// sdkVersion returns the version of this module that the program was built with.
func sdkVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		const path = "github.com/towpath/towpath"
		for _, module := range append(slices.Clone(info.Deps), &info.Main) {
			if module.Path == path && module.Version != "" {
				return module.Version
			}
		}
	}
	return "(devel)"
}

// languageVersion returns "go1.26" of "go1.26.8".
func languageVersion() string {
	version := runtime.Version()
	if parts := strings.SplitN(version, ".", 3); len(parts) == 3 {
		version = parts[0] + "." + parts[1]
	}
	return version
}

func (w *worker) describe(params json.RawMessage) (any, error) {
	var describe protocol.DescribeParams
	if err := protocol.Decode(params, &describe); err != nil {
		return nil, err
	}
	at := locator{program: describe.Program, root: describe.Root}
	pipeline, err := w.load(at)
	if err != nil {
		return nil, err
	}
	plan, err := protocol.Canonical(pipeline.plan())
	if err != nil {
		return nil, fmt.Errorf("the plan: %w", err)
	}
	result := protocol.DescribeResult{Plan: plan, Sites: make(protocol.Map[protocol.Site])}
	for _, n := range pipeline.nodes {
		result.Sites[n.name] = at.site(n.site)
	}
	result.Files, result.Folders = w.reads.Loaded()
	return result, nil
}

// load builds the pipeline, once.
func (w *worker) load(at locator) (*Pipeline, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pipeline == nil && w.failure == nil {
		w.reads.SetRoot(at.root)
		w.pipeline, w.failure = buildPipeline(w.build, at, w.reads)
	}
	return w.pipeline, w.failure
}

func buildPipeline(build func(p *Pipeline), at locator, reads *sdk.Reads) (p *Pipeline, err error) {
	defer func() {
		if r := recover(); r != nil {
			p, err = nil, &protocol.Error{
				Code: protocol.CodePipeline, Message: fmt.Sprintf("the pipeline program panicked: %v", r), Trace: string(debug.Stack()),
			}
		}
	}()
	p = newPipeline(reads)
	build(p)
	if len(p.nodes) > protocol.MaxStages {
		p.complain(p.nodes[0].site, "", "there are %d stages, more than %d", len(p.nodes), protocol.MaxStages)
	}
	if len(p.problems) > 0 {
		return nil, at.report(p.problems)
	}
	return p, nil
}

// report makes one error of all problems: a line for each.
func (l locator) report(problems []problem) *protocol.Error {
	first := l.site(problems[0].site)
	out := &protocol.Error{Code: protocol.CodePipeline, Site: &first}
	var lines []string
	for _, problem := range problems {
		at := l.site(problem.site)
		line := fmt.Sprintf("%s:%d: %s", at.File, at.Line, problem.text)
		if problem.other != nil {
			other := l.site(*problem.other)
			line += fmt.Sprintf(", also at %s:%d", other.File, other.Line)
		}
		if problem.hint != "" && len(problems) > 1 {
			line += " (hint: " + problem.hint + ")"
		}
		if !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	if len(problems) == 1 {
		out.Hint = problems[0].hint
	}
	out.Message = strings.Join(lines, "\n")
	return out
}

func (w *worker) call(ctx context.Context, params json.RawMessage) (any, error) {
	var call protocol.StageCallParams
	if err := protocol.Decode(params, &call); err != nil {
		return nil, err
	}
	w.mu.Lock()
	pipeline, failure := w.pipeline, w.failure
	w.mu.Unlock()
	switch {
	case failure != nil:
		return nil, failure
	case pipeline == nil:
		return nil, protocol.Errorf(protocol.CodeInvalid, "stage.call before load")
	}
	n := pipeline.find(call.Stage)
	if n == nil || n.function != call.Function {
		return nil, protocol.Errorf(protocol.CodeInvalid, "there is no stage %q with the function %q", call.Stage, call.Function)
	}
	value, err := n.run(ctx, call.Inputs)
	if err != nil {
		return nil, stageError(ctx, err)
	}
	result := protocol.StageCallResult{Value: value}
	result.Files, result.Folders = w.reads.Late()
	return result, nil
}

// find returns the node of this name, or the fanned-out one that it names an
// element of.
func (p *Pipeline) find(name string) *node {
	if n := p.byName[name]; n != nil {
		return n
	}
	stage, index, ok := cutLast(strings.TrimSuffix(name, "]"), "[")
	n := p.byName[stage]
	if _, err := strconv.ParseUint(index, 10, 32); !ok || err != nil || n == nil || !n.fanned {
		return nil
	}
	return n
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// run calls the function of the stage and encodes what it returns.
func (n *node) run(ctx context.Context, inputs map[string]json.RawMessage) (value json.RawMessage, err error) {
	defer func() {
		if r := recover(); r != nil {
			value, err = nil, &protocol.Error{
				Code: protocol.CodeFailed, Message: fmt.Sprintf("panic: %v", r), Trace: string(debug.Stack()),
			}
		}
	}()
	out, err := n.call(ctx, inputs)
	if err != nil {
		return nil, err
	}
	value, err = encode(reflect.ValueOf(out))
	if err != nil {
		return nil, fmt.Errorf("the output of the stage: %w", err)
	}
	if len(value) > protocol.MaxValue {
		return nil, &protocol.Error{
			Code:    protocol.CodeTooLarge,
			Message: fmt.Sprintf("the output of the stage takes %d bytes, more than %d", len(value), protocol.MaxValue),
			Hint:    "return a File",
		}
	}
	return value, nil
}

// stageError is the answer for an error that a stage returned: that of the
// operation which it comes from, with all that the stage says of it.
func stageError(ctx context.Context, err error) *protocol.Error {
	out := &protocol.Error{Code: protocol.CodeFailed}
	if inner, ok := errors.AsType[*protocol.Error](err); ok {
		*out = *inner
	} else if ctx.Err() != nil && (errors.Is(err, ctx.Err()) || errors.Is(err, context.Cause(ctx))) {
		out.Code = protocol.CodeCancelled
	}
	out.Message = err.Error()
	return out
}
