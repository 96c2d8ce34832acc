// Package fake is an executor for tests, without processes and files: a Go function stands for every command.
//
// It keeps the whole contract of package executor, so what is tested with it holds for the others, and counts what it runs.
// It must not know of any other executor.
package fake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/executor"
)

// Isolation is what actions for this executor ask for.
const Isolation = "fake"

// Func stands for all commands. It returns the exit code. When ctx ends the command has been cancelled: what it returns then
// is dropped, but Execute waits for it. An error is returned by Execute as it is, so it should be one of package executor.
type Func func(ctx context.Context, s *Step) (exitCode int, err error)

// Executor is an executor.Executor that calls a Func.
type Executor struct {
	store cas.Store
	run   Func

	mu      sync.Mutex
	begun   int
	counts  map[digest.Digest]int
	changed chan struct{} // closed and replaced when begun changes
	held    chan struct{} // executions wait for it to be closed; nil where they need not
}

var _ executor.Executor = (*Executor)(nil)

// New returns an Executor that calls run for every command. Nil stands for commands that do nothing and succeed.
func New(store cas.Store, run Func) *Executor {
	if run == nil {
		run = func(context.Context, *Step) (int, error) { return 0, nil }
	}
	return &Executor{store: store, run: run, counts: map[digest.Digest]int{}, changed: make(chan struct{})}
}

// Name implements executor.Executor.
func (e *Executor) Name() string { return "fake" }

// Isolation implements executor.Executor.
func (e *Executor) Isolation() string { return Isolation }

// Gaps implements executor.Executor: there is nothing that a fake would have to enforce.
func (e *Executor) Gaps() []executor.Gap { return nil }

// Begun returns how many executions have begun.
func (e *Executor) Begun() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.begun
}

// Count returns how many executions of an action have begun.
func (e *Executor) Count(action digest.Digest) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.counts[action]
}

// Await waits until n executions have begun since New.
func (e *Executor) Await(ctx context.Context, n int) error {
	for {
		e.mu.Lock()
		begun, changed := e.begun, e.changed
		e.mu.Unlock()
		if begun >= n {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("await %d executions, of which %d have begun: %w", n, begun, ctx.Err())
		}
	}
}

// Hold makes the executions that begin from now on wait until release is called, or until they are cancelled. They count as
// begun.
func (e *Executor) Hold() (release func()) {
	held := make(chan struct{})
	e.mu.Lock()
	defer e.mu.Unlock()
	e.held = held
	return sync.OnceFunc(func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.held == held {
			e.held = nil
		}
		close(held)
	})
}

func (e *Executor) begin(action digest.Digest) (held chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.begun++
	e.counts[action]++
	close(e.changed)
	e.changed = make(chan struct{})
	return e.held
}

// Execute implements executor.Executor.
func (e *Executor) Execute(ctx context.Context, a executor.Action, o executor.Options) (executor.Result, error) {
	if err := a.CheckIsolation(Isolation); err != nil {
		return executor.Result{}, err
	}
	if ctx.Err() != nil {
		return executor.Result{}, fmt.Errorf("start the command: %w", ctx.Err())
	}
	ws, err := load(ctx, e.store, a)
	if err != nil {
		return executor.Result{}, inputError(ctx, err)
	}
	if held := e.begin(a.Digest()); held != nil {
		select {
		case <-held:
		case <-ctx.Done():
			return executor.Result{}, fmt.Errorf("start the command: %w", ctx.Err())
		}
	}
	result, err := e.call(ctx, a, ws, o)
	if err != nil || result.Signal != "" || !o.Accepts(result.ExitCode) {
		return result, err
	}
	if err := ws.capture(ctx, e.store, a.Outputs, &result); err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("capture the outputs: %w", ctx.Err())
		}
		return result, err
	}
	result.Accepted = true
	return result, nil
}

// call runs the function, and ends what it left behind.
func (e *Executor) call(ctx context.Context, a executor.Action, ws *workspace, o executor.Options) (executor.Result, error) {
	running, stop := context.WithCancel(ctx)
	defer stop()
	step := &Step{Action: a, ctx: running, workspace: ws}
	step.stdout = &stream{to: o.Stdout, failed: stop}
	step.stderr = &stream{to: o.Stderr, failed: stop}
	code, err := e.run(running, step)
	stop()
	step.behind.Wait()
	result := executor.Result{ExitCode: code}
	if step.killed {
		result.ExitCode, result.Signal = 128+9, "SIGKILL"
	}
	failed := errors.Join(step.stdout.err, step.stderr.err)
	switch {
	case ctx.Err() != nil:
		return result, fmt.Errorf("run the command: %w", ctx.Err())
	case failed != nil:
		return result, &executor.InfrastructureError{Op: "pass on what the command writes", Err: failed}
	}
	return result, err
}

// inputError tells the faults of load apart.
func inputError(ctx context.Context, err error) error {
	var missing *cas.NotFoundError
	var corrupt *cas.CorruptError
	var invalid *executor.InvalidError
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("make the workspace: %w", ctx.Err())
	case errors.As(err, &invalid):
		return err
	case errors.As(err, &missing):
		return &executor.MissingInputError{Digest: missing.Digest, Err: err}
	case errors.As(err, &corrupt):
		return &executor.MissingInputError{Digest: corrupt.Digest, Err: err}
	}
	return &executor.InfrastructureError{Op: "make the workspace", Err: err}
}

// stream passes writes on and keeps the first error.
type stream struct {
	to     io.Writer
	failed func()
	mu     sync.Mutex
	err    error
}

func (s *stream) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return 0, s.err
	}
	if s.to == nil {
		return len(b), nil
	}
	n, err := s.to.Write(b)
	if err != nil {
		s.err = err
		s.failed()
	}
	return n, err
}
