package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"

	"golang.org/x/term"

	"github.com/towpath/towpath/internal/executor"
	"github.com/towpath/towpath/internal/process"
	"github.com/towpath/towpath/internal/sandbox"
	"github.com/towpath/towpath/internal/tree"
)

var _ executor.Sheller = (*Executor)(nil)

// Shell implements executor.Sheller.
func (e *Executor) Shell(ctx context.Context, a executor.Action, args []string, t executor.Terminal) (exitCode int, err error) {
	if err := a.CheckIsolation(e.isolation); err != nil {
		return 0, err
	}
	w, err := e.work.acquire()
	if err != nil {
		return 0, &executor.InfrastructureError{Op: "make the workspace", Err: err}
	}
	defer e.work.release(w)
	wires, err := wire(t)
	if err != nil {
		return 0, &executor.InfrastructureError{Op: "connect the shell", Err: err}
	}
	defer wires.close()
	if e.sandbox != nil {
		return e.shellInSandbox(ctx, a, args, w, wires)
	}
	return e.shellInWorkspace(ctx, a, args, w, wires)
}

// shells are what is tried where nothing is asked for.
func shells() []string { return []string{"bash", "sh"} }

func (e *Executor) shellInWorkspace(ctx context.Context, a executor.Action, args []string, w *workspace, wires *wires) (int, error) {
	if err := tree.Materialize(ctx, e.store, a.InputRoot, w.root); err != nil {
		return 0, inputError(ctx, err)
	}
	cmd, err := shellCommand(a, args, w)
	if err != nil {
		return 0, err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = wires.stdio[0], wires.stdio[1], wires.stdio[2]
	cmd.Env = append(cmd.Env, wires.env()...)
	if wires.terminal {
		controlTerminal(cmd)
	}
	limits, group, err := e.limit(a.Limits)
	if err != nil {
		return 0, &executor.InfrastructureError{Op: "limit the shell", Err: err}
	}
	defer group.Close() // it is removed by the next who looks otherwise
	p := proc{cmd: cmd, grace: e.grace, limits: limits, groups: group.Files()}
	if !wires.terminal {
		p.group = process.New(cmd)
	}
	program := cmd.Path
	if err := p.startShell(); err != nil {
		return 0, startError(a, program, &startFailure{err})
	}
	wires.started()
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	defer stop()
	if p.group != nil {
		err = p.group.Wait()
	} else {
		err = cmd.Wait()
	}
	killMarked(cmd.Process.Pid, "TMPDIR="+w.tmp)
	if ctx.Err() != nil {
		return 0, fmt.Errorf("run the shell: %w", ctx.Err())
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return 0, &executor.InfrastructureError{Op: "run the shell", Err: err}
	}
	return resultOf(cmd.ProcessState).ExitCode, nil
}

// startShell starts a command that is in no group of processes yet where it has a terminal.
func (p *proc) startShell() error {
	if p.limits == (sandbox.Limits{}) && len(p.groups) == 0 {
		return p.cmd.Start()
	}
	limited, err := sandbox.Limit(p.cmd, p.limits, p.groups)
	if err != nil {
		return err
	}
	if err := p.cmd.Start(); err != nil {
		limited.Close()
		return err
	}
	if err := limited.Started(); err != nil {
		_ = errors.Join(p.cmd.Process.Kill(), p.cmd.Wait()) // how it ended says nothing
		return err
	}
	return nil
}

// shellCommand returns the command args in the place of that of a, or a shell.
func shellCommand(a executor.Action, args []string, w *workspace) (*exec.Cmd, error) {
	if len(args) > 0 {
		a.Args = args
		return newCommand(a, w)
	}
	var cmd *exec.Cmd
	var err error
	for _, name := range shells() {
		a.Args = []string{name}
		if cmd, err = newCommand(a, w); err == nil {
			break
		}
	}
	return cmd, err
}

// wires connect a shell with a person.
type wires struct {
	stdio    [3]*os.File // of the shell
	terminal bool
	undo     []func() // in the order in which they are to be called
	close1   func()   // closes stdio
}

// env returns what a shell has to know of the terminal.
func (w *wires) env() []string {
	if !w.terminal {
		return nil
	}
	return []string{"TERM=" + os.Getenv("TERM")}
}

// started closes what the shell has by now.
func (w *wires) started() {
	if w.close1 != nil {
		w.close1()
		w.close1 = nil
	}
}

// close returns when all that the shell has written has arrived.
func (w *wires) close() {
	w.started()
	for _, undo := range w.undo {
		undo()
	}
	w.undo = nil
}

// wire connects t: with a terminal of the shell's own where t is one, with pipes where not.
func wire(t executor.Terminal) (*wires, error) {
	in, inOK := t.In.(*os.File)
	out, outOK := t.Out.(*os.File)
	if inOK && outOK && term.IsTerminal(int(in.Fd())) && term.IsTerminal(int(out.Fd())) {
		return wireTerminal(in, out)
	}
	w := &wires{}
	var theirs []*os.File
	w.close1 = func() {
		for _, f := range theirs {
			f.Close()
		}
	}
	streams, e, err := connect(executor.Options{Stdout: orDiscard(t.Out), Stderr: orDiscard(t.Err)}, 0, func(error) {})
	if err != nil {
		return nil, err
	}
	w.stdio[1], w.stdio[2] = e.stdout, e.stderr
	theirs = append(theirs, e.stdout, e.stderr)
	w.undo = append(w.undo, streams.finish)
	if inOK {
		w.stdio[0] = in
		return w, nil
	}
	r, feed, err := os.Pipe()
	if err != nil {
		w.close()
		return nil, err
	}
	w.stdio[0] = r
	theirs = append(theirs, r)
	go func() {
		if t.In != nil {
			_, _ = io.Copy(feed, t.In) // the shell may have ended
		}
		feed.Close()
	}()
	return w, nil
}

func orDiscard(w io.Writer) io.Writer {
	if w == nil {
		return io.Discard
	}
	return w
}
