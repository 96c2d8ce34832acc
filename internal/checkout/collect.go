package checkout

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Entry is a tree that was checked out, by whichever process.
type Entry struct {
	Name string
	// Bytes is what removing the tree frees on the disk once all that were last used before it are removed.
	Bytes int64
	// LastUsed is zero for what was made before the machine was last started: nobody uses that any more.
	LastUsed time.Time
}

// Entries returns all trees, that which was last used the longest ago first.
func (c *Checkouts) Entries(ctx context.Context) ([]Entry, error) {
	entries, err := c.entries()
	if err != nil {
		return nil, fmt.Errorf("list checkouts: %w", err)
	}
	// A file counts for the tree that keeps it the longest.
	counted := map[uint64]bool{}
	for i := range slices.Backward(entries) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if entries[i].Bytes, err = c.uncounted(entries[i].Name, counted); err != nil {
			return nil, fmt.Errorf("list checkouts: %w", err)
		}
	}
	return entries, nil
}

// entries are all trees without their sizes.
func (c *Checkouts) entries() ([]Entry, error) {
	generations, err := list(c.dir)
	if err != nil {
		return nil, err
	}
	var entries []Entry
	for _, g := range generations {
		trees, err := list(filepath.Join(c.dir, g, treesName))
		if err != nil {
			return nil, err
		}
		for _, t := range trees {
			name := g + "/" + t
			used, err := c.lastUsed(name)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, err
			}
			if c.isDead(g) {
				used = time.Time{}
			}
			entries = append(entries, Entry{Name: name, LastUsed: used})
		}
	}
	slices.SortFunc(entries, func(a, b Entry) int {
		if c := a.LastUsed.Compare(b.LastUsed); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	return entries, nil
}

// list returns the names in a folder, none where there is no such folder.
func list(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, nil
}

func (c *Checkouts) lastUsed(name string) (time.Time, error) {
	info, err := os.Lstat(c.path(name))
	if err != nil {
		return time.Time{}, err
	}
	return accessed(info), nil
}

func (c *Checkouts) path(name string) string {
	generation, hex, _ := strings.Cut(name, "/")
	return filepath.Join(c.dir, generation, treesName, hex)
}

// uncounted returns what the tree takes on the disk besides what was counted before.
func (c *Checkouts) uncounted(name string, counted map[uint64]bool) (bytes int64, err error) {
	err = eachIn(c.path(name), func(info fs.FileInfo) {
		inode, links, size := usage(info)
		if links > 1 && !info.IsDir() {
			if counted[inode] {
				return
			}
			counted[inode] = true
		}
		bytes += size
	})
	return bytes, err
}

// eachIn calls fn for everything in the tree at path and for its root. That is no use of it.
func eachIn(path string, fn func(info fs.FileInfo)) error {
	f, err := openQuietly(path)
	if err != nil {
		return vanished(err)
	}
	defer f.Close()
	root, err := f.Stat()
	if err != nil {
		return err
	}
	fn(root)
	names, err := f.Readdirnames(-1)
	if err != nil {
		return vanished(err)
	}
	for _, name := range names {
		err := filepath.WalkDir(filepath.Join(path, name), func(_ string, e fs.DirEntry, err error) error {
			if err != nil {
				return vanished(err)
			}
			info, err := e.Info()
			if err != nil {
				return vanished(err)
			}
			fn(info)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// vanished forgives that something was removed while it was looked at.
func vanished(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Collect removes what was last used before a moment and returns how many bytes of the disk that freed. A tree that is used at the same time stays.
func (c *Checkouts) Collect(ctx context.Context, before time.Time) (freed int64, err error) {
	entries, err := c.entries()
	if err != nil {
		return 0, fmt.Errorf("collect checkouts: %w", err)
	}
	for _, e := range entries {
		if !e.LastUsed.Before(before) {
			break
		}
		_, n, err := c.remove(ctx, e.Name, before)
		freed += n
		if err != nil {
			return freed, fmt.Errorf("collect checkouts: %w", err)
		}
	}
	n, err := c.sweep(ctx)
	if err != nil {
		return freed + n, fmt.Errorf("collect checkouts: %w", err)
	}
	return freed + n, nil
}

// Remove removes the tree of that name unless it was used since Entries told of it: then it does nothing, as where there is no such tree. It tells whether
// it did, and how many bytes of the disk that freed, which may be none.
func (c *Checkouts) Remove(ctx context.Context, e Entry) (removed bool, freed int64, err error) {
	if removed, freed, err = c.remove(ctx, e.Name, e.LastUsed.Add(1)); err != nil {
		return removed, freed, fmt.Errorf("remove checkout %s: %w", e.Name, err)
	}
	return removed, freed, nil
}

// remove removes a tree, if it was last used before a moment, and the files that only it had. It is taken away first and then looked at again, so that
// whoever begins to use it either finds it gone and makes it anew, or keeps it.
func (c *Checkouts) remove(ctx context.Context, name string, before time.Time) (removed bool, freed int64, err error) {
	if err := ctx.Err(); err != nil {
		return false, 0, err
	}
	private, err := c.temp.Mkdir(0o700)
	if err != nil {
		return false, 0, err
	}
	defer os.RemoveAll(private)
	taken, path := filepath.Join(private, "tree"), c.path(name)
	if err := os.Rename(path, taken); err != nil {
		return false, 0, vanished(err)
	}
	info, err := os.Lstat(taken)
	if err != nil {
		return false, 0, err
	}
	generation, _, _ := strings.Cut(name, "/")
	if !c.isDead(generation) && !accessed(info).Before(before) {
		_, err := c.publish(taken, path)
		return false, 0, err
	}
	last, err := c.unlinked(taken, &freed)
	if err != nil {
		return false, 0, err
	}
	if err := os.RemoveAll(taken); err != nil {
		return false, 0, err
	}
	return true, freed, c.index.remove(filepath.Join(c.dir, generation, filesName), last)
}

// unlinked returns the files of the tree at path that no other tree has, and adds to freed what goes with the tree.
func (c *Checkouts) unlinked(path string, freed *int64) (last map[uint64]bool, err error) {
	names, sizes := map[uint64]uint64{}, map[uint64]int64{}
	err = eachIn(path, func(info fs.FileInfo) {
		inode, links, size := usage(info)
		if !info.Mode().IsRegular() || links <= 1 {
			*freed += size
			return
		}
		names[inode]++
		// The one name that is not in this tree is that under which the file is kept.
		if names[inode] == links-1 {
			sizes[inode] = size
		}
	})
	last = map[uint64]bool{}
	for inode, size := range sizes {
		last[inode] = true
		*freed += size
	}
	return last, err
}

// poolIndex finds the name under which a file is kept. It is made when the first tree of a generation is removed, and a hint: what a name stands for
// now is looked at before it is removed.
type poolIndex struct {
	mu    sync.Mutex
	paths map[string]map[uint64]string // by the files folder of a generation
}

// remove removes the files of a generation that are no longer in any tree.
func (p *poolIndex) remove(files string, inodes map[uint64]bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(inodes) == 0 {
		return nil
	}
	known := p.paths[files]
	if known == nil {
		known = map[uint64]string{}
		err := eachKept(files, func(path string, info fs.FileInfo) error {
			inode, _, _ := usage(info)
			known[inode] = path
			return nil
		})
		if err != nil {
			return err
		}
		if p.paths == nil {
			p.paths = map[string]map[uint64]string{}
		}
		p.paths[files] = known
	}
	for inode := range inodes {
		path := known[inode]
		info, err := os.Lstat(path)
		if err != nil {
			continue // what is left is swept by Collect
		}
		if now, links, _ := usage(info); now == inode && links == 1 {
			if err := discard(path); err != nil {
				return err
			}
			delete(known, inode)
		}
	}
	return nil
}

// eachKept calls fn for every file that is kept in the files folder of a generation.
func eachKept(files string, fn func(path string, info fs.FileInfo) error) error {
	return filepath.WalkDir(files, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return vanished(err)
		}
		if e.IsDir() {
			return nil
		}
		info, err := e.Info()
		if err != nil {
			return vanished(err)
		}
		return fn(path, info)
	})
}

// sweep removes files that are in no tree, and what is left of generations without trees.
func (c *Checkouts) sweep(ctx context.Context) (freed int64, err error) {
	generations, err := list(c.dir)
	if err != nil {
		return 0, err
	}
	for _, g := range generations {
		if g == tempName {
			continue
		}
		folder := filepath.Join(c.dir, g)
		files := filepath.Join(folder, filesName)
		err := eachKept(files, func(path string, info fs.FileInfo) error {
			if _, links, size := usage(info); links == 1 {
				freed += size
				return discard(path)
			}
			return ctx.Err()
		})
		if err != nil {
			return freed, err
		}
		shards, err := list(files)
		if err != nil {
			return freed, err
		}
		// Only what is empty goes; whoever needs it makes it anew.
		for _, shard := range shards {
			_ = os.Remove(filepath.Join(files, shard))
		}
		for _, dir := range []string{files, filepath.Join(folder, treesName), folder} {
			_ = os.Remove(dir)
		}
	}
	return freed, nil
}
