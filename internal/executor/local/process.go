package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"time"

	"github.com/towpath/towpath/internal/executor"
	"github.com/towpath/towpath/internal/process"
	"github.com/towpath/towpath/internal/sandbox"
)

const (
	// drain is how long a stream may be silent once everything is killed before it is given up: somebody who was not found
	// holds it.
	drain = 500 * time.Millisecond
	// pipeMax is the most that a pipe can hold on any system by default settings, and so the most that can come from before
	// the end.
	pipeMax = 1 << 20
	// textBusyTries bounds how often a program is started that is "busy". Some other thread is between fork and exec and
	// holds the program open for writing, which takes less time than any of the tries.
	textBusyTries = 100
)

// startFailure is the error of a command that could not be started.
type startFailure struct{ err error }

func (e *startFailure) Error() string { return e.err.Error() }
func (e *startFailure) Unwrap() error { return e.err }

// proc is a command with all that it starts.
type proc struct {
	cmd    *exec.Cmd
	group  *process.Group // once it is started
	grace  time.Duration
	marker string // a variable that no process has but those that the command starts
	limits sandbox.Limits
	groups []*os.File // the lists of processes of the control groups that it is to be in
}

// run starts the command, streams what it writes, and returns when it has ended and nothing of it is left.
func (p *proc) run(ctx context.Context, a executor.Action, o executor.Options) (result executor.Result, printed int64, err error) {
	if ctx.Err() != nil {
		return executor.Result{}, 0, fmt.Errorf("start the command: %w", ctx.Err())
	}
	// Linux kills the command when the thread ends that has started it. Being locked keeps the thread from ending.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	streaming, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	streams, out, err := connect(o, a.Limits.OutputBytes, stop)
	if err != nil {
		return executor.Result{}, 0, &executor.InfrastructureError{Op: "connect the command", Err: err}
	}
	// An interface that holds nil is not nil, for which exec opens the null device.
	if out.stdout != nil {
		p.cmd.Stdout = out.stdout
	}
	if out.stderr != nil {
		p.cmd.Stderr = out.stderr
	}
	begin := time.Now()
	err = p.start()
	streams.started()
	if err != nil {
		streams.finish()
		return executor.Result{}, 0, &startFailure{err}
	}
	cancelled := p.wait(streaming)
	result = resultOf(p.cmd.ProcessState)
	result.Duration = time.Since(begin)
	killMarked(p.cmd.Process.Pid, p.marker)
	streams.finish()
	result, err = streams.outcome(ctx, result, cancelled)
	return result, streams.printed.Load(), err
}

// outcome is how a command ended with these streams, once they are finished.
func (s *streams) outcome(ctx context.Context, r executor.Result, cancelled bool) (executor.Result, error) {
	switch {
	case cancelled && ctx.Err() != nil:
		return r, fmt.Errorf("run the command: %w", ctx.Err())
	case s.exceeded():
		r.Exceeded = exceededOutput
		return r, nil
	}
	if err := s.err(); err != nil {
		return r, &executor.InfrastructureError{Op: "pass on what the command writes", Err: err}
	}
	return r, nil
}

func (p *proc) start() error {
	if p.limits != (sandbox.Limits{}) || len(p.groups) > 0 {
		return p.startLimited()
	}
	for try := 1; ; try++ {
		p.group = process.New(p.cmd)
		err := p.cmd.Start()
		if err == nil || try == textBusyTries || !isTextBusy(err) {
			return err
		}
		c := p.cmd // which cannot be started again
		p.cmd = &exec.Cmd{Path: c.Path, Args: c.Args, Env: c.Env, Dir: c.Dir, Stdout: c.Stdout, Stderr: c.Stderr}
	}
}

func (p *proc) startLimited() error {
	limited, err := sandbox.Limit(p.cmd, p.limits, p.groups)
	if err != nil {
		return err
	}
	p.group = process.New(p.cmd)
	if err := p.cmd.Start(); err != nil {
		limited.Close()
		return err
	}
	if err := limited.Started(); err != nil {
		p.group.Kill()
		_ = p.group.Wait() // how it ended says nothing
		return err
	}
	return nil
}

// wait returns when the command has ended and its group is killed, and tells whether ctx ended before.
func (p *proc) wait(ctx context.Context) (cancelled bool) {
	ended := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-ended:
			return
		case <-ctx.Done():
		}
		cancelled = true
		if errors.Is(context.Cause(ctx), errExceeded) {
			p.group.Kill()
			return
		}
		p.group.Terminate()
		grace := time.NewTimer(p.grace)
		defer grace.Stop()
		select {
		case <-ended:
		case <-grace.C:
			p.group.Kill()
		}
	})
	_ = p.group.Wait() // how it ended is in ProcessState
	close(ended)
	watching.Wait()
	return cancelled
}

// streams are the pipes from the command to Options.
type streams struct {
	readers, writers []*os.File
	copying          sync.WaitGroup
	meter
	mu     sync.Mutex
	failed error
}

// ends are what a command writes to, nil where nobody takes it.
type ends struct{ stdout, stderr *os.File }

// connect makes pipes for a command that may print at most so many bytes, where most is not 0. The first error of a writer is kept and stops the command.
func connect(o executor.Options, most int64, stop context.CancelCauseFunc) (*streams, ends, error) {
	s := &streams{meter: meter{limit: most}}
	var e ends
	for _, to := range []struct {
		end **os.File
		out io.Writer
	}{{&e.stdout, o.Stdout}, {&e.stderr, o.Stderr}} {
		if to.out == nil && s.limit == 0 {
			continue
		}
		r, w, err := os.Pipe()
		if err != nil {
			s.started()
			s.finish()
			return nil, ends{}, err
		}
		s.readers, s.writers = append(s.readers, r), append(s.writers, w)
		*to.end = w
		s.copying.Go(func() {
			if err := copyStream(s.metered(to.out), r); err != nil {
				s.mu.Lock()
				s.failed = errors.Join(s.failed, err)
				s.mu.Unlock()
				stop(err)
			}
		})
	}
	return s, e, nil
}

// started closes the ends that the command has by now.
func (s *streams) started() {
	for _, w := range s.writers {
		w.Close()
	}
}

// finish waits for what is still in the pipes, and closes them. Where there is no deadline for pipes (Windows) it waits for
// all who hold them.
func (s *streams) finish() {
	for _, r := range s.readers {
		_ = r.SetReadDeadline(time.Now().Add(drain))
	}
	s.copying.Wait()
	for _, r := range s.readers {
		r.Close()
	}
}

func (s *streams) err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

// copyStream copies r until its end, or until it has been silent for as long as drain once it has a deadline. A slow w does
// not count as silence. The error is that of w.
func copyStream(w io.Writer, r *os.File) error {
	buf := make([]byte, 32<<10)
	silent := false
	late := 0 // bytes since the deadline was first seen
	seen := false
	for {
		n, err := r.Read(buf)
		if n > 0 {
			silent = false
			if _, err := w.Write(buf[:n]); err != nil {
				return err
			}
		}
		if seen {
			late += n
		}
		switch {
		case err == nil && late <= pipeMax:
		case errors.Is(err, os.ErrDeadlineExceeded) && !silent:
			seen, silent = true, true
			_ = r.SetReadDeadline(time.Now().Add(drain))
		default:
			return nil
		}
	}
}
