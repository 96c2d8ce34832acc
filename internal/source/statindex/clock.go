package statindex

import (
	"os"
	"path/filepath"
	"sync"
)

// Clock is a moment of the clocks that file systems stamp files with. Any change made after the sample gets a stamp that is not
// before it, so a file that was stamped before it cannot be changed any more without its stamp changing too. This holds
// whatever the granularity of the stamps is, since the moment has been rounded in the same way.
type Clock struct {
	index *Index
	mu    sync.Mutex
	// device and now are of a file that was made as a probe; known is false where none could be made.
	device uint64
	now    int64
	known  bool
	// seen is the latest stamp that was seen on each of the other file systems: their clocks are at least there.
	seen map[uint64]int64
}

// Clock returns a clock that has not been sampled.
func (x *Index) Clock() *Clock { return &Clock{index: x} }

// Sample reads the clock of the file system that holds the index, by making a file next to it and removing it again. It never
// fails: without a probe the clock knows only what it is told with Observe. It must not run together with other methods.
func (c *Clock) Sample() {
	if c.index.path == "" {
		return
	}
	f, err := os.CreateTemp(filepath.Dir(c.index.path), ".clock-*")
	if err != nil {
		return
	}
	if s, err := StatFile(f); err == nil {
		c.device, c.now, c.known = s.Device, s.changed(), true
	}
	_ = f.Close()
	_ = os.Remove(f.Name())
}

// Observe tells the clock about a stamp that was read from a file system.
func (c *Clock) Observe(s Stat) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen == nil {
		c.seen = make(map[uint64]int64)
	}
	c.seen[s.Device] = max(c.seen[s.Device], s.changed())
}

// settled tells whether any change to the file after the sample would show in its Stat.
func (c *Clock) settled(s Stat) bool {
	if c.known && c.device == s.Device {
		return s.changed() < c.now
	}
	c.mu.Lock()
	seen := c.seen[s.Device]
	c.mu.Unlock()
	if c.known {
		seen = min(seen, c.now) // a stamp from the future tells nothing about the present
	}
	return s.changed() < seen
}
