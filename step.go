package towpath

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"

	"github.com/towpath/towpath/internal/sdk"
	"github.com/towpath/towpath/protocol"
)

// Step is one command, run in a fresh workspace that holds Tree and nothing else.
type Step struct {
	// Args is the command and its arguments. Without a slash the command is
	// looked up in the PATH of the step.
	Args []string
	// Tree is the content of the workspace.
	Tree []Mount
	// Cwd is the folder of the workspace that the command runs in; it is made if
	// it is missing. "" is the workspace itself.
	Cwd string
	// Env is added to the small environment that every step has.
	Env map[string]string
	// Outputs are paths and globs, relative to the workspace, of what the command
	// makes. Every one has to exist afterwards.
	Outputs []string
	// OK is the exit codes that are accepted; 0 only where it is empty.
	OK []int
	// OKAny accepts every exit code.
	OKAny bool
	// Network lets the step use the machine's network. Without it there is none.
	Network bool
	// Root is an unpacked image that takes the place of the machine's toolchain; the
	// zero Directory is the machine's.
	Root Directory
	// CPUs is how many processors' worth of time the step may use, such as 1.5; 0 is
	// no limit, here and below.
	CPUs float64
	// Memory is how much memory its processes may use together: a number of bytes, or
	// one with a unit, such as "512MiB" or "2GB".
	Memory string
	// PIDs is how many processes and threads it may have at once.
	PIDs int
	// Output bounds what it prints and its outputs together, as Memory does.
	Output string
}

// StepResult is what a step left behind.
type StepResult struct {
	ExitCode int
	Cached   bool // it was done before, and did not run
	Stdout   File
	Stderr   File
	Outputs  []Entry   // one for each path that Step.Outputs matched
	Tree     Directory // all of the outputs
}

// File returns the output file at a path that Step.Outputs named or matched.
// What is below an output folder is in Tree.
func (r StepResult) File(path string) (File, error) {
	return outputOf[File](r, path, "a file")
}

// Directory returns the output folder at a path that Step.Outputs named or
// matched.
func (r StepResult) Directory(path string) (Directory, error) {
	return outputOf[Directory](r, path, "a directory")
}

func outputOf[C Content](r StepResult, path, kind string) (C, error) {
	what := fmt.Sprintf("take the output %q of a step", path)
	for _, entry := range r.Outputs {
		if entry.Path == path {
			return contentOf[C](entry, what, kind)
		}
	}
	var none C
	return none, failed(what, &protocol.Error{
		Code: protocol.CodeNotFound, Message: "the step has no such output",
		Hint: "name it in Step.Outputs, or take what is below an output folder from StepResult.Tree",
	})
}

// Files returns the output files whose paths match a glob, written as those of
// Pipeline.Source, sorted by path. "**" takes all.
func (r StepResult) Files(glob string) ([]File, error) {
	if _, err := sdk.CompileGlob(glob); err != nil {
		return nil, failed("take outputs of a step", protocol.Errorf(protocol.CodeInvalid, "%v", err))
	}
	var files []File
	for _, entry := range r.Outputs {
		if file, ok := entry.Value.(File); ok && sdk.Takes(glob, entry.Path) {
			files = append(files, file)
		}
	}
	return files, nil
}

// Run runs a step. Where the step fails, the error is a *StepError; the engine
// has logged what it printed.
func Run(ctx context.Context, step Step) (StepResult, error) {
	if len(step.Args) == 0 {
		return StepResult{}, failed("run a step", protocol.Errorf(protocol.CodeInvalid, "it has no command"))
	}
	what := "run " + step.Args[0]
	params, err := step.params()
	if err != nil {
		return StepResult{}, failed(fmt.Sprintf("%s, at %s", what, caller()), err)
	}
	result, err := request[protocol.StepRunResult](ctx, what, protocol.MethodStepRun, func(call uint64) any {
		params.Call = call
		return params
	})
	if err != nil {
		return StepResult{}, err
	}
	out := StepResult{
		ExitCode: result.ExitCode, Cached: result.Cached,
		Stdout: File{file: result.Stdout}, Stderr: File{file: result.Stderr},
		Tree: Directory{directory: result.Tree},
	}
	for _, entry := range result.Outputs {
		out.Outputs = append(out.Outputs, entryOf(entry))
	}
	return out, nil
}

// params returns what the engine is sent, but for the call.
func (s *Step) params() (protocol.StepRunParams, error) {
	tree, err := mountsOf(s.Tree)
	if err != nil {
		return protocol.StepRunParams{}, err
	}
	if err := s.checkSize(); err != nil {
		return protocol.StepRunParams{}, err
	}
	limits, err := s.limits()
	if err != nil {
		return protocol.StepRunParams{}, err
	}
	params := protocol.StepRunParams{
		Args: s.Args, Tree: tree, Cwd: s.Cwd, Env: s.Env, Outputs: s.Outputs,
		OK: protocol.OK{Codes: s.OK, Any: s.OKAny}, Network: s.Network, Limits: limits,
	}
	if s.Root != (Directory{}) {
		params.Root = &s.Root.directory
	}
	return params, nil
}

func (s *Step) checkSize() error {
	size := 0
	for _, arg := range s.Args {
		size += len(arg)
	}
	for name, value := range s.Env {
		size += len(name) + len(value)
	}
	if size > protocol.MaxStepText {
		return &protocol.Error{
			Code:    protocol.CodeTooLarge,
			Message: fmt.Sprintf("its arguments and environment take %d bytes together, more than %d", size, protocol.MaxStepText),
			Hint:    "pass the data in a file of Step.Tree",
		}
	}
	return nil
}

// limits returns the limits of the step, nil where it has none.
func (s *Step) limits() (*protocol.StepLimits, error) {
	if s.CPUs < 0 || math.IsNaN(s.CPUs) || math.IsInf(s.CPUs, 0) {
		return nil, protocol.Errorf(protocol.CodeInvalid, "Step.CPUs: %v is no number of processors", s.CPUs)
	}
	if s.PIDs < 0 {
		return nil, protocol.Errorf(protocol.CodeInvalid, "Step.PIDs: %d is no number of processes", s.PIDs)
	}
	limits := protocol.StepLimits{CPUs: s.CPUs, PIDs: int64(s.PIDs)}
	var err error
	if limits.Memory, err = sizeOf("Memory", s.Memory); err != nil {
		return nil, err
	}
	if limits.Output, err = sizeOf("Output", s.Output); err != nil {
		return nil, err
	}
	if limits == (protocol.StepLimits{}) {
		return nil, nil
	}
	return &limits, nil
}

// sizeOf reads a size in a field of Step; 0 where it is empty.
func sizeOf(field, text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	n, err := sdk.ParseSize(text)
	if err != nil {
		return 0, protocol.Errorf(protocol.CodeInvalid, "Step.%s: %v", field, err)
	}
	return n, nil
}

// Tool looks a program up in the engine's own PATH, or takes an absolute path, and
// returns the path of its real file. The steps that the stage runs afterwards see it,
// with the installation that it belongs to. The tool becomes an input of the stage: a cached result is not
// served once the tool has changed.
func Tool(ctx context.Context, name string) (string, error) {
	result, err := request[protocol.ToolFindResult](ctx, fmt.Sprintf("find the tool %q", name), protocol.MethodToolFind,
		func(call uint64) any { return protocol.ToolFindParams{Call: call, Name: name} })
	return result.Path, err
}

// Log writes a line to the log of the stage, with attributes as slog has them:
//
//	towpath.Log(ctx, slog.LevelInfo, "published", "index", index, "files", 3)
//
// Where no stage is running, nothing is written.
func Log(ctx context.Context, level slog.Level, message string, args ...any) {
	Logger(ctx).Log(ctx, level, message, args...)
}

// Logger returns a logger that writes to the log of the stage.
func Logger(ctx context.Context) *slog.Logger {
	call, err := sdk.CallOf(ctx)
	if err != nil {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(&logHandler{call: call})
}

// logHandler sends records to the engine. The attributes and groups that a logger
// was given are kept by a handler of slog, which knows how they nest.
type logHandler struct {
	call *sdk.Call
	with []func(slog.Handler) slog.Handler
}

// Enabled lets everything pass: the engine decides what is shown.
func (h *logHandler) Enabled(context.Context, slog.Level) bool { return true }

// WithAttrs returns a handler that adds the attributes to every record.
func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return h.and(func(inner slog.Handler) slog.Handler { return inner.WithAttrs(attrs) })
}

// WithGroup returns a handler that puts what follows into a group.
func (h *logHandler) WithGroup(name string) slog.Handler {
	return h.and(func(inner slog.Handler) slog.Handler { return inner.WithGroup(name) })
}

func (h *logHandler) and(next func(slog.Handler) slog.Handler) slog.Handler {
	return &logHandler{call: h.call, with: append(slices.Clip(h.with), next)}
}

// Handle sends one record.
func (h *logHandler) Handle(ctx context.Context, record slog.Record) error {
	var text strings.Builder
	var inner slog.Handler = slog.NewJSONHandler(&text, &slog.HandlerOptions{Level: record.Level, ReplaceAttr: dropBuiltin})
	for _, next := range h.with {
		inner = next(inner)
	}
	var fields protocol.Map[json.RawMessage]
	if err := inner.Handle(ctx, record); err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(text.String()), &fields); err != nil {
		return fmt.Errorf("log: %w", err)
	}
	fields, err := protocol.CutFields(fields)
	if err != nil {
		return fmt.Errorf("log: %w", err)
	}
	return h.call.Engine.Notify(protocol.MethodLog, protocol.LogParams{
		Call: h.call.ID, Level: logLevel(record.Level), Message: protocol.CutMessage(record.Message), Fields: fields,
	})
}

// dropBuiltin leaves out what a log line of the protocol has in other members.
func dropBuiltin(groups []string, attr slog.Attr) slog.Attr {
	if len(groups) == 0 {
		switch attr.Key {
		case slog.TimeKey, slog.LevelKey, slog.MessageKey:
			return slog.Attr{}
		}
	}
	return attr
}

func logLevel(level slog.Level) protocol.LogLevel {
	switch {
	case level < slog.LevelInfo:
		return protocol.LogDebug
	case level < slog.LevelWarn:
		return protocol.LogInfo
	case level < slog.LevelError:
		return protocol.LogWarning
	}
	return protocol.LogError
}
