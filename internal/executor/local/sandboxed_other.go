//go:build !linux

package local

import (
	"context"
	"errors"

	"github.com/towpath/towpath/internal/executor"
	"github.com/towpath/towpath/internal/sandbox"
)

// isolate picks the isolation, which is always Workspace here.
func (e *Executor) isolate(want string) error {
	err := sandbox.New().Check(nil)
	if want == Sandbox {
		return err
	}
	_ = errors.As(err, &e.refused)
	return nil
}

func (e *Executor) executeInSandbox(context.Context, executor.Action, executor.Options) (executor.Result, error) {
	return executor.Result{}, &executor.InfrastructureError{Op: "make the sandbox", Err: e.refused}
}

func (e *Executor) shellInSandbox(context.Context, executor.Action, []string, *workspace, *wires) (int, error) {
	return 0, &executor.InfrastructureError{Op: "make the sandbox", Err: e.refused}
}
