package checkout

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/tree"
)

// state is what there is of a tree.
type state struct {
	there   bool
	strange bool         // something is missing, or too much, or a folder or symlink is not as it was made
	damaged []tree.Entry // files that are not as they were made
}

func (s state) sound() bool { return s.there && !s.strange && len(s.damaged) == 0 }

// inspect looks at all of the tree d at path without reading files, and puts its use on record where it is sound.
func (c *Checkouts) inspect(ctx context.Context, d digest.Digest, path string) (state, error) {
	root, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return state{}, nil
	}
	if err != nil {
		return state{}, err
	}
	i := &inspector{dir: path, state: state{there: true}}
	err = tree.Spread(ctx, c.store, d, tree.Visitor{
		Folder: i.folder,
		Leaves: func(leaves []tree.Entry) error {
			i.leaves(leaves)
			return ctx.Err()
		},
	})
	if err != nil {
		return state{}, err
	}
	if now := time.Now(); i.state.sound() && now.Sub(accessed(root)) > refreshAfter {
		// Where that may not be, the tree is collected earlier than it might be.
		if err := note(path, now); errors.Is(err, fs.ErrNotExist) {
			return state{}, nil // it was collected meanwhile
		}
	}
	return i.state, nil
}

// note puts on record that the tree at path is used now.
func note(path string, now time.Time) error {
	if err := stamp(path, now); err != nil {
		return err
	}
	// The system finds the folder first and notes the use then. It counts only if the folder has not been taken away in between.
	_, err := os.Lstat(path)
	return err
}

type inspector struct {
	dir string

	mu    sync.Mutex
	state state
}

func (i *inspector) strange() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.state.strange = true
}

func (i *inspector) folder(path string, entries int) error {
	target := i.dir
	if path != "" {
		var err error
		if target, err = tree.Localize(i.dir, path); err != nil {
			return err
		}
	}
	if !isFolder(target, entries) {
		i.strange()
	}
	return nil
}

// isFolder tells whether there is a folder at path as it was made, with so many entries.
func isFolder(path string, entries int) bool {
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != fs.ModeDir|tree.ModeFolder && !anyMode || !info.ModTime().Equal(untouched()) {
		return false
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	return err == nil && len(names) == entries
}

func (i *inspector) leaves(leaves []tree.Entry) {
	var damaged []tree.Entry
	for _, e := range leaves {
		target, err := tree.Localize(i.dir, e.Path)
		if err != nil {
			i.strange()
			continue
		}
		if e.Kind == tree.KindSymlink {
			if to, err := os.Readlink(target); err != nil || to != filepath.FromSlash(e.Target) {
				i.strange()
			}
			continue
		}
		info, err := os.Lstat(target)
		switch {
		case err != nil:
			i.strange()
		case !isFile(info, e):
			damaged = append(damaged, e)
		}
	}
	if len(damaged) > 0 {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.state.damaged = append(i.state.damaged, damaged...)
	}
}
