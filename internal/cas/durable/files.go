package durable

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
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
	var aside string
	err := t.place(func(p string) error {
		aside = p
		err := os.Rename(path, p)
		if _, there := os.Lstat(path); errors.Is(err, fs.ErrNotExist) && there != nil {
			return nil // it is the file that is gone, not the folder
		}
		return err
	})
	if err != nil && excused(err) {
		return true, os.Remove(path) // no room to move it to: this is why it goes
	}
	if err != nil {
		return false, err
	}
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

// gone returns err unless it says that a file is not there.
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
