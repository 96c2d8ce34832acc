package protocol

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// Code says what kind of failure an Error is. The engine's exit code, its
// retries and its caches depend on it.
type Code string

// The codes of section 2.
const (
	CodePipeline    Code = "pipeline"    // the pipeline program is wrong
	CodeFailed      Code = "failed"      // the stage's own code failed
	CodeStepFailed  Code = "step_failed" // a step failed
	CodeCancelled   Code = "cancelled"   // the request was cancelled
	CodeInvalid     Code = "invalid"     // the parameters of the request are wrong
	CodeNotFound    Code = "not_found"   // the file, directory, blob or tool does not exist
	CodeTooLarge    Code = "too_large"   // a limit was exceeded
	CodeUnsupported Code = "unsupported" // the receiver does not know the method or feature
	CodeInternal    Code = "internal"    // a fault of the engine or of the SDK
)

// Error is the answer to a request that failed.
type Error struct {
	Code    Code         `json:"code"`
	Message string       `json:"message"`
	Hint    string       `json:"hint,omitempty"`  // what to do next
	Site    *Site        `json:"site,omitempty"`  // where in the pipeline program
	Trace   string       `json:"trace,omitempty"` // stack trace in the worker's language
	Step    *StepFailure `json:"step,omitempty"`  // with CodeStepFailed only
}

// Site is a place in a pipeline program.
type Site struct {
	File string `json:"file"` // relative to the root, with "/"
	Line int    `json:"line"` // counted from 1
}

// StepFailure tells how a step ended that its stage does not accept.
type StepFailure struct {
	ExitCode int          `json:"exit_code"`
	Args     List[string] `json:"args"`
}

// Errorf returns an Error with the code and a formatted message.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Error returns the message.
func (e *Error) Error() string {
	if e.Message == "" {
		return string(e.Code)
	}
	return e.Message
}

// CodeOf returns the code of the Error that err is or wraps, and "" if it is
// none.
func CodeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return ""
}

// ErrClosed is why calls fail once a connection has ended between two frames,
// by either side.
var ErrClosed = errors.New("the connection is closed")

// ViolationError says that the peer broke the protocol. The connection has
// ended and what it was doing has failed.
type ViolationError struct {
	Reason string
	Err    error // what the reason came from; may be nil
}

func violation(format string, args ...any) *ViolationError {
	return &ViolationError{Reason: fmt.Sprintf(format, args...)}
}

// Error returns the reason.
func (e *ViolationError) Error() string {
	if e.Err != nil {
		return "protocol violation: " + e.Reason + ": " + e.Err.Error()
	}
	return "protocol violation: " + e.Reason
}

// Unwrap returns Err.
func (e *ViolationError) Unwrap() error { return e.Err }

// Decode fills into, a pointer to one of the Params types, from the parameters
// of a request. Its error is an *Error with CodeInvalid.
func Decode(params json.RawMessage, into any) error {
	if err := json.Unmarshal(params, into); err != nil {
		return Errorf(CodeInvalid, "parameters: %v", err)
	}
	return nil
}

// CutMessage returns s, shortened to MaxMessage bytes at the end of a character.
func CutMessage(s string) string {
	const mark = " […]"
	if len(s) <= MaxMessage {
		return s
	}
	end := MaxMessage - len(mark)
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + mark
}

// CutFields returns the fields of a log line, or where they take more than
// MaxFields bytes in canonical JSON, what section 8 puts in their place: how many
// bytes they took.
func CutFields(fields Map[json.RawMessage]) (Map[json.RawMessage], error) {
	text, err := Canonical(fields)
	if err != nil || len(text) <= MaxFields {
		return fields, err
	}
	return Map[json.RawMessage]{"fields_cut": json.RawMessage(strconv.Itoa(len(text)))}, nil
}
