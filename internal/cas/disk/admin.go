package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Info returns how many blobs there are and how many bytes they have.
func (s *Store) Info(ctx context.Context) (blobs int, bytes int64, err error) {
	err = s.each(ctx, func(_ string, e fs.DirEntry) error {
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		blobs++
		bytes += info.Size()
		return nil
	})
	if err != nil {
		return 0, 0, fmt.Errorf("cas: info: %w", err)
	}
	return blobs, bytes, nil
}

// Clear removes all blobs. Other processes may go on using the store: they find blobs missing, and what they have open they can
// read to the end.
func (s *Store) Clear(ctx context.Context) error {
	var failed []error
	err := s.each(ctx, func(path string, _ fs.DirEntry) error {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = append(failed, err)
		}
		return nil
	})
	if err := errors.Join(append(failed, err)...); err != nil {
		return fmt.Errorf("cas: clear: %w", err)
	}
	return nil
}

// each calls fn for every blob. Blobs that come or go meanwhile may be seen or not.
func (s *Store) each(ctx context.Context, fn func(path string, e fs.DirEntry) error) error {
	shards, err := os.ReadDir(s.blobs)
	if err != nil {
		return err
	}
	for _, shard := range shards {
		if err := ctx.Err(); err != nil {
			return err
		}
		dir := filepath.Join(s.blobs, shard.Name())
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
	return nil
}
