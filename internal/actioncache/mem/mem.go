// Package mem remembers results for as long as the process lives, for tests.
//
// It is the contract of actioncache.Cache and nothing else.
package mem

import (
	"bytes"
	"context"
	"sync"

	"github.com/towpath/towpath/internal/actioncache"
	"github.com/towpath/towpath/internal/digest"
)

// Cache is an actioncache.Cache in memory.
type Cache struct {
	mu      sync.RWMutex
	entries map[name][]byte
}

type name struct {
	kind actioncache.Kind
	key  digest.Digest
}

var _ actioncache.Cache = (*Cache)(nil)

// New returns an empty cache.
func New() *Cache { return &Cache{entries: map[name][]byte{}} }

// Get implements actioncache.Cache.
func (c *Cache) Get(ctx context.Context, kind actioncache.Kind, key digest.Digest) ([]byte, bool, error) {
	if err := check(ctx, kind, nil); err != nil {
		return nil, false, err
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	value, ok := c.entries[name{kind, key}]
	return bytes.Clone(value), ok, nil
}

// Put implements actioncache.Cache.
func (c *Cache) Put(ctx context.Context, kind actioncache.Kind, key digest.Digest, value []byte) error {
	if err := check(ctx, kind, value); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entries[name{kind, key}] = append([]byte{}, value...)
	return nil
}

// PutAll implements actioncache.Cache.
func (c *Cache) PutAll(ctx context.Context, entries []actioncache.Entry) error {
	for _, e := range entries {
		if err := check(ctx, e.Kind, e.Value); err != nil {
			return err
		}
	}
	for _, e := range entries {
		if err := c.Put(ctx, e.Kind, e.Key, e.Value); err != nil {
			return err
		}
	}
	return nil
}

// Delete implements actioncache.Cache.
func (c *Cache) Delete(ctx context.Context, kind actioncache.Kind, key digest.Digest) error {
	if err := check(ctx, kind, nil); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.entries, name{kind, key})
	return nil
}

func check(ctx context.Context, kind actioncache.Kind, value []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return actioncache.Check(kind, value)
}
