// Package history keeps what runs were: their events and the logs of their stages.
//
// It is a reader of events like the terminal is. It knows nothing of engines, caches or pipelines beyond what events say, and losing it
// loses no result: the caches do not refer to it, except that a cached stage's log is found in the run that made it.
package history

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/towpath/towpath/internal/event"
)

// Store holds the runs of one pipeline program. Every implementation passes the suite in historytest.
//
// Several processes may use one store at once. A run is written by the process that began it and by no other. What was written before a
// process died stays readable: a run without its last event is shown as unfinished.
type Store interface {
	// Begin starts a run under a new id. The caller closes the writer.
	Begin(ctx context.Context, id string) (Writer, error)
	// Runs lists runs, the newest first, at most limit of them (0: all).
	Runs(ctx context.Context, limit int) ([]Summary, error)
	// Resolve finds the run that ref names: an id, an unambiguous beginning of one, or "" or "latest" for the newest.
	Resolve(ctx context.Context, ref string) (string, error)
	// Events calls fn for each event of a run in order, until fn fails. A last line that was cut by a crash is left out; what else cannot be read is a
	// DamagedError.
	Events(ctx context.Context, id string, fn func(event.Record) error) error
	// Log opens the log of a stage in a run. A stage that wrote none has a NotFoundError.
	Log(ctx context.Context, id, stage string) (io.ReadCloser, error)
	// Last returns what is known of each stage from the runs before: the newest record of every stage that was run.
	Last(ctx context.Context) (map[string]Stage, error)
	// Remember adds to what Last returns. Records of stages that are not named stay.
	Remember(ctx context.Context, stages map[string]Stage) error
}

// Writer takes the events and logs of one run.
type Writer interface {
	event.Sink
	// Log opens the log of a stage for writing; the second call for one stage goes on where the first ended.
	Log(stage string) (io.WriteCloser, error)
	// Discard removes the run, instead of Close.
	Discard() error
	// Close makes what was written durable, if a stage was called. It reports the first error of any Emit.
	Close() error
}

// Stage is what is remembered of a stage between runs.
type Stage struct {
	// Run is the run that called it last.
	Run string `json:"run"`
	// Key is its stage key then, as a digest in text; empty for an effect.
	Key string `json:"key,omitempty"`
	// Duration is how long the call took; 0 when it did not end well.
	Duration time.Duration `json:"duration_ns,omitempty"`
}

// Summary is a run in a list.
type Summary struct {
	ID       string        `json:"id"`
	Started  time.Time     `json:"started"`
	Targets  []string      `json:"targets"`
	Outcome  event.Outcome `json:"outcome,omitempty"` // empty when the run has no last event
	Duration time.Duration `json:"duration_ns"`
	Ran      int           `json:"ran"`
	Cached   int           `json:"cached"`
	Failed   []string      `json:"failed,omitempty"`
	// Damaged tells that the record of the run can be read only in part.
	Damaged bool `json:"damaged,omitempty"`
}

// NotFoundError says that a run or a log is not there.
type NotFoundError struct {
	What string // "run 2026…", "log of stage test in run 2026…"
	Hint string
}

func (e *NotFoundError) Error() string { return e.What + " is not there" }

// Unwrap makes errors.Is(err, fs.ErrNotExist) true.
func (e *NotFoundError) Unwrap() error { return fs.ErrNotExist }

// DamagedError says that the record of a run can be read only in part.
type DamagedError struct {
	Run string
	Err error
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("the record of run %s is damaged: %v", e.Run, e.Err)
}

// Unwrap returns what is wrong with it.
func (e *DamagedError) Unwrap() error { return e.Err }

// AmbiguousError says that the beginning of a run id fits several runs.
type AmbiguousError struct {
	Ref  string
	Fits []string
}

func (e *AmbiguousError) Error() string {
	return fmt.Sprintf("%q is the beginning of %d run ids, %s and %s among them", e.Ref, len(e.Fits), e.Fits[0], e.Fits[1])
}

// Summarize reads the events of a run into a Summary.
func Summarize(id string, each func(fn func(event.Record) error) error) (Summary, error) {
	s := Summary{ID: id, Targets: []string{}}
	var last time.Time
	var order []string
	ends := map[string]event.StageFinished{} // the last of each: a stage may run again when a blob of its result is lost
	err := each(func(r event.Record) error {
		last = r.Time
		switch e := r.Event.(type) {
		case event.RunStarted:
			s.Started, s.Targets = r.Time, e.Targets
		case event.StageFinished:
			if _, again := ends[e.Stage]; !again {
				order = append(order, e.Stage)
			}
			ends[e.Stage] = e
		case event.RunFinished:
			s.Outcome = e.Outcome
		default:
			// The other events add nothing to a line in a list.
		}
		return nil
	})
	for _, stage := range order {
		s.count(ends[stage])
	}
	if !s.Started.IsZero() {
		s.Duration = last.Sub(s.Started)
	}
	return s, err
}

func (s *Summary) count(e event.StageFinished) {
	switch e.Outcome {
	case event.Succeeded:
		s.Ran++
	case event.Cached:
		s.Cached++
	case event.Failed:
		if e.Failure != nil { // else it is a fan-out, and its element is listed
			s.Ran++
			s.Failed = append(s.Failed, e.Stage)
		}
	case event.Cancelled, event.Skipped:
	}
}
