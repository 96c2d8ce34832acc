package engine

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"sync"
	"time"

	"github.com/towpath/towpath/internal/event"
	"github.com/towpath/towpath/internal/history"
)

// recorder numbers the events of a run and hands them to the history and the sink, one at a time.
type recorder struct {
	id   string
	now  func() time.Time
	sink event.Sink

	begin func(id string) (history.Writer, error)

	mu      sync.Mutex
	seq     int64
	writer  history.Writer
	pending []event.Event // held back until the run begins
	failed  error
}

// record makes a recorder. Nothing is written before begin.
func (e *Engine) record(ctx context.Context, sink event.Sink) *recorder {
	return &recorder{id: newRunID(e.c.Now()), now: e.c.Now, sink: sink, begin: func(id string) (history.Writer, error) { return e.c.History.Begin(ctx, id) }}
}

// hold keeps an event until the run begins.
func (r *recorder) hold(e event.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pending = append(r.pending, e)
}

// abandon forgets the run: it never began. What the program printed is all that is told, since it may say why.
func (r *recorder) abandon() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.pending {
		if out, ok := e.(event.ProgramOutput); ok {
			r.send(out)
		}
	}
}

// maxBegins is how many ids are tried that other runs have already.
const maxBegins = 1000

// start begins the run: it is in the history from now on.
func (r *recorder) start() error {
	at := r.now()
	w, err := r.begin(newRunID(at))
	for tries := 0; errors.Is(err, fs.ErrExist) && tries < maxBegins; tries++ {
		at = at.Add(runIDTick) // another process began a run at the same moment
		w, err = r.begin(newRunID(at))
	}
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.writer, r.id = w, newRunID(at)
	for _, e := range r.pending {
		r.send(e)
	}
	r.pending = nil
	return nil
}

// emit tells an event; before the run has begun it is held back.
func (r *recorder) emit(e event.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.writer == nil {
		r.pending = append(r.pending, e)
		return
	}
	r.send(e)
}

func (r *recorder) send(e event.Event) {
	r.seq++
	rec := event.Record{Seq: r.seq, Time: r.now().UTC(), Run: r.id, Event: e}
	if r.writer != nil {
		r.writer.Emit(rec)
	}
	if r.sink != nil {
		r.sink.Emit(rec)
	}
}

// log opens the log of a stage.
func (r *recorder) log(stage string) (io.WriteCloser, error) { return r.writer.Log(stage) }

// close makes the history of the run durable.
func (r *recorder) close() error { return r.writer.Close() }
