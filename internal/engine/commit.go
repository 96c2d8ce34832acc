package engine

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/towpath/towpath/internal/actioncache"
	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/digest"
)

// committer makes the results of a run known to later ones, in groups, while the run goes on: a sync takes longer than most steps, and one for many
// results hardly longer than one for a single result. What has been added is found by Get at once, so that equal steps of one run stay one step. It
// is written when everything that was put into the store before is durable. A process that is killed loses what was not written yet and nothing else.
//
// After a group some time passes before the next, unless somebody waits: the more results share their syncs, the less each of them costs.
type committer struct {
	store cas.Store
	cache actioncache.Cache

	mu      sync.Mutex
	queued  []actioncache.Entry     // the next group
	known   map[resultName]onTheWay // what is queued or being written
	busy    chan struct{}           // closed when nothing is queued any more; nil while nothing is
	waiting chan struct{}           // closed when somebody waits
	waited  bool
	failed  chan struct{} // closed when err is set
	err     error         // the first failure
}

type resultName struct {
	kind actioncache.Kind
	key  digest.Digest
}

// onTheWay is the newest value of a result, and how many of its entries are not written yet.
type onTheWay struct {
	value []byte
	open  int
}

// commitPause is what passes between two groups: what a run that is killed loses at most, apart from the group that is being written.
const commitPause = 500 * time.Millisecond

func newCommitter(store cas.Store, cache actioncache.Cache) *committer {
	return &committer{store: store, cache: cache, known: map[resultName]onTheWay{}, waiting: make(chan struct{}), failed: make(chan struct{})}
}

// Get returns a result that has been added, or else one of the cache.
func (c *committer) Get(ctx context.Context, kind actioncache.Kind, key digest.Digest) (value []byte, ok bool, err error) {
	c.mu.Lock()
	added, ok := c.known[resultName{kind, key}]
	c.mu.Unlock()
	if ok {
		return added.value, true, nil
	}
	return c.cache.Get(ctx, kind, key)
}

// add takes a result, all blobs of which have been put. It does not wait.
func (c *committer) add(kind actioncache.Kind, key digest.Digest, value []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	name := resultName{kind, key}
	c.queued = append(c.queued, actioncache.Entry{Kind: kind, Key: key, Value: value})
	c.known[name] = onTheWay{value, c.known[name].open + 1}
	if c.busy == nil {
		c.busy = make(chan struct{})
		go c.work()
	}
}

// work writes groups until nothing is queued. It is never cancelled: what ended well is kept, also when the run is being stopped.
func (c *committer) work() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.queued) > 0 {
		c.mu.Unlock()
		c.pause()
		c.mu.Lock()
		group := c.queued
		c.queued = nil
		c.mu.Unlock()
		err := c.write(context.Background(), group)
		c.mu.Lock()
		for _, e := range group {
			c.leave(resultName{e.Kind, e.Key})
		}
		if err != nil && c.err == nil {
			c.err = err
			close(c.failed)
		}
	}
	close(c.busy)
	c.busy = nil
}

// pause lets more results come.
func (c *committer) pause() {
	t := time.NewTimer(commitPause)
	defer t.Stop()
	select {
	case <-t.C:
	case <-c.waiting:
	}
}

// leave forgets a result that is written, unless it is queued once more.
func (c *committer) leave(name resultName) {
	r := c.known[name]
	if r.open--; r.open > 0 {
		c.known[name] = r
		return
	}
	delete(c.known, name)
}

func (c *committer) write(ctx context.Context, group []actioncache.Entry) error {
	if err := c.store.Flush(ctx); err != nil {
		return fmt.Errorf("make the results of %d stages and steps durable: %w", len(group), err)
	}
	if err := c.cache.PutAll(ctx, group); err != nil {
		return fmt.Errorf("record the results of %d stages and steps: %w", len(group), err)
	}
	return nil
}

// wait returns once everything that was added is written, with the first failure there was. From then on nothing is delayed.
func (c *committer) wait() error {
	for {
		c.mu.Lock()
		if !c.waited {
			c.waited = true
			close(c.waiting)
		}
		busy, err := c.busy, c.err
		c.mu.Unlock()
		if busy == nil {
			return err
		}
		<-busy
	}
}
