package durable

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/towpath/towpath/internal/cas"
)

// Files calls fn for every file that is depth folders below dir. What comes or goes meanwhile may be seen or not.
func Files(ctx context.Context, dir string, depth int, fn func(path string, st Stat)) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		path := filepath.Join(dir, e.Name())
		switch {
		case depth > 0 && e.IsDir():
			err = Files(ctx, path, depth-1, fn)
		case depth == 0:
			var st Stat
			if st, err = Lstat(path); err == nil {
				fn(path, st)
			}
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Discard removes the file path unless it was used at before or later, and tells whether it did. The file is moved away first and looked at then: a use
// that was noted before that is seen here, and one that comes after it finds the file gone.
func (t *Temp) Discard(path string, before time.Time) (bool, error) {
	if st, err := Lstat(path); err != nil || !st.Used.Before(before) {
		return false, gone(err)
	}
	aside, letGo, err := t.moveAside(path)
	if err != nil {
		return false, err
	}
	defer letGo()
	st, err := Lstat(aside)
	if err != nil {
		return false, gone(err)
	}
	if !st.Used.Before(before) {
		if err := Publish(aside, path); !errors.Is(err, fs.ErrExist) {
			return false, err
		}
		return false, os.Remove(aside) // made again meanwhile
	}
	return true, os.Remove(aside)
}

// moveAside moves the file path to where nobody else looks until letGo is called, and returns that place. Where there is no file there will be none there,
// either. On a full disk, which may have no room for a folder of its own, the place is beside those, and the gate keeps sweepers out.
func (t *Temp) moveAside(path string) (aside string, letGo func(), err error) {
	err = t.place(func(p string) error {
		aside = p
		err := os.Rename(path, p)
		if _, there := os.Lstat(path); errors.Is(err, fs.ErrNotExist) && there != nil {
			return nil // it is the file that is gone, not the folder
		}
		return err
	})
	if err == nil || !cas.IsFull(err) {
		return aside, func() {}, err
	}
	gate, err := t.gate()
	if err != nil {
		return "", nil, err
	}
	aside = filepath.Join(t.dir, asideName+rand.Text())
	if err := os.Rename(path, aside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		gate.Close()
		return "", nil, err
	}
	return aside, func() { gate.Close() }, nil
}

// gone returns err unless it says that a file is not there.
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
