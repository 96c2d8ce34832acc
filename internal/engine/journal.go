package engine

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/towpath/towpath/internal/event"
)

// Journal is where runs are written down, and what is remembered of the ones before. internal/history has it; the engine knows only this much.
type Journal interface {
	// Begin starts a run under an id that no other has; fs.ErrExist says that one does.
	Begin(ctx context.Context, id string) (RunWriter, error)
	// Last returns the newest call of every stage.
	Last(ctx context.Context) (map[string]LastCall, error)
	// Steps returns the steps of a run by stage, or an error where the run is not kept any more.
	Steps(ctx context.Context, run string) (map[string][]PastStep, error)
	// Remember adds to what Last returns.
	Remember(ctx context.Context, calls map[string]LastCall) error
}

// RunWriter takes the events and logs of one run.
type RunWriter interface {
	event.Sink
	// Log opens the log of a stage for writing; a second call goes on where the first ended.
	Log(stage string) (io.WriteCloser, error)
	// Close makes what was written durable, if a stage was called, and reports the first error of any Emit. Discard removes the run instead.
	Close() error
	Discard() error
}

// LastCall is what is remembered of a stage between runs.
type LastCall struct {
	// Run is the run that called it last.
	Run string
	// Key is its stage key then, as a digest in text; empty for an effect.
	Key string
	// Duration is how long the last call that ended well took; 0 when none did.
	Duration time.Duration
}

// runIDTick is the time between two ids: a little more than the 65,536th part of a second.
const runIDTick = 15259 * time.Nanosecond

// newRunID names a run that begins at t: by the second, and by the part of it that has passed, so that ids sort by time and are short enough to type.
func newRunID(t time.Time) string {
	return fmt.Sprintf("%s-%04x", t.UTC().Format("20060102-150405"), int64(t.Nanosecond())/int64(runIDTick))
}
