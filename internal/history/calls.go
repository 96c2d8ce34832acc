package history

import (
	"context"
	"fmt"

	"github.com/towpath/towpath/internal/event"
)

// Calls is what a run did with its stages.
type Calls struct {
	// Stages are in the order in which they began. Of a stage that was called twice, since a blob of it was lost, the last call counts.
	Stages []*Call
	// Ended tells that the run came to its end. One that was killed may have recorded less than its stages and steps say.
	Ended bool
}

// Call is what a run did with a stage.
type Call struct {
	Run, Stage string
	// Outcome is empty where the run was killed before the stage ended.
	Outcome event.Outcome
	// From is the run that made the result, where the stage was not called but cached.
	From string
	// Reasons say why it was called, and Because why not to its end.
	Reasons []event.Reason
	Because string
	Steps   []Step

	began bool
}

// Began tells whether the stage was called, or found in the cache.
func (c *Call) Began() bool { return c.began }

// Step is a command that a stage ran.
type Step struct {
	event.StepStarted
	// Finished is nil for a step that was cut off.
	Finished *event.StepFinished
}

// CallsOf reads what a run did with its stages. With a DamagedError it returns what can be read.
func CallsOf(ctx context.Context, s Store, run string) (Calls, error) {
	return ReadCalls(run, func(fn func(event.Record) error) error { return s.Events(ctx, run, fn) })
}

// ReadCalls reads the events of a run into Calls.
func ReadCalls(run string, each func(fn func(event.Record) error) error) (Calls, error) {
	var calls Calls
	stages := map[string]*Call{}
	at := func(stage string) *Call {
		if stages[stage] == nil {
			stages[stage] = &Call{Run: run, Stage: stage}
			calls.Stages = append(calls.Stages, stages[stage])
		}
		return stages[stage]
	}
	err := each(func(r event.Record) error {
		switch e := r.Event.(type) {
		case event.StageStarted:
			*at(e.Stage) = Call{Run: run, Stage: e.Stage, Reasons: e.Reasons, began: true}
		case event.StageCached:
			*at(e.Stage) = Call{Run: run, Stage: e.Stage, From: e.From, began: true}
		case event.StageFinished:
			at(e.Stage).Outcome, at(e.Stage).Because = e.Outcome, e.Because
		case event.StepStarted:
			c := at(e.Stage)
			c.Steps = append(c.Steps, Step{StepStarted: e})
		case event.StepFinished:
			at(e.Stage).finish(e)
		case event.RunFinished:
			calls.Ended = true
		default:
			// The other events say nothing of calls and steps.
		}
		return nil
	})
	return calls, err
}

func (c *Call) finish(e event.StepFinished) {
	for i := range c.Steps {
		if c.Steps[i].Step == e.Step {
			c.Steps[i].Finished = &e
		}
	}
}

// End says how the command ended: "it ended with exit code 3", without "it".
func (s Step) End() string {
	switch f := s.Finished; {
	case f == nil:
		return "was cut off"
	case f.Exceeded != "":
		return "exceeded its limit of " + f.Exceeded
	case f.Signal != "":
		return "ended with signal " + f.Signal
	case f.Error != "":
		return "could not be run to its end"
	case f.ExitCode == 0 && f.Refused != "":
		return f.Refused
	default:
		return fmt.Sprintf("ended with exit code %d", f.ExitCode)
	}
}

// Failed tells whether the command ended in a way that no command should without being expected to.
func (s Step) Failed() bool {
	f := s.Finished
	return s.Refused() != "" || f.ExitCode != 0 || f.Signal != "" || f.Exceeded != ""
}

// Refused says why the stage did not get the result of the command, in words that follow "it"; empty where it did.
func (s Step) Refused() string {
	if s.Finished != nil && s.Finished.Error == "" {
		return s.Finished.Refused
	}
	return s.End()
}
