package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/towpath/towpath/internal/event"
	"github.com/towpath/towpath/internal/plan"
	"github.com/towpath/towpath/internal/session"
	"github.com/towpath/towpath/internal/source"
	"github.com/towpath/towpath/protocol"
)

// describe tells a failure in an event. n is the node that failed, or nil when none had begun.
func describe(err error, n *node) *event.Failure {
	f := &event.Failure{Code: string(protocol.CodeInternal), Message: err.Error(), Hint: Hint(err)}
	if n != nil && n.stage.Site.File != "" {
		f.File, f.Line = n.stage.Site.File, n.stage.Site.Line
	}
	var (
		pe      *protocol.Error
		lost    *session.LostError
		program *session.Error
	)
	switch {
	case errors.As(err, &pe):
		f.Code, f.Message, f.Trace = string(pe.Code), pe.Message, pe.Trace
		if pe.Site != nil {
			f.File, f.Line = pe.Site.File, pe.Site.Line
		}
		if pe.Step != nil {
			f.ExitCode = pe.Step.ExitCode
		}
	case errors.As(err, &lost):
		f.Code, f.Trace = string(protocol.CodeFailed), lost.Output
		if n != nil {
			f.Message = fmt.Sprintf("stage %s was running when %s", n.name, lost.Error())
		}
	case errors.As(err, &program):
		f.Code, f.Trace = string(protocol.CodePipeline), program.Trace
		if program.File != "" {
			f.Message, f.File, f.Line = program.Text, program.File, program.Line
		}
	case ExitCode(err) == ExitPipeline:
		f.Code = string(protocol.CodePipeline)
	case ExitCode(err) == ExitCancelled:
		f.Code = string(protocol.CodeCancelled)
	}
	f.Message, f.Hint, f.Trace = protocol.CutMessage(f.Message), protocol.CutMessage(f.Hint), protocol.CutMessage(f.Trace)
	return f
}

// Hint says what to do about an error, where it knows.
func Hint(err error) string {
	var (
		pe      *protocol.Error
		lost    *session.LostError
		program *session.Error
		use     *plan.UsageError
		src     *source.Error
	)
	switch {
	case errors.As(err, &pe):
		return pe.Hint
	case diskHint(err) != "":
		return diskHint(err)
	case errors.As(err, &lost):
		return "a function must not end its process; what it printed last is above"
	case errors.As(err, &program):
		return program.Hint
	case errors.As(err, &use):
		return use.Hint
	case errors.As(err, &src):
		return src.Hint
	}
	return ""
}

// ExitCode tells whose fault an error is: the exit code of a run that failed by it, or that it kept from beginning.
func ExitCode(err error) int {
	switch protocol.CodeOf(err) {
	case protocol.CodePipeline:
		return ExitPipeline
	case protocol.CodeInternal, protocol.CodeUnsupported:
		return ExitFault
	case "":
	default:
		return ExitFailed
	}
	var (
		program *session.Error
		wrong   *plan.Error
		use     *plan.UsageError
		src     *SourceError
		lost    *session.LostError
	)
	switch {
	case errors.As(err, &program), errors.As(err, &wrong), errors.As(err, &use), errors.As(err, &src):
		return ExitPipeline
	case errors.As(err, &lost):
		return ExitFailed
	case errors.Is(err, ErrInterrupted), errors.Is(err, context.Canceled):
		return ExitCancelled
	}
	return ExitFault
}

// ErrInterrupted is the cause of a context that a person ended.
var ErrInterrupted = errors.New("interrupted")
