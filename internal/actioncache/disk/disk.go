// Package disk remembers results in a folder of a local file system, shared by any number of processes.
//
// Each entry is one file, KIND/abcd…-SIZE, named after its key: folders are not split, since making one costs more than finding a
// name among very many, and each would have to be synced. It is written in a private place below tmp, synced, and then
// renamed over what was there, so that readers see the old entry or the new one and never a mixture, whatever dies. Each carries
// a checksum and its key; what does not check out is removed and read as a miss. Concurrent Puts share their syncs. An entry's
// access time is its last use, noted at most once an hour.
//
// The package knows nothing of what results mean, nor of the blobs that they name.
package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/towpath/towpath/internal/actioncache"
	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/cas/durable"
	"github.com/towpath/towpath/internal/digest"
)

// Cache is an actioncache.Cache in a folder.
type Cache struct {
	dir   string
	temp  *durable.Temp
	group durable.Group

	mu      sync.Mutex
	pending []*pending
}

// pending is an entry that was written and waits for its round.
type pending struct {
	tmp, final string
	err        error // valid once the round has ended
}

var _ actioncache.Cache = (*Cache)(nil)

// Open returns the cache in the folder dir, which is made if need be.
func Open(dir string) (*Cache, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("action cache: open: %w", err)
	}
	temp, err := durable.OpenTemp(filepath.Join(dir, "tmp"))
	if err != nil {
		return nil, fmt.Errorf("action cache: open: %w", cas.Writing(dir, err))
	}
	return &Cache{dir: dir, temp: temp}, nil
}

// Close gives up what is being put. A process that ends without it leaves files that the next Open removes.
func (c *Cache) Close() error { return c.temp.Close() }

// Get implements actioncache.Cache.
func (c *Cache) Get(ctx context.Context, kind actioncache.Kind, key digest.Digest) ([]byte, bool, error) {
	if err := check(ctx, kind, nil); err != nil {
		return nil, false, err
	}
	p := c.path(kind, key)
	b, st, err := durable.ReadFile(p, int64(actioncache.MaxValue+2*headerSize))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("action cache: get: %w", err)
	}
	value, ok := decode(b, kind, key)
	if !ok {
		// Should a good entry have taken its place this moment, then that is lost, and made again.
		_ = os.RemoveAll(p)
		return nil, false, nil
	}
	_ = durable.Use(p, st.Used) // whether it is gone does not matter: it has been read
	return value, true, nil
}

// Put implements actioncache.Cache.
func (c *Cache) Put(ctx context.Context, kind actioncache.Kind, key digest.Digest, value []byte) error {
	return c.PutAll(ctx, []actioncache.Entry{{Kind: kind, Key: key, Value: value}})
}

// PutAll implements actioncache.Cache.
func (c *Cache) PutAll(ctx context.Context, entries []actioncache.Entry) error {
	for _, e := range entries {
		if err := check(ctx, e.Kind, e.Value); err != nil {
			return err
		}
	}
	mine, err := c.write(entries)
	if err != nil {
		return fmt.Errorf("action cache: put: %w", cas.Writing(c.dir, err))
	}
	c.mu.Lock()
	c.pending = append(c.pending, mine...)
	c.mu.Unlock()
	// A caller who does not wait leaves the entries to the round, which ends without them.
	if err := c.group.Do(ctx, c.commit); err != nil {
		return fmt.Errorf("action cache: put: %w", err)
	}
	for _, p := range mine {
		if p.err != nil {
			return fmt.Errorf("action cache: put: %w", cas.Writing(c.dir, p.err))
		}
	}
	return nil
}

// write writes the files of entries, or none.
func (c *Cache) write(entries []actioncache.Entry) ([]*pending, error) {
	var mine []*pending
	for _, e := range entries {
		tmp, err := c.temp.Write(encode(e.Kind, e.Key, e.Value), 0o444, time.Time{})
		if err != nil {
			for _, p := range mine {
				_ = os.Remove(p.tmp)
			}
			return nil, err
		}
		mine = append(mine, &pending{tmp: tmp, final: c.path(e.Kind, e.Key)})
	}
	return mine, nil
}

// commit makes all pending entries visible and durable: their content, then their names.
func (c *Cache) commit() error {
	c.mu.Lock()
	batch := c.pending
	c.pending = nil
	c.mu.Unlock()
	if len(batch) == 0 {
		return nil
	}
	all := slices.Values(batch)
	synced := len(batch) >= durable.Many && c.temp.SyncFileSystem()
	if len(batch) > 1 && !synced {
		durable.Parallel(all, func(p *pending) { durable.StartWriteback(p.tmp) })
	}
	durable.Parallel(all, func(p *pending) { p.err = p.publish(synced) })
	finals := func(yield func(string) bool) {
		for _, p := range batch {
			if !yield(p.final) {
				return
			}
		}
	}
	var failed durable.Failures
	if !synced || !c.temp.SyncFileSystem() {
		durable.Parallel(maps.Keys(durable.Folders(c.dir, finals)), func(dir string) { failed.Add(dir, durable.SyncDir(dir)) })
		failed.Add(c.dir, durable.Barrier(c.dir))
	}
	for _, p := range batch {
		p.err = errors.Join(p.err, failed.Of(c.dir, p.final))
	}
	return nil
}

// publish syncs the entry, unless that has been done, and gives it its name.
func (p *pending) publish(synced bool) error {
	var err error
	if !synced {
		err = durable.Sync(p.tmp, 0)
	}
	if err == nil {
		err = durable.Replace(p.tmp, p.final)
	}
	if errors.Is(err, fs.ErrNotExist) { // the first of its folder
		if err = os.MkdirAll(filepath.Dir(p.final), 0o777); err == nil {
			err = durable.Replace(p.tmp, p.final)
		}
	}
	if err != nil {
		_ = os.Remove(p.tmp)
	}
	return err
}

// Delete implements actioncache.Cache.
func (c *Cache) Delete(ctx context.Context, kind actioncache.Kind, key digest.Digest) error {
	if err := check(ctx, kind, nil); err != nil {
		return err
	}
	if err := os.Remove(c.path(kind, key)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("action cache: delete: %w", err)
	}
	return nil
}

func check(ctx context.Context, kind actioncache.Kind, value []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return actioncache.Check(kind, value)
}

func (c *Cache) path(kind actioncache.Kind, key digest.Digest) string {
	hash := key.Hex()
	const sep = string(filepath.Separator)
	return c.dir + sep + string(kind) + sep + hash + "-" + strconv.FormatInt(key.Size, 10)
}
