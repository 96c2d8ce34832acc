package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/cas/durable"
)

var _ cas.Collector = (*Store)(nil)

// Info returns how many blobs there are and how many bytes they have.
func (s *Store) Info(ctx context.Context) (blobs int, bytes int64, err error) {
	items, err := s.Items(ctx)
	for _, i := range items {
		bytes += i.Bytes
	}
	return len(items), bytes, err
}

// Clear removes all blobs. Other processes may go on using the store: they find blobs missing, and what they have open they can
// read to the end.
func (s *Store) Clear(ctx context.Context) error {
	items, err := s.Items(ctx)
	failed := []error{err}
	for _, i := range items {
		if err := os.Remove(s.named(i.Name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = append(failed, err)
		}
	}
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("cas: clear: %w", err)
	}
	return nil
}

// Items implements cas.Collector.
func (s *Store) Items(ctx context.Context) ([]cas.Item, error) {
	var items []cas.Item
	err := durable.Files(ctx, s.blobs, 1, func(path string, st durable.Stat) {
		items = append(items, cas.Item{Name: filepath.Base(filepath.Dir(path)) + "/" + filepath.Base(path), Bytes: st.Size, Disk: st.Disk, Used: st.Used})
	})
	if err != nil {
		return nil, fmt.Errorf("cas: list blobs: %w", err)
	}
	return items, nil
}

// Drop implements cas.Collector.
func (s *Store) Drop(ctx context.Context, name string, before time.Time) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	dropped, err := s.temp.Discard(s.named(name), before)
	if err != nil {
		return false, fmt.Errorf("cas: drop blob: %w", err)
	}
	return dropped, nil
}

// Unneeded returns the moment such that no process that uses the cache now relies on anything in it that was last used before.
func (s *Store) Unneeded() (time.Time, error) {
	t, err := durable.Unneeded(filepath.Join(s.dir, "sessions"))
	if err != nil {
		return time.Time{}, fmt.Errorf("cas: look for running processes: %w", err)
	}
	return t, nil
}

// named returns the path of the blob with this name.
func (s *Store) named(name string) string { return filepath.Join(s.blobs, filepath.FromSlash(name)) }
