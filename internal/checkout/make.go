package checkout

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/towpath/towpath/internal/cas/durable"
	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/tree"
)

// make makes the tree d in a private folder.
func (c *Checkouts) make(ctx context.Context, d digest.Digest) (string, error) {
	dir, err := c.temp.Mkdir(tree.ModeFolder)
	if err != nil {
		return "", err
	}
	m := &maker{c: c, dir: dir}
	err = tree.Spread(ctx, c.store, d, tree.Visitor{
		Folder: m.folder,
		Leaves: func(leaves []tree.Entry) error { return m.leaves(ctx, leaves) },
	})
	if err == nil {
		err = m.finish()
	}
	if err != nil {
		_ = os.RemoveAll(dir)
		return "", err
	}
	return dir, nil
}

type maker struct {
	c   *Checkouts
	dir string

	mu      sync.Mutex
	folders []string // of the tree, besides its root
}

func (m *maker) folder(path string, _ int) error {
	if path == "" {
		return nil
	}
	target, err := tree.Localize(m.dir, path)
	if err != nil {
		return err
	}
	if err := tree.MakeFolder(target); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.folders = append(m.folders, target)
	return nil
}

func (m *maker) leaves(ctx context.Context, leaves []tree.Entry) error {
	for _, e := range leaves {
		if err := ctx.Err(); err != nil {
			return err
		}
		target, err := tree.Localize(m.dir, e.Path)
		if err != nil {
			return err
		}
		if e.Kind == tree.KindSymlink {
			if err := os.Symlink(filepath.FromSlash(e.Target), target); err != nil {
				return err
			}
			err = m.c.settle(target, untouched())
		} else {
			err = m.c.file(ctx, e, target)
		}
		if err != nil {
			return fmt.Errorf("file %q: %w", e.Path, err)
		}
	}
	return nil
}

// finish settles the folders, which nothing is added to any more. The time when the root was last used is now.
func (m *maker) finish() error {
	var group errgroup.Group
	for some := range slices.Chunk(m.folders, 256) {
		group.Go(func() error {
			for _, folder := range some {
				if err := m.c.settle(folder, untouched()); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	// Temp leaves the mode of what it makes to the umask.
	if info, err := os.Lstat(m.dir); err != nil || info.Mode() != fs.ModeDir|tree.ModeFolder {
		if err := os.Chmod(m.dir, tree.ModeFolder); err != nil {
			return err
		}
	}
	return m.c.settle(m.dir, time.Now())
}

// settle gives what was made its owner and its times.
func (c *Checkouts) settle(path string, accessed time.Time) error {
	if c.uid >= 0 || c.gid >= 0 {
		if err := os.Lchown(path, c.uid, c.gid); err != nil {
			return err
		}
	}
	return stamp(path, accessed)
}

// file makes target the file e: a link to the one that is kept, or else a copy, which is kept for the next.
func (c *Checkouts) file(ctx context.Context, e tree.Entry, target string) error {
	kept := c.pooled(e)
	err := link(kept, target)
	if err == nil {
		info, err := os.Lstat(target)
		if err != nil {
			return err
		}
		if isFile(info, e) {
			return nil
		}
		if err := errors.Join(os.Remove(target), discard(kept)); err != nil {
			return err
		}
	}
	// The file is missing, was damaged, or has as many links as the file system lets it have: whatever it is, a copy will do.
	if err := c.files.Write(ctx, e, target); err != nil {
		return err
	}
	if err := c.settle(target, untouched()); err != nil {
		return err
	}
	if isFull(err) {
		_ = discard(kept)
	}
	c.keep(target, kept)
	return nil
}

// keep keeps the file target for other trees. Where that fails, they get copies of their own.
func (c *Checkouts) keep(target, kept string) {
	err := link(target, kept)
	if errors.Is(err, fs.ErrNotExist) && os.MkdirAll(filepath.Dir(kept), 0o777) == nil {
		_ = link(target, kept)
	}
}

func discard(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// publish gives the finished tree its name, unless another has it already.
func (c *Checkouts) publish(made, path string) (bool, error) {
	err := durable.Publish(made, path)
	// Whoever collects may remove an empty generation as often as it is made, but hardly this often in a row.
	for attempt := 0; errors.Is(err, fs.ErrNotExist) && attempt < 10; attempt++ {
		c.bury()
		if err = begin(filepath.Dir(path)); err == nil {
			err = durable.Publish(made, path)
		}
	}
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	return err == nil, err
}

// begin makes the folder of trees of a generation. Who mounts a tree may be another user than who made it.
func begin(trees string) error {
	if err := os.MkdirAll(trees, 0o755); err != nil {
		return err
	}
	return errors.Join(os.Chmod(filepath.Dir(trees), 0o755), os.Chmod(trees, 0o755))
}

// drop removes a tree that is not what it should be, and with it the files that are not from those that are kept.
func (c *Checkouts) drop(path string, damaged []tree.Entry) error {
	for _, e := range damaged {
		if err := discard(c.pooled(e)); err != nil {
			return err
		}
	}
	return c.takeAway(path)
}

// takeAway removes a tree. It vanishes at once and as a whole.
func (c *Checkouts) takeAway(path string) error {
	private, err := c.temp.Mkdir(0o700)
	if err != nil {
		return err
	}
	err = os.Rename(path, filepath.Join(private, "tree"))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, os.RemoveAll(private))
}

// isFile tells whether info is that of the file e as it was made.
func isFile(info fs.FileInfo, e tree.Entry) bool {
	return info.Mode() == modeOf(e) && info.Size() == e.Digest.Size && info.ModTime().Equal(untouched())
}
