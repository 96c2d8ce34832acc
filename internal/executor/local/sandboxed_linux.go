package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/towpath/towpath/internal/executor"
	"github.com/towpath/towpath/internal/sandbox"
)

// executeInSandbox is Execute where the isolation is Sandbox.
func (e *Executor) executeInSandbox(ctx context.Context, a executor.Action, o executor.Options) (executor.Result, error) {
	if ctx.Err() != nil {
		return executor.Result{}, fmt.Errorf("start the command: %w", ctx.Err())
	}
	spec, err := e.specOf(ctx, a)
	if err != nil {
		return executor.Result{}, err
	}
	inputs, err := hold(a, spec)
	if err != nil {
		return executor.Result{}, err
	}
	defer release(inputs)
	w, err := e.work.acquire()
	if err != nil {
		return executor.Result{}, &executor.InfrastructureError{Op: "make the workspace", Err: err}
	}
	defer e.work.release(w)
	spec.Upper, spec.Work, spec.Home, spec.Tmp = w.root, w.overlay, w.home, w.tmp
	limits, group, err := e.limit(a.Limits)
	if err != nil {
		return executor.Result{}, &executor.InfrastructureError{Op: "limit the command", Err: err}
	}
	defer group.Close() // it is removed by the next who looks otherwise
	spec.Limits = limits
	result, printed, workspace, err := e.runInSandbox(ctx, spec, a, o, group)
	if workspace != nil {
		defer workspace.Close()
	}
	if gone := takenAway(inputs); gone != nil && ctx.Err() == nil {
		return result, gone
	}
	if err != nil {
		return result, e.sandboxError(a, spec, err)
	}
	result.Exceeded = exceededOf(group, result)
	result, err = e.capture(ctx, a, o, fmt.Sprintf("/proc/self/fd/%d", workspace.Fd()), result, printed)
	if gone := takenAway(inputs); gone != nil && ctx.Err() == nil {
		result.Accepted = false
		return result, gone
	}
	return result, err
}

// specOf returns what a sandbox needs to know of an action.
func (e *Executor) specOf(ctx context.Context, a executor.Action) (*sandbox.Spec, error) {
	lower, err := e.folders.Folder(ctx, a.InputRoot)
	if err != nil {
		return nil, inputError(ctx, err)
	}
	s := &sandbox.Spec{
		Lower: lower, Args: a.Args, Env: environ(a, sandbox.Home, sandbox.Tmp), Cwd: a.Cwd, Network: a.Network,
		Programs: programs(a), Tools: visible(a.Tools, programs(a), append([]string{e.work.session}, e.private...)),
	}
	if !a.Root.IsZero() {
		if s.Root, err = e.folders.Folder(ctx, a.Root); err != nil {
			return nil, inputError(ctx, err)
		}
	}
	return s, nil
}

// programs returns where the program of a may be, in the order of its PATH.
func programs(a executor.Action) []string {
	name := a.Args[0]
	if strings.Contains(name, "/") {
		return []string{name}
	}
	path, _ := a.Lookup("PATH")
	var out []string
	for dir := range strings.SplitSeq(path, ":") {
		if dir == "" {
			dir = "."
		}
		out = append(out, dir+"/"+name)
	}
	return out
}

// runInSandbox runs a command. The workspace is not nil where there is no error.
func (e *Executor) runInSandbox(ctx context.Context, spec *sandbox.Spec, a executor.Action, o executor.Options, group *sandbox.Group) (executor.Result, int64, *os.File, error) {
	streaming, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	streams, out, err := connect(o, a.Limits.OutputBytes, stop)
	if err != nil {
		return executor.Result{}, 0, nil, &executor.InfrastructureError{Op: "connect the command", Err: err}
	}
	p, err := e.startInSandbox(spec, out, group)
	streams.started()
	if err != nil {
		streams.finish()
		return executor.Result{}, 0, nil, err
	}
	cancelled := e.watch(streaming, p)
	ended, err := p.Wait()
	wasCancelled := cancelled()
	streams.finish()
	if err != nil {
		if wasCancelled && ctx.Err() != nil {
			err = fmt.Errorf("run the command: %w", ctx.Err())
		}
		return executor.Result{}, 0, nil, err
	}
	result, err := streams.outcome(ctx, resultOfSandbox(ended), wasCancelled)
	return result, streams.printed.Load(), ended.Workspace, err
}

func (e *Executor) startInSandbox(spec *sandbox.Spec, out ends, group *sandbox.Group) (*sandbox.Process, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, &executor.InfrastructureError{Op: "connect the command", Err: err}
	}
	defer null.Close()
	stdio := [3]*os.File{null, null, null}
	if out.stdout != nil {
		stdio[1] = out.stdout
	}
	if out.stderr != nil {
		stdio[2] = out.stderr
	}
	return e.sandbox.Start(spec, stdio, group.Files())
}

// watch ends a command when ctx ends, until the function that it returns is called, which tells whether that was so.
func (e *Executor) watch(ctx context.Context, p *sandbox.Process) func() bool {
	ended, watched := make(chan struct{}), make(chan struct{})
	cancelled := false
	go func() {
		defer close(watched)
		select {
		case <-ended:
			return
		case <-ctx.Done():
		}
		cancelled = true
		if !errors.Is(context.Cause(ctx), errExceeded) {
			p.Terminate()
			grace := time.NewTimer(e.grace)
			defer grace.Stop()
			select {
			case <-ended:
				return
			case <-grace.C:
			}
		}
		p.Kill()
	}()
	return func() bool {
		close(ended)
		<-watched
		return cancelled
	}
}

func resultOfSandbox(o *sandbox.Outcome) executor.Result {
	r := executor.Result{
		ExitCode: o.Status.ExitStatus(), Duration: o.Duration, UserTime: o.UserTime, SystemTime: o.SystemTime, MaxRSSBytes: o.MaxRSSBytes,
	}
	if o.Status.Signaled() {
		r.Signal = unix.SignalName(o.Status.Signal())
		r.ExitCode = 128 + int(o.Status.Signal())
	}
	return r
}

// sandboxError tells whose fault an error of the sandbox is.
func (e *Executor) sandboxError(a executor.Action, spec *sandbox.Spec, err error) error {
	var exec *sandbox.ExecError
	var cwd *sandbox.CwdError
	var setup *sandbox.SetupError
	var refused *sandbox.RefusedError
	switch {
	case errors.As(err, &cwd):
		return &executor.InvalidError{Field: "cwd", Reason: fmt.Sprintf("folder %q cannot be made: %v", a.Cwd, cwd.Err)}
	case errors.As(err, &exec):
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || isStepsFault(err) {
			notFound := &executor.CommandNotFoundError{Name: a.Args[0], Image: !a.Root.IsZero(), Err: exec.Err}
			if errors.Is(err, fs.ErrNotExist) {
				notFound.Interpreter = interpreterInSandbox(spec)
			}
			if !strings.Contains(a.Args[0], "/") {
				notFound.Path, _ = a.Lookup("PATH")
			}
			return notFound
		}
		return &executor.InfrastructureError{Op: "start the command", Err: exec.Err}
	case errors.As(err, &setup), errors.As(err, &refused):
		e.disprove()
		return &executor.InfrastructureError{Op: "make the sandbox", Err: err}
	}
	return err
}

// interpreterInSandbox returns what the script needs that was to be executed, or nothing where it is none.
func interpreterInSandbox(s *sandbox.Spec) string {
	for _, program := range s.Programs {
		found := ""
		own, inWorkspace := strings.CutPrefix(program, sandbox.Workspace+"/")
		switch {
		case !filepath.IsAbs(program):
			found = interpreterIn(s.Lower, filepath.Join(s.Cwd, program))
		case inWorkspace:
			found = interpreterIn(s.Lower, own)
		case slices.ContainsFunc(s.Tools, func(tool string) bool { return isAbove(tool, program) }):
			found = interpreter(program)
		case s.Root != "":
			found = interpreterIn(s.Root, strings.TrimPrefix(program, "/"))
		case isToolchain(program):
			found = interpreter(program)
		}
		if found != "" {
			return found
		}
	}
	return ""
}

func (e *Executor) shellInSandbox(ctx context.Context, a executor.Action, args []string, w *workspace, wires *wires) (int, error) {
	spec, err := e.specOf(ctx, a)
	if err != nil {
		return 0, err
	}
	spec.Upper, spec.Work, spec.Home, spec.Tmp = w.root, w.overlay, w.home, w.tmp
	limits, group, err := e.limit(a.Limits)
	if err != nil {
		return 0, &executor.InfrastructureError{Op: "limit the shell", Err: err}
	}
	defer group.Close() // it is removed by the next who looks otherwise
	spec.Limits = limits
	spec.Terminal, spec.Env = wires.terminal, append(spec.Env, wires.env()...)
	tries := [][]string{args}
	if len(args) == 0 {
		tries = nil
		for _, name := range shells() {
			tries = append(tries, []string{"/bin/" + name})
		}
	}
	var code int
	for _, args := range tries {
		a.Args = args
		spec.Args, spec.Programs = args, programs(a)
		code, err = e.runShell(ctx, spec, wires, group)
		if _, ok := errors.AsType[*sandbox.ExecError](err); !ok {
			break
		}
	}
	if err != nil {
		return 0, e.sandboxError(a, spec, err)
	}
	return code, nil
}

func (e *Executor) runShell(ctx context.Context, spec *sandbox.Spec, wires *wires, group *sandbox.Group) (int, error) {
	p, err := e.sandbox.Start(spec, wires.stdio, group.Files())
	if err != nil {
		return 0, err
	}
	stop := context.AfterFunc(ctx, p.Kill)
	defer stop()
	ended, err := p.Wait()
	if err != nil {
		return 0, err
	}
	ended.Workspace.Close()
	if ctx.Err() != nil {
		return 0, fmt.Errorf("run the shell: %w", ctx.Err())
	}
	return resultOfSandbox(ended).ExitCode, nil
}
