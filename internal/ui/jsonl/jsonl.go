// Package jsonl writes the events of a run as JSON, one record per line and nothing else. docs/events.md describes the records.
//
// A record is encoded where it is emitted and written by a goroutine: at once when nothing else is going on, together with its neighbours when
// many arrive. A reader that is slow does so not hold up the run, unless it falls behind by more than a mebibyte.
package jsonl

import (
	"fmt"
	"io"
	"sync"

	"github.com/towpath/towpath/internal/event"
)

// maxPending is how many bytes may wait to be written before Emit waits too.
const maxPending = 1 << 20

// UI writes events as lines of JSON.
type UI struct {
	w    io.Writer
	done chan struct{} // closed when the writer has ended

	mu       sync.Mutex
	changed  *sync.Cond
	pending  []byte
	closed   bool
	writeErr error // nothing is written after it
	encoding error // the first record that could not be encoded
}

// New returns a UI that writes to w until it is closed.
func New(w io.Writer) *UI {
	u := &UI{w: w, done: make(chan struct{})}
	u.changed = sync.NewCond(&u.mu)
	go u.write()
	return u
}

// Emit implements event.Sink. After a write has failed, and after Close, records are dropped. A record that cannot be encoded leaves a gap in the
// numbers, and Close tells of it.
func (u *UI) Emit(r event.Record) {
	line, err := r.MarshalJSON()
	u.mu.Lock()
	defer u.mu.Unlock()
	if err != nil {
		if u.encoding == nil {
			u.encoding = fmt.Errorf("encoding event %d: %w", r.Seq, err)
		}
		return
	}
	for len(u.pending) > maxPending && u.writeErr == nil && !u.closed {
		u.changed.Wait()
	}
	if u.writeErr != nil || u.closed {
		return
	}
	u.pending = append(append(u.pending, line...), '\n')
	u.changed.Broadcast()
}

// Close writes what is pending and returns the first error that was met.
func (u *UI) Close() error {
	u.mu.Lock()
	u.closed = true
	u.changed.Broadcast()
	u.mu.Unlock()
	<-u.done
	if u.writeErr != nil {
		return u.writeErr
	}
	return u.encoding
}

// write writes what is pending, as much of it at a time as there is.
func (u *UI) write() {
	defer close(u.done)
	u.mu.Lock()
	defer u.mu.Unlock()
	var batch []byte
	for {
		for len(u.pending) == 0 && !u.closed {
			u.changed.Wait()
		}
		if len(u.pending) == 0 {
			return
		}
		batch, u.pending = u.pending, batch[:0]
		u.changed.Broadcast()
		u.mu.Unlock()
		_, err := u.w.Write(batch)
		u.mu.Lock()
		if err != nil {
			u.writeErr = err
			u.changed.Broadcast()
			return
		}
	}
}
