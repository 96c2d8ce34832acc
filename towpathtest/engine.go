package towpathtest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/towpath/towpath"
	"github.com/towpath/towpath/protocol"
)

// callID is the call that every operation of a test is made for.
const callID = 1

// Engine does in memory what an engine does. Its methods may be called at the
// same time.
type Engine struct {
	tb  testing.TB
	ctx context.Context

	mu      sync.Mutex // guards what follows
	store   store
	blobs   map[uint64][]byte
	scripts []*Script
	tools   map[string]string
	runs    []Run
	logs    []Log
}

// New returns an engine for one test.
func New(tb testing.TB) *Engine {
	tb.Helper()
	e := &Engine{tb: tb, store: newStore(), blobs: make(map[uint64][]byte), tools: make(map[string]string)}
	e.ctx = towpath.WithEngine(tb.Context(), e, callID)
	return e
}

// Context returns the context to call stages with.
func (e *Engine) Context() context.Context { return e.ctx }

// Run is a command that a stage ran.
type Run struct {
	Args    []string
	Cwd     string
	Env     map[string]string
	Outputs []string
	// Tree is the content of the files in the workspace, by path.
	Tree map[string]string
}

// Runs returns the commands that were run, in the order in which they began.
func (e *Engine) Runs() []Run {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.runs)
}

// Log is a line that a stage logged.
type Log struct {
	Level   protocol.LogLevel
	Message string
	Fields  map[string]any // as encoding/json reads them
}

// Logs returns the lines that were logged, in order.
func (e *Engine) Logs() []Log {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.logs)
}

// Result is what a scripted command does.
type Result struct {
	ExitCode int
	Cached   bool
	Stdout   string
	Stderr   string
	// Outputs is the content of the files that it makes, by path in the workspace.
	Outputs map[string]string
}

// Script says what a command does.
type Script struct {
	args []string
	do   func(Run) Result
}

// OnRun begins to say what commands do whose arguments begin with args. Of
// several that fit, the one with the most arguments counts, and of these the
// latest. Until Returns or Do is called, the commands succeed and make nothing.
func (e *Engine) OnRun(args ...string) *Script {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := &Script{args: args, do: func(Run) Result { return Result{} }}
	e.scripts = append(e.scripts, s)
	return s
}

// Returns lets the commands do this.
func (s *Script) Returns(result Result) {
	s.Do(func(Run) Result { return result })
}

// Do lets a function decide what the commands do. It is called at the same time
// for steps that run at the same time.
func (s *Script) Do(f func(Run) Result) { s.do = f }

// SetTool lets towpath.Tool find a program.
func (e *Engine) SetTool(name, path string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.tools[name] = path
}

// File stores a file and returns it.
func (e *Engine) File(name, content string) towpath.File {
	e.tb.Helper()
	file, err := towpath.NewFile(e.ctx, name, strings.NewReader(content))
	if err != nil {
		e.tb.Fatal(err)
	}
	return file
}

// Directory stores a directory of files, whose content is given by path, and
// returns it.
func (e *Engine) Directory(files map[string]string) towpath.Directory {
	e.tb.Helper()
	var mounts []towpath.Mount
	for _, path := range slices.Sorted(maps.Keys(files)) {
		name := path[strings.LastIndexByte(path, '/')+1:]
		mounts = append(mounts, towpath.Mount{Path: path, Content: e.File(name, files[path])})
	}
	directory, err := towpath.NewDirectory(e.ctx, mounts...)
	if err != nil {
		e.tb.Fatal(err)
	}
	return directory
}

// Text returns the content of a file.
func (e *Engine) Text(file towpath.File) string {
	e.tb.Helper()
	data, err := file.Bytes(e.ctx)
	if err != nil {
		e.tb.Fatal(err)
	}
	return string(data)
}

// Files returns the content of the files in a directory, by path.
func (e *Engine) Files(directory towpath.Directory) map[string]string {
	e.tb.Helper()
	files := make(map[string]string)
	for entry, err := range directory.Walk(e.ctx, "") {
		if err != nil {
			e.tb.Fatal(err)
		}
		if file, ok := entry.Content.(towpath.File); ok {
			files[entry.Path] = e.Text(file)
		}
	}
	return files
}

// Call carries out one request; it makes an Engine a towpath.Engine.
func (e *Engine) Call(ctx context.Context, method string, params, result any) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	// Through JSON, as it would go to a real engine.
	text, err := protocol.Canonical(params)
	if err != nil {
		return protocol.Errorf(protocol.CodeInvalid, "parameters of %s: %v", method, err)
	}
	var answer any
	if method == protocol.MethodStepRun {
		answer, err = e.run(text) // scripts are called without the lock
	} else {
		e.mu.Lock()
		answer, err = e.answer(method, text)
		e.mu.Unlock()
	}
	if err != nil {
		return err
	}
	if text, err = protocol.Canonical(answer); err != nil {
		return protocol.Errorf(protocol.CodeInternal, "result of %s: %v", method, err)
	}
	return json.Unmarshal(text, result)
}

// Notify takes one notification; it makes an Engine a towpath.Engine.
func (e *Engine) Notify(method string, params any) error {
	line, ok := params.(protocol.LogParams)
	if !ok || method != protocol.MethodLog {
		return protocol.Errorf(protocol.CodeUnsupported, "no notification %q", method)
	}
	text, err := protocol.Canonical(line.Fields)
	if err != nil {
		return err
	}
	entry := Log{Level: line.Level, Message: line.Message}
	if err := json.Unmarshal(text, &entry.Fields); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.logs = append(e.logs, entry)
	return nil
}

// with reads the parameters of a request and answers it.
func with[P, R any](text []byte, answer func(P) (R, error)) (any, error) {
	var params P
	if err := protocol.Decode(text, &params); err != nil {
		return nil, err
	}
	return answer(params)
}

// answer answers a request that is about what the engine keeps. The lock is held.
func (e *Engine) answer(method string, text []byte) (any, error) {
	switch method {
	case protocol.MethodFileRead:
		return with(text, e.store.read)
	case protocol.MethodBlobBegin:
		id := uint64(len(e.blobs) + 1)
		e.blobs[id] = []byte{}
		return protocol.BlobBeginResult{Blob: id}, nil
	case protocol.MethodBlobAppend:
		return with(text, e.appendBlob)
	case protocol.MethodBlobCommit:
		return with(text, e.commitBlob)
	case protocol.MethodDirectoryList:
		return with(text, e.store.list)
	case protocol.MethodDirectoryGet:
		return with(text, e.store.get)
	case protocol.MethodDirectoryMake:
		return with(text, func(p protocol.DirectoryMakeParams) (protocol.DirectoryMakeResult, error) {
			tree, err := e.store.mount(p.Mounts)
			return protocol.DirectoryMakeResult{Value: e.store.addTree(tree)}, err
		})
	case protocol.MethodDirectoryFilter:
		return with(text, e.store.filter)
	case protocol.MethodReportParse:
		return with(text, e.store.parseReport)
	case protocol.MethodToolFind:
		return with(text, func(p protocol.ToolFindParams) (protocol.ToolFindResult, error) {
			path, ok := e.tools[p.Name]
			if !ok {
				return protocol.ToolFindResult{}, protocol.Errorf(protocol.CodeNotFound, "no tool %q: the test can set one with SetTool", p.Name)
			}
			return protocol.ToolFindResult{Path: path}, nil
		})
	}
	return nil, protocol.Errorf(protocol.CodeUnsupported, "no method %q", method)
}

func (e *Engine) appendBlob(p protocol.BlobAppendParams) (protocol.BlobAppendResult, error) {
	if e.blobs[p.Blob] == nil || len(p.Data) > protocol.MaxChunk {
		return protocol.BlobAppendResult{}, protocol.Errorf(protocol.CodeInvalid, "no blob %d, or too much for one request", p.Blob)
	}
	e.blobs[p.Blob] = append(e.blobs[p.Blob], p.Data...)
	return protocol.BlobAppendResult{}, nil
}

func (e *Engine) commitBlob(p protocol.BlobCommitParams) (protocol.BlobCommitResult, error) {
	data := e.blobs[p.Blob]
	if data == nil {
		return protocol.BlobCommitResult{}, protocol.Errorf(protocol.CodeInvalid, "no blob %d", p.Blob)
	}
	e.blobs[p.Blob] = nil // its id is not used again
	return protocol.BlobCommitResult{Value: e.store.addFile(p.Name, data, p.Executable)}, nil
}

// run runs a scripted command.
func (e *Engine) run(text []byte) (any, error) {
	var p protocol.StepRunParams
	if err := protocol.Decode(text, &p); err != nil {
		return nil, err
	}
	run, script, err := e.begin(p)
	if err != nil {
		return nil, err
	}
	result := script.do(run)

	e.mu.Lock()
	defer e.mu.Unlock()
	if !p.OK.Accepts(result.ExitCode) {
		return nil, stepFailed(p, result, fmt.Sprintf("%s ended with exit code %d", p.Args[0], result.ExitCode))
	}
	made := tree{}
	for path, content := range result.Outputs {
		name := path[strings.LastIndexByte(path, '/')+1:]
		made.put(path, node{file: new(e.store.addFile(name, []byte(content), false))})
	}
	out := protocol.StepRunResult{
		ExitCode: result.ExitCode, Cached: result.Cached,
		Stdout: e.store.addFile("stdout", []byte(result.Stdout), false),
		Stderr: e.store.addFile("stderr", []byte(result.Stderr), false),
	}
	kept := tree{}
	for _, path := range made.paths() {
		for _, glob := range p.Outputs {
			if matches(glob, path) {
				out.Outputs = append(out.Outputs, e.store.entry(made, path, path))
				maps.Copy(kept, made.below(path))
				break
			}
		}
	}
	for _, glob := range p.Outputs {
		if !slices.ContainsFunc(out.Outputs, func(entry protocol.Entry) bool { return matches(glob, entry.Path) }) {
			return nil, stepFailed(p, result, fmt.Sprintf("%s did not make the output %q: its script has none", p.Args[0], glob))
		}
	}
	out.Tree = e.store.addTree(kept)
	return out, nil
}

// begin records a command and finds its script.
func (e *Engine) begin(p protocol.StepRunParams) (Run, *Script, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	workspace, err := e.store.mount(p.Tree)
	if err != nil {
		return Run{}, nil, err
	}
	run := Run{Args: p.Args, Cwd: p.Cwd, Env: p.Env, Outputs: p.Outputs, Tree: e.store.contents(workspace)}
	e.runs = append(e.runs, run)
	var best *Script
	for _, script := range e.scripts {
		fits := len(script.args) <= len(p.Args) && slices.Equal(script.args, p.Args[:len(script.args)])
		if fits && (best == nil || len(script.args) >= len(best.args)) {
			best = script
		}
	}
	if best == nil {
		return Run{}, nil, &protocol.Error{
			Code: protocol.CodeInvalid, Message: fmt.Sprintf("the test does not say what %q does", []string(p.Args)),
			Hint: fmt.Sprintf("engine.OnRun(%q).Returns(towpathtest.Result{…})", p.Args[0]),
		}
	}
	return run, best, nil
}

func stepFailed(p protocol.StepRunParams, result Result, message string) error {
	return &protocol.Error{
		Code: protocol.CodeStepFailed, Message: message,
		Step: &protocol.StepFailure{ExitCode: result.ExitCode, Args: p.Args},
	}
}
