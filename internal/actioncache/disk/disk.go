// Package disk remembers results in a folder of a local file system, shared by any number of processes.
//
// Each entry is one file, KIND/ab/abcd…-SIZE, named after its key. It is written in a private place below tmp, synced, and then
// renamed over what was there, so that readers see the old entry or the new one and never a mixture, whatever dies. Each carries
// a checksum and its key; what does not check out is removed and read as a miss. Concurrent Puts share their syncs.
//
// The package knows nothing of what results mean, nor of the blobs that they name.
package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"

	"github.com/towpath/towpath/internal/actioncache"
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
	file  *os.File
	final string
	err   error // valid once the round has ended
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
		return nil, fmt.Errorf("action cache: open: %w", err)
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
	b, err := read(p)
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
	return value, true, nil
}

// read returns the content of the file path, or nil where that cannot be an entry. It never takes more memory than one needs.
func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > int64(actioncache.MaxValue+2*headerSize) {
		return nil, nil
	}
	b := make([]byte, info.Size())
	// Entries are replaced whole and never written to: the size holds. A file that was cut meanwhile is no entry.
	if _, err = io.ReadFull(f, b); err == io.ErrUnexpectedEOF || err == io.EOF {
		return nil, nil
	}
	return b, err
}

// Put implements actioncache.Cache.
func (c *Cache) Put(ctx context.Context, kind actioncache.Kind, key digest.Digest, value []byte) error {
	if err := check(ctx, kind, value); err != nil {
		return err
	}
	f, err := c.temp.Create(0o444)
	if err != nil {
		return fmt.Errorf("action cache: put: %w", err)
	}
	if _, err := f.Write(encode(kind, key, value)); err != nil {
		f.Close()
		_ = os.Remove(f.Name())
		return fmt.Errorf("action cache: put: %w", err)
	}
	p := &pending{file: f, final: c.path(kind, key)}
	c.mu.Lock()
	c.pending = append(c.pending, p)
	c.mu.Unlock()
	// A caller who does not wait leaves the entry to the round, which ends without them.
	if err := c.group.Do(ctx, c.commit); err != nil {
		return fmt.Errorf("action cache: put: %w", err)
	}
	if p.err != nil {
		return fmt.Errorf("action cache: put: %w", p.err)
	}
	return nil
}

// commit makes all pending entries visible and durable: their content, then their names.
func (c *Cache) commit() error {
	c.mu.Lock()
	batch := c.pending
	c.pending = nil
	c.mu.Unlock()
	if len(batch) > 1 {
		for _, p := range batch {
			durable.StartWriteback(p.file)
		}
	}
	durable.Parallel(slices.Values(batch), func(p *pending) { p.err = p.publish() })
	dirs := map[string][]*pending{}
	for _, p := range batch {
		shard := filepath.Dir(p.final)
		for _, dir := range []string{shard, filepath.Dir(shard), c.dir} {
			dirs[dir] = append(dirs[dir], p)
		}
	}
	failed := map[string]error{}
	var mu sync.Mutex
	durable.Parallel(maps.Keys(dirs), func(dir string) {
		if err := durable.SyncDir(dir); err != nil {
			mu.Lock()
			defer mu.Unlock()
			failed[dir] = err
		}
	})
	for dir, err := range failed {
		for _, p := range dirs[dir] {
			p.err = errors.Join(p.err, err)
		}
	}
	if len(batch) == 0 {
		return nil
	}
	return durable.Barrier(c.dir)
}

// publish syncs the entry and gives it its name.
func (p *pending) publish() error {
	err := durable.SyncFile(p.file)
	if err != nil {
		err = &fs.PathError{Op: "sync", Path: p.file.Name(), Err: err}
	}
	if cerr := p.file.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = durable.Replace(p.file.Name(), p.final)
	}
	if errors.Is(err, fs.ErrNotExist) { // the first of its folder
		if err = os.MkdirAll(filepath.Dir(p.final), 0o777); err == nil {
			err = durable.Replace(p.file.Name(), p.final)
		}
	}
	if err != nil {
		_ = os.Remove(p.file.Name())
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
	return c.dir + sep + string(kind) + sep + hash[:2] + sep + hash + "-" + strconv.FormatInt(key.Size, 10)
}
