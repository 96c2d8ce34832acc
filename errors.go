package towpath

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/towpath/towpath/protocol"
)

// OperationError says that the engine could not do what it was asked to do.
// errors.Is finds fs.ErrNotExist in one that says that something does not exist.
type OperationError struct {
	Operation string // such as: read the file "a.txt"
	Code      string // not_found, invalid, too_large, unsupported, internal or failed
	Message   string
	Hint      string // what to do about it, where that is known
}

// Error returns the operation and the message.
func (e *OperationError) Error() string { return e.Operation + ": " + e.Message }

// Unwrap returns the error of the protocol, for what carries it to the engine.
func (e *OperationError) Unwrap() error {
	return &protocol.Error{Code: protocol.Code(e.Code), Message: e.Message, Hint: e.Hint}
}

// Is lets a program ask for a file that is not there as it does elsewhere in Go.
func (e *OperationError) Is(target error) bool {
	return target == fs.ErrNotExist && e.Code == string(protocol.CodeNotFound)
}

// StepError says that a step ended with an exit code that is not accepted, or did
// not make an output.
type StepError struct {
	Command  []string // and its arguments
	ExitCode int
	Message  string
	Hint     string // what to do about it, where that is known
}

// Error returns the message.
func (e *StepError) Error() string { return e.Message }

// Unwrap returns the error of the protocol, for what carries it to the engine.
func (e *StepError) Unwrap() error {
	return &protocol.Error{
		Code: protocol.CodeStepFailed, Message: e.Message, Hint: e.Hint,
		Step: &protocol.StepFailure{ExitCode: e.ExitCode, Args: e.Command},
	}
}

// PipelineError says what is wrong with the declarations of a pipeline: a line for
// each thing. File and Line are those of the first.
type PipelineError struct {
	Message string
	File    string
	Line    int
	Hint    string // what to do about it, where there is but one
}

// Error returns the message.
func (e *PipelineError) Error() string { return e.Message }

// Unwrap returns the error of the protocol, for what carries it to the engine.
func (e *PipelineError) Unwrap() error {
	out := &protocol.Error{Code: protocol.CodePipeline, Message: e.Message, Hint: e.Hint}
	if e.File != "" {
		out.Site = &protocol.Site{File: e.File, Line: e.Line}
	}
	return out
}

// failed says which operation failed.
func failed(operation string, err error) error {
	failure, ok := errors.AsType[*protocol.Error](err)
	switch {
	case !ok:
		return fmt.Errorf("%s: %w", operation, err)
	case failure.Code == protocol.CodeCancelled, failure.Code == protocol.CodePipeline:
		return fmt.Errorf("%s: %w", operation, failure)
	case failure.Code == protocol.CodeStepFailed:
		out := &StepError{Message: failure.Error(), Hint: failure.Hint}
		if failure.Step != nil {
			out.Command, out.ExitCode = failure.Step.Args, failure.Step.ExitCode
		}
		return out
	}
	return &OperationError{Operation: operation, Code: string(failure.Code), Message: failure.Error(), Hint: failure.Hint}
}
