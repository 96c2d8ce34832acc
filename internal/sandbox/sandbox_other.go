//go:build !linux || (!amd64 && !arm64)

package sandbox

import (
	"errors"
	"os"
)

// MainIfHelper makes this process a command with limits where it was started as that, and does not return then. Every program that uses this package
// calls it first in main, and tests do in TestMain.
func MainIfHelper() { mainIfLimited() }

// Sandbox is not supported on this system.
type Sandbox struct{}

// New returns a Sandbox that refuses everything.
func New() *Sandbox { return &Sandbox{} }

var errUnsupported = errors.New("there are no namespaces")

func refusal() error {
	return &RefusedError{Why: "this system has no namespaces", Err: errUnsupported}
}

// Close does nothing.
func (*Sandbox) Close() error { return nil }

// Check returns a *RefusedError.
func (*Sandbox) Check(*Spec) error { return refusal() }

// Process is a command, of which there are none here.
type Process struct{}

// Start returns a *RefusedError.
func (*Sandbox) Start(*Spec, [3]*os.File, []*os.File) (*Process, error) { return nil, refusal() }

// Terminate does nothing.
func (*Process) Terminate() {}

// Kill does nothing.
func (*Process) Kill() {}

// Wait returns a *RefusedError.
func (*Process) Wait() (*Outcome, error) { return nil, refusal() }

// actsAsRoot tells that commands are nobody else's where there are no sandboxes.
func actsAsRoot() bool { return false }
