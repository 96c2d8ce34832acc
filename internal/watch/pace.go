package watch

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
)

// pace says how events become changes.
type pace struct {
	// quiet is for how long nothing may happen before a burst is over.
	quiet time.Duration
	// longest is how long a burst may be made to wait by what goes on.
	longest time.Duration
	// named is how many paths a Change names.
	named int
}

// usualPace: editors write a file within a few milliseconds, and a person does not notice a twentieth of a second.
func usualPace() pace {
	return pace{quiet: 50 * time.Millisecond, longest: time.Second, named: 10}
}

// errClosed is the end of a Watcher that was closed.
var errClosed = errors.New("watching files has ended")

// collect waits for the first event and then for a pause. Only what counts is named; a burst of nothing else is an empty Change.
func (p pace) collect(ctx context.Context, events <-chan fsnotify.Event, errs <-chan error, counts func(fsnotify.Event) bool) (Change, error) {
	var c Change
	var quiet, longest <-chan time.Time // nil until the first event
	for {
		select {
		case <-ctx.Done():
			return c, context.Cause(ctx)
		case e, ok := <-events:
			if !ok {
				return c, errClosed
			}
			if counts(e) {
				c.add(e.Name, p.named)
			}
		case err, ok := <-errs:
			switch {
			case !ok:
				return c, errClosed
			case errors.Is(err, fsnotify.ErrEventOverflow):
				c.Lost, c.Last = true, time.Now()
			default:
				return c, limited("watch files", err)
			}
		case <-quiet:
			return c, nil
		case <-longest:
			return c, nil
		}
		quiet = time.After(p.quiet)
		if longest == nil {
			longest = time.After(p.longest)
		}
	}
}

// add notes what has happened right now to a path. At most so many are named.
func (c *Change) add(path string, named int) {
	c.Last = time.Now()
	switch {
	case slices.Contains(c.Paths, path):
	case len(c.Paths) < named:
		c.Paths = append(c.Paths, path)
	default:
		c.Lost = true
	}
}
