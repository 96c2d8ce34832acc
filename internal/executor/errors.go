package executor

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/towpath/towpath/internal/digest"
)

// InvalidError reports an action that cannot be run as it is.
type InvalidError struct {
	// Field is the part of the action: "args", "env", "cwd", "outputs", "limits", "input root", "platform".
	Field string
	// Reason says what is wrong and quotes it.
	Reason string
}

func (e *InvalidError) Error() string { return e.Field + ": " + e.Reason }

// CommandNotFoundError reports that the program of an action could not be started, because it is not there or is none.
type CommandNotFoundError struct {
	// Name is Args[0].
	Name string
	// Path is the PATH that was searched, empty where Name has a slash.
	Path string
	// Interpreter is what the first line of Name, which is there, names as its interpreter, where that is what there is not.
	Interpreter string
	// Image tells that it was looked for in Command.Root.
	Image bool
	// Err tells more where there was something: permission denied, wrong format. It is fs.ErrNotExist where there was nothing.
	Err error
}

func (e *CommandNotFoundError) Error() string {
	switch {
	case !errors.Is(e.Err, fs.ErrNotExist):
		return fmt.Sprintf("command %q cannot be started: %v", e.Name, e.Err)
	case e.Interpreter != "":
		return fmt.Sprintf("command %q cannot be started: %q, which its first line names as its interpreter, is not there", e.Name, e.Interpreter)
	case e.Path != "":
		return fmt.Sprintf("command %q is not in the step's PATH (%s)", e.Name, e.Path)
	default:
		return fmt.Sprintf("command %q does not exist in the step's workspace, or what it needs to start does not", e.Name)
	}
}

func (e *CommandNotFoundError) Unwrap() error { return e.Err }

// MissingInputError reports an input that the store does not have, or not undamaged.
type MissingInputError struct {
	Digest digest.Digest
	Err    error
}

func (e *MissingInputError) Error() string { return fmt.Sprintf("input %v: %v", e.Digest, e.Err) }

func (e *MissingInputError) Unwrap() error { return e.Err }

// OutputError reports an output that is there and cannot be captured.
type OutputError struct {
	Path string
	Err  error
}

func (e *OutputError) Error() string { return fmt.Sprintf("output %s: %v", e.Path, e.Err) }

func (e *OutputError) Unwrap() error { return e.Err }

// InfrastructureError reports a failure of the machine and not of the step.
type InfrastructureError struct {
	// Op is what was being done: "make the workspace".
	Op  string
	Err error
}

func (e *InfrastructureError) Error() string { return e.Op + ": " + e.Err.Error() }

func (e *InfrastructureError) Unwrap() error { return e.Err }
