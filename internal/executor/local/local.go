// Package local runs actions as processes of this machine: in a sandbox where the machine allows it (internal/sandbox), and in a folder of their own
// where not. It must not know what is run, nor what becomes of the result.
//
// In a sandbox a command sees what the contract says, and everything that it starts dies with it and with tow. The folders of a workspace
// are the layers of an overlay then, and are emptied and used again.
//
// Without one it keeps commands apart by convention only: their environment, working folder and temporary folders are private, but they see the machine's
// files, its network and its other processes:
//
//   - The command and what it starts make up a process group, which is killed when the command has ended. On Linux,
//     processes that have left the group are found by the TMPDIR in their environment, and killed as well; one that has left
//     the group and changed its environment, or that has become another user's, is not. Elsewhere those that have left the
//     group stay.
//   - On Linux the command is killed when tow dies, by whatever cause; what the command started is not, until the next New
//     finds it as above.
//   - Undeclared inputs can be read and anything can be written that the user may write. The path of the workspace differs
//     between executions and gets into outputs that record it.
//   - On Linux the three folders of a workspace are emptied and used again. A process that was not found, as above, stays.
//   - User and umask are those of tow. Limits are held as far as the system can: a command that has some begins as tow, which takes them on and then
//     executes it. Gaps tells what is not held.
//   - On Windows there are no groups: only the command itself is killed, and what holds its output open delays the end.
package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/executor"
	"github.com/towpath/towpath/internal/sandbox"
	"github.com/towpath/towpath/internal/tree"
)

// The kinds of isolation.
const (
	// Sandbox is a command in namespaces of its own, which sees what it declares and nothing else of the machine.
	Sandbox = "sandbox"
	// Workspace is a command with a workspace of its own, and nothing more.
	Workspace = "workspace"
)

// Folders keep directories of the store as folders that nobody changes: internal/checkout.
type Folders interface {
	Folder(ctx context.Context, d digest.Digest) (path string, err error)
}

// Config configures an Executor.
type Config struct {
	// Store holds the inputs and takes the outputs.
	Store cas.Store
	// Dir is the folder for workspaces. Other processes may use it at the same time.
	Dir string
	// Isolation is Sandbox, Workspace, or empty for the stronger of them that the machine allows.
	Isolation string
	// Checkouts hold the inputs of sandboxes. Their files belong to Owner. Without them there is no sandbox.
	Checkouts Folders
	// Private are folders that no command is shown, such as the work tree: a tool that is in one, or beside one, is shown alone.
	Private []string
	// Grace is the time that a cancelled command gets between being asked to end and being killed. Zero stands for ten seconds.
	Grace time.Duration
}

// Executor is an executor.Executor that runs processes.
type Executor struct {
	store     cas.Store
	work      *workDir
	grace     time.Duration
	isolation string
	refused   *sandbox.RefusedError // why it is not Sandbox, where the machine does not allow that
	sandbox   *sandbox.Sandbox      // nil where the isolation is Workspace
	folders   Folders
	private   []string
	groups    func() *sandbox.Groups // opened when a step has limits
}

var _ executor.Executor = (*Executor)(nil)

// New makes an Executor. It removes the workspaces of processes that have died, and on Linux what is still running in them.
func New(c Config) (*Executor, error) {
	work, err := openWorkDir(c.Dir)
	if err != nil {
		return nil, fmt.Errorf("local executor: %w", err)
	}
	if c.Grace == 0 {
		c.Grace = 10 * time.Second
	}
	e := &Executor{store: c.Store, work: work, grace: c.Grace, folders: c.Checkouts, private: c.Private, isolation: Workspace, groups: sync.OnceValue(sandbox.OpenGroups)}
	if err := e.isolate(c.Isolation); err != nil {
		return nil, errors.Join(fmt.Errorf("local executor: %w", err), e.Close())
	}
	return e, nil
}

// Close removes what is left of the workspaces. No execution may be under way or follow. A second call does nothing.
func (e *Executor) Close() error {
	if e.sandbox == nil {
		return e.work.close()
	}
	return errors.Join(e.sandbox.Close(), e.work.close())
}

// Name implements executor.Executor.
func (e *Executor) Name() string { return "local" }

// Isolation implements executor.Executor.
func (e *Executor) Isolation() string { return e.isolation }

// Execute implements executor.Executor.
func (e *Executor) Execute(ctx context.Context, a executor.Action, o executor.Options) (executor.Result, error) {
	if err := a.CheckIsolation(e.isolation); err != nil {
		return executor.Result{}, err
	}
	if e.sandbox != nil {
		return e.executeInSandbox(ctx, a, o)
	}
	if !a.Root.IsZero() {
		return executor.Result{}, &executor.InvalidError{Field: "root", Reason: "an image takes the place of the machine's programs only in a sandbox"}
	}
	w, err := e.work.acquire()
	if err != nil {
		return executor.Result{}, &executor.InfrastructureError{Op: "make the workspace", Err: err}
	}
	defer e.work.release(w)

	if err := tree.Materialize(ctx, e.store, a.InputRoot, w.root); err != nil {
		return executor.Result{}, inputError(ctx, err)
	}
	cmd, err := newCommand(a, w)
	if err != nil {
		return executor.Result{}, err
	}
	limits, group, err := e.limit(a.Limits)
	if err != nil {
		return executor.Result{}, &executor.InfrastructureError{Op: "limit the command", Err: err}
	}
	defer group.Close() // it is removed by the next who looks otherwise
	program := cmd.Path
	p := proc{cmd: cmd, grace: e.grace, marker: "TMPDIR=" + w.tmp, limits: limits, groups: group.Files()}
	result, printed, err := p.run(ctx, a, o)
	if err != nil {
		return result, startError(a, program, err)
	}
	result.Exceeded = exceededOf(group, result)
	return e.capture(ctx, a, o, w.root, result, printed)
}

// capture takes the outputs from the folder dir where the result is accepted of a command that has printed so many bytes.
func (e *Executor) capture(ctx context.Context, a executor.Action, o executor.Options, dir string, result executor.Result, printed int64) (executor.Result, error) {
	if result.Signal != "" || result.Exceeded != "" || !o.Accepts(result.ExitCode) {
		return result, nil
	}
	captured, err := e.captureAtMost(ctx, dir, a.Outputs, a.Limits.OutputBytes, printed)
	if _, ok := errors.AsType[*tree.TooLargeError](err); ok {
		result.Exceeded = exceededOutput
		return result, nil
	}
	if err != nil {
		return result, outputError(ctx, err)
	}
	result.Accepted = true
	result.Entries, result.Root, result.Missing = captured.Entries, captured.Root, captured.Missing
	return result, nil
}

// newCommand prepares the command of a in the workspace w, where it makes the folder that the command starts in.
func newCommand(a executor.Action, w *workspace) (*exec.Cmd, error) {
	if a.Cwd != "" {
		root, err := os.OpenRoot(w.root)
		if err != nil {
			return nil, &executor.InfrastructureError{Op: "open the workspace", Err: err}
		}
		defer root.Close()
		// The input root may have a file there, or a link that leads out.
		if err := root.MkdirAll(filepath.FromSlash(a.Cwd), 0o777); err != nil {
			return nil, &executor.InvalidError{Field: "cwd", Reason: fmt.Sprintf("folder %q cannot be made: %v", a.Cwd, errors.Unwrap(err))}
		}
	}
	cwd := filepath.Join(w.root, filepath.FromSlash(a.Cwd))
	program, err := lookUp(a, cwd)
	if err != nil {
		return nil, err
	}
	return &exec.Cmd{Path: program, Args: a.Args, Env: environ(a, w.home, w.tmp), Dir: cwd}, nil
}

// environ returns the variables of a with those of an execution.
func environ(a executor.Action, home, tmp string) []string {
	env := make([]string, 0, len(a.Env)+2)
	for _, v := range a.Env {
		env = append(env, v.Name+"="+v.Value)
	}
	return append(env, "HOME="+home, "TMPDIR="+tmp)
}

// inputError tells the faults of Materialize apart.
func inputError(ctx context.Context, err error) error {
	var missing *cas.NotFoundError
	var corrupt *cas.CorruptError
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("make the workspace: %w", ctx.Err())
	case errors.As(err, &missing):
		return &executor.MissingInputError{Digest: missing.Digest, Err: err}
	case errors.As(err, &corrupt):
		return &executor.MissingInputError{Digest: corrupt.Digest, Err: err}
	}
	return &executor.InfrastructureError{Op: "make the workspace", Err: err}
}

// startError tells a program, or its interpreter, that is none from a machine that fails.
func startError(a executor.Action, program string, err error) error {
	var start *startFailure
	if !errors.As(err, &start) {
		return err
	}
	if _, ok := errors.AsType[*sandbox.SetupError](err); ok {
		return &executor.InfrastructureError{Op: "limit the command", Err: start.err}
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || isStepsFault(err) {
		// The path of the workspace says nothing to the user.
		cause := start.err
		if path := (*fs.PathError)(nil); errors.As(err, &path) {
			cause = path.Err
		}
		notFound := &executor.CommandNotFoundError{Name: a.Args[0], Err: cause}
		if needed := interpreter(program); needed != "" && errors.Is(err, fs.ErrNotExist) {
			notFound.Interpreter = needed
		}
		return notFound
	}
	return &executor.InfrastructureError{Op: "start the command", Err: start.err}
}

// outputError tells the faults of Capture apart.
func outputError(ctx context.Context, err error) error {
	var refused *tree.RefusedError
	var path *tree.PathError
	var file *fs.PathError
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("capture the outputs: %w", ctx.Err())
	case errors.As(err, &refused):
		return &executor.OutputError{Path: refused.Path, Err: errors.New(refused.Reason)}
	case errors.As(err, &path):
		return &executor.OutputError{Path: path.Path, Err: errors.New(path.Reason)}
	case errors.Is(err, fs.ErrPermission) && errors.As(err, &file):
		return &executor.OutputError{Path: filepath.ToSlash(file.Path), Err: file.Err}
	}
	return &executor.InfrastructureError{Op: "capture the outputs", Err: err}
}
