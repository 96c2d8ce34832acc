package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/towpath/towpath/internal/actioncache"
	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/cas/durable"
)

var _ cas.Collector = (*Cache)(nil)

// Info returns how many entries there are and how many bytes their files have.
func (c *Cache) Info(ctx context.Context) (entries int, bytes int64, err error) {
	items, err := c.Items(ctx)
	for _, i := range items {
		bytes += i.Bytes
	}
	return len(items), bytes, err
}

// Clear forgets everything. Other processes may go on using the cache: they miss.
func (c *Cache) Clear(ctx context.Context) error {
	items, err := c.Items(ctx)
	failed := []error{err}
	for _, i := range items {
		failed = append(failed, os.RemoveAll(c.named(i.Name)))
	}
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("action cache: clear: %w", err)
	}
	return nil
}

// Items implements cas.Collector.
func (c *Cache) Items(ctx context.Context) ([]cas.Item, error) {
	var items []cas.Item
	for _, kind := range kinds() {
		err := durable.Files(ctx, filepath.Join(c.dir, string(kind)), 0, func(path string, st durable.Stat) {
			items = append(items, cas.Item{Name: string(kind) + "/" + filepath.Base(path), Bytes: st.Size, Disk: st.Disk, Used: st.Used})
		})
		if err != nil {
			return nil, fmt.Errorf("action cache: list results: %w", err)
		}
	}
	return items, nil
}

func kinds() []actioncache.Kind { return []actioncache.Kind{actioncache.Stage, actioncache.Step} }

// Drop implements cas.Collector.
func (c *Cache) Drop(ctx context.Context, name string, before time.Time) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	dropped, err := c.temp.Discard(c.named(name), before)
	if err != nil {
		return false, fmt.Errorf("action cache: drop result: %w", err)
	}
	return dropped, nil
}

// named returns the path of the entry with this name.
func (c *Cache) named(name string) string { return filepath.Join(c.dir, filepath.FromSlash(name)) }
