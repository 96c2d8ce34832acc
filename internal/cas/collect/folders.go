package collect

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/cas/durable"
)

// Folders is a cas.Collector of plain files and folders, each of which is one thing that can be made again: what is directly below any of these
// folders. The last use of a folder is its time of change, which whoever uses it sets; that of a file is the later of its two times.
type Folders struct {
	// Parents are the folders; those among them that are below one another are no items of it.
	Parents []string
}

var _ cas.Collector = Folders{}

// goneName marks what is being removed: something that is half gone must not be taken for whole.
const goneName = ".gone-"

// Items implements cas.Collector.
func (f Folders) Items(ctx context.Context) ([]cas.Item, error) {
	var items []cas.Item
	for _, parent := range f.Parents {
		entries, err := os.ReadDir(parent)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("list %s: %w", parent, err)
		}
		for _, e := range entries {
			path := filepath.Join(parent, e.Name())
			if f.holds(path) {
				continue
			}
			item, err := look(ctx, path)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("list %s: %w", parent, err)
			}
			items = append(items, item)
		}
	}
	return items, nil
}

// holds tells whether path is one of the parents, or above one.
func (f Folders) holds(path string) bool {
	for _, p := range f.Parents {
		if p == path || strings.HasPrefix(p, path+string(filepath.Separator)) {
			return true
		}
	}
	return false
}

func look(ctx context.Context, path string) (cas.Item, error) {
	used, err := lastUse(path)
	item := cas.Item{Name: path, Used: used}
	if err != nil {
		return item, err
	}
	err = filepath.WalkDir(path, func(below string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := durable.Lstat(below)
		item.Bytes += st.Size
		item.Disk += st.Disk
		return errors.Join(err, ctx.Err())
	})
	return item, err
}

func lastUse(path string) (time.Time, error) {
	st, err := durable.Lstat(path)
	if st.Regular && st.Used.After(st.Modified) {
		return st.Used, err
	}
	return st.Modified, err
}

// Drop implements cas.Collector.
func (f Folders) Drop(ctx context.Context, path string, before time.Time) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if used, err := lastUse(path); err != nil || !used.Before(before) {
		return false, existing(err)
	}
	aside := path
	if !strings.HasPrefix(filepath.Base(path), goneName) {
		aside = filepath.Join(filepath.Dir(path), goneName+filepath.Base(path))
		_ = os.RemoveAll(aside) // of one who was interrupted
		if err := os.Rename(path, aside); err != nil {
			return false, existing(err)
		}
	}
	// Somebody may have begun to use it since.
	if used, err := lastUse(aside); err == nil && !used.Before(before) && os.Rename(aside, path) == nil {
		return false, nil
	}
	return true, os.RemoveAll(aside)
}

// existing returns err unless it says that something is not there.
func existing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
