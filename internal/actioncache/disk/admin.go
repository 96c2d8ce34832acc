package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/towpath/towpath/internal/actioncache"
)

// Info returns how many entries there are and how many bytes their files have.
func (c *Cache) Info(ctx context.Context) (entries int, bytes int64, err error) {
	err = c.each(ctx, func(_ string, e fs.DirEntry) error {
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		entries++
		bytes += info.Size()
		return nil
	})
	if err != nil {
		return 0, 0, fmt.Errorf("action cache: info: %w", err)
	}
	return entries, bytes, nil
}

// Clear forgets everything. Other processes may go on using the cache: they miss.
func (c *Cache) Clear(ctx context.Context) error {
	var failed []error
	err := c.each(ctx, func(path string, _ fs.DirEntry) error {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = append(failed, err)
		}
		return nil
	})
	if err := errors.Join(append(failed, err)...); err != nil {
		return fmt.Errorf("action cache: clear: %w", err)
	}
	return nil
}

// each calls fn for every entry. Entries that come or go meanwhile may be seen or not.
func (c *Cache) each(ctx context.Context, fn func(path string, e fs.DirEntry) error) error {
	for _, kind := range []actioncache.Kind{actioncache.Stage, actioncache.Step} {
		top := filepath.Join(c.dir, string(kind))
		shards, err := os.ReadDir(top)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for _, shard := range shards {
			if err := ctx.Err(); err != nil {
				return err
			}
			dir := filepath.Join(top, shard.Name())
			entries, err := os.ReadDir(dir)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			for _, e := range entries {
				if err := fn(filepath.Join(dir, e.Name()), e); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
