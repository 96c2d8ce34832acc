package towpathtest

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/towpath/towpath"
	"github.com/towpath/towpath/internal/sdk"
	"github.com/towpath/towpath/protocol"
)

// callID is the call that every operation of a test is made for.
const callID = 1

// Engine does in memory what an engine does. Its methods may be called at the
// same time.
type Engine struct {
	tb  testing.TB
	ctx context.Context

	reads *sdk.Reads

	mu    sync.Mutex // guards what follows
	store store
	blobs map[uint64][]byte
	rules []*RunRule
	tools map[string]string
	steps []Step
	logs  []LogLine
}

// New returns an engine for one test.
func New(tb testing.TB) *Engine {
	tb.Helper()
	e := &Engine{tb: tb, store: newStore(), blobs: make(map[uint64][]byte), tools: make(map[string]string)}
	folder, err := os.Getwd()
	if err != nil {
		tb.Fatal(err)
	}
	e.reads = sdk.NewReads(filepath.Dir(folder))
	e.ctx = sdk.WithCall(tb.Context(), &sdk.Call{Engine: backend{e}, ID: callID, Reads: e.reads})
	return e
}

// SetRoot says which folder the paths of towpath.ReadFile and ReadDir are relative
// to. It is the one above that of the test, as if the test were in the folder of the
// program, unless this is called.
func (e *Engine) SetRoot(folder string) { e.reads.SetRoot(folder) }

// Context returns the context to call stages with.
func (e *Engine) Context() context.Context { return e.ctx }

// Step is a step that a stage ran.
type Step struct {
	Args    []string
	Cwd     string
	Env     map[string]string
	Outputs []string
	// Tree is the content of the files in the workspace, by path.
	Tree map[string]string
	// Network tells that the step asked for the network.
	Network bool
	// Root is the content of the files in the image that it asked for, by path; nil
	// where it asked for none.
	Root map[string]string
	// CPUs, Memory, PIDs and Output are the limits that it asked for, Memory and Output
	// in bytes; 0 is none.
	CPUs   float64
	Memory int64
	PIDs   int64
	Output int64
}

// Steps returns the steps that were run, in the order in which they began.
func (e *Engine) Steps() []Step {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.steps)
}

// LogLine is a line that a stage logged.
type LogLine struct {
	Level   slog.Level
	Message string
	Fields  map[string]any // as encoding/json reads them
}

// Logs returns the lines that were logged, in order.
func (e *Engine) Logs() []LogLine {
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

// RunRule says what a command does.
type RunRule struct {
	args []string
	does func(Step) (Result, error)
}

// OnRun begins to say what commands do whose arguments begin with args. Of
// several that fit, the one with the most arguments counts, and of these the
// latest. Until one of its methods is called, the commands succeed and make nothing.
func (e *Engine) OnRun(args ...string) *RunRule {
	e.mu.Lock()
	defer e.mu.Unlock()
	r := &RunRule{args: args, does: func(Step) (Result, error) { return Result{}, nil }}
	e.rules = append(e.rules, r)
	return r
}

// Returns lets the commands do this.
func (r *RunRule) Returns(result Result) {
	r.Does(func(Step) Result { return result })
}

// Does lets a function decide what the commands do. It is called at the same time
// for steps that run at the same time.
func (r *RunRule) Does(f func(Step) Result) {
	r.does = func(step Step) (Result, error) { return f(step), nil }
}

// Fails lets towpath.Run return an error, such as a *towpath.OperationError.
func (r *RunRule) Fails(err error) {
	r.does = func(Step) (Result, error) { return Result{}, err }
}

// OnTool lets towpath.Tool find a program. An absolute path is found where it is.
func (e *Engine) OnTool(name, path string) {
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

// ContentOf returns the content of a file.
func (e *Engine) ContentOf(file towpath.File) string {
	e.tb.Helper()
	data, err := file.Content(e.ctx)
	if err != nil {
		e.tb.Fatal(err)
	}
	return string(data)
}

// FilesOf returns the content of the files in a directory, by path.
func (e *Engine) FilesOf(directory towpath.Directory) map[string]string {
	e.tb.Helper()
	files := make(map[string]string)
	for entry, err := range directory.Walk(e.ctx, "") {
		if err != nil {
			e.tb.Fatal(err)
		}
		if file, ok := entry.Value.(towpath.File); ok {
			files[entry.Path] = e.ContentOf(file)
		}
	}
	return files
}

// backend is what the operations of a stage see of an Engine.
type backend struct{ *Engine }

// Call carries out one request.
func (e backend) Call(ctx context.Context, method string, params, result any) error {
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
		answer, err = e.run(text) // rules are called without the lock
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

// Notify takes one notification.
func (e backend) Notify(method string, params any) error {
	line, ok := params.(protocol.LogParams)
	if !ok || method != protocol.MethodLog {
		return protocol.Errorf(protocol.CodeUnsupported, "no notification %q", method)
	}
	text, err := protocol.Canonical(line.Fields)
	if err != nil {
		return err
	}
	entry := LogLine{Level: levelOf(line.Level), Message: line.Message}
	if err := json.Unmarshal(text, &entry.Fields); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.logs = append(e.logs, entry)
	return nil
}

func levelOf(level protocol.LogLevel) slog.Level {
	switch level {
	case protocol.LogDebug:
		return slog.LevelDebug
	case protocol.LogWarning:
		return slog.LevelWarn
	case protocol.LogError:
		return slog.LevelError
	}
	return slog.LevelInfo
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
			if !ok && filepath.IsAbs(p.Name) {
				path, ok = p.Name, true
			}
			if !ok {
				return protocol.ToolFindResult{}, protocol.Errorf(protocol.CodeNotFound, "no tool %q: the test can set one with OnTool", p.Name)
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
	step, rule, err := e.begin(p)
	if err != nil {
		return nil, err
	}
	result, err := rule.does(step)
	if err != nil {
		return nil, err
	}

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
			if sdk.Matches(glob, path) {
				out.Outputs = append(out.Outputs, e.store.entry(made, path, path))
				maps.Copy(kept, made.below(path))
				break
			}
		}
	}
	for _, glob := range p.Outputs {
		if !slices.ContainsFunc(out.Outputs, func(entry protocol.Entry) bool { return sdk.Matches(glob, entry.Path) }) {
			return nil, stepFailed(p, result, fmt.Sprintf("%s did not make the output %q: its rule has none", p.Args[0], glob))
		}
	}
	out.Tree = e.store.addTree(kept)
	return out, nil
}

// begin records a step and finds its rule.
func (e *Engine) begin(p protocol.StepRunParams) (Step, *RunRule, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	workspace, err := e.store.mount(p.Tree)
	if err != nil {
		return Step{}, nil, err
	}
	step := Step{Args: p.Args, Cwd: p.Cwd, Env: p.Env, Outputs: p.Outputs, Tree: e.store.contents(workspace), Network: p.Network}
	if p.Root != nil {
		root, err := e.store.mount([]protocol.Mount{{Value: protocol.Content{Directory: p.Root}}})
		if err != nil {
			return Step{}, nil, err
		}
		step.Root = e.store.contents(root)
	}
	if p.Limits != nil {
		step.CPUs, step.Memory, step.PIDs, step.Output = p.Limits.CPUs, p.Limits.Memory, p.Limits.PIDs, p.Limits.Output
	}
	e.steps = append(e.steps, step)
	var best *RunRule
	for _, rule := range e.rules {
		fits := len(rule.args) <= len(p.Args) && slices.Equal(rule.args, p.Args[:len(rule.args)])
		if fits && (best == nil || len(rule.args) >= len(best.args)) {
			best = rule
		}
	}
	if best == nil {
		return Step{}, nil, &protocol.Error{
			Code: protocol.CodeInvalid, Message: fmt.Sprintf("the test does not say what %q does", []string(p.Args)),
			Hint: fmt.Sprintf("engine.OnRun(%q).Returns(towpathtest.Result{…})", p.Args[0]),
		}
	}
	return step, best, nil
}

func stepFailed(p protocol.StepRunParams, result Result, message string) error {
	return &protocol.Error{
		Code: protocol.CodeStepFailed, Message: message,
		Step: &protocol.StepFailure{ExitCode: result.ExitCode, Args: p.Args},
	}
}
