// Package durable holds what stores on a local disk share to be whole or absent after any crash: private places for files that
// are still being written, publishing under a final name, syncing, and rounds of syncing that concurrent callers share.
//
// It knows files and nothing of what is in them; internal/cas/disk and internal/actioncache/disk build on it.
package durable

import (
	"context"
	"sync"
)

// Group runs rounds of work such that concurrent callers share them (group commit). The zero value is ready for use.
type Group struct {
	mu      sync.Mutex
	running *round // has started: it may have missed what a caller just added
	waiting *round // starts when running has ended
}

type round struct {
	done chan struct{}
	err  error
}

// Do returns once a whole run of work that started after the call has ended, with its error. At most one run is under way at a
// time, and all callers that arrive during it share the next. When ctx ends first Do returns its error and the run goes on.
// All callers of one Group must pass the same work.
func (g *Group) Do(ctx context.Context, work func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r := g.join(work)
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g *Group) join(work func() error) *round {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.running == nil {
		g.running = &round{done: make(chan struct{})}
		go g.loop(work)
		return g.running
	}
	if g.waiting == nil {
		g.waiting = &round{done: make(chan struct{})}
	}
	return g.waiting
}

func (g *Group) loop(work func() error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.running != nil {
		r := g.running
		g.mu.Unlock()
		r.err = work()
		close(r.done)
		g.mu.Lock()
		g.running, g.waiting = g.waiting, nil
	}
}
