package engine

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"sync"
	"time"

	"github.com/towpath/towpath/internal/event"
)

// recorder numbers the events of a run and hands them to the history and the sink, one at a time.
type recorder struct {
	id     string
	now    func() time.Time
	sink   event.Sink
	writer RunWriter

	mu  sync.Mutex
	seq int64
}

// maxBegins is how many ids are tried that other runs have already.
const maxBegins = 1000

// record begins a run in the history.
func (e *Engine) record(ctx context.Context, sink event.Sink) (*recorder, error) {
	at := e.c.Now()
	w, err := e.c.Journal.Begin(ctx, newRunID(at))
	for tries := 0; errors.Is(err, fs.ErrExist) && tries < maxBegins; tries++ {
		at = at.Add(runIDTick) // another process began a run at the same moment
		w, err = e.c.Journal.Begin(ctx, newRunID(at))
	}
	if err != nil {
		return nil, err
	}
	return &recorder{id: newRunID(at), now: e.c.Now, sink: sink, writer: w}, nil
}

// refuse ends a run that could not begin, because the pipeline or its use is wrong: whoever watches is told, and the history forgets it.
func (r *recorder) refuse(e event.RunRefused) error {
	r.emit(e)
	return r.writer.Discard()
}

// emit tells an event.
func (r *recorder) emit(e event.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seq++
	rec := event.Record{Seq: r.seq, Time: r.now().UTC(), Run: r.id, Event: e}
	r.writer.Emit(rec)
	if r.sink != nil {
		r.sink.Emit(rec)
	}
}

// log opens the log of a stage.
func (r *recorder) log(stage string) (io.WriteCloser, error) { return r.writer.Log(stage) }

// close makes the history of the run durable.
func (r *recorder) close() error { return r.writer.Close() }
