package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Stat is what a store wants to know of a file.
type Stat struct {
	Regular        bool
	Perm           fs.FileMode
	Size           int64
	Disk           int64 // what the file takes on the disk
	Modified, Used time.Time
}

// fresh is for how long a use is not noted again: the cost is a call for each file and hour.
const fresh = time.Hour

// Use notes that the file path is used now, unless the last note of that, used, is younger than an hour. It tells false when the file is gone, so
// that who has just found it knows. A note that cannot be made, since the file is somebody else's or its file system is read-only, is no error: the
// file is collected earlier than it might be, and is made again.
func Use(path string, used time.Time) (there bool) {
	now := time.Now()
	if now.Sub(used) < fresh {
		return true
	}
	if errors.Is(os.Chtimes(path, now, time.Time{}), fs.ErrNotExist) {
		return false
	}
	// The system finds the file first and notes the use then. It counts only if the file has not been moved away in between.
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// Sync makes the content of the file path durable once Barrier has been called. Where perm is not 0 the file has these permissions then, if that can be.
func Sync(path string, perm fs.FileMode) error { return syncPath(path, perm) }

// Write makes a new file with the content b and the permissions perm, and returns its path. Its time of change is modified unless that is zero.
func (t *Temp) Write(b []byte, perm fs.FileMode, modified time.Time) (path string, err error) {
	err = t.place(func(p string) error {
		path = p
		return writeFile(p, b, perm)
	})
	if err == nil && !modified.IsZero() {
		if err = os.Chtimes(path, time.Time{}, modified); err != nil {
			_ = os.Remove(path)
		}
	}
	return path, err
}

// Folders returns the folders that the files paths are in, and those above them up to top.
func Folders(top string, paths func(yield func(string) bool)) map[string]struct{} {
	dirs := map[string]struct{}{top: {}}
	for p := range paths {
		for dir := filepath.Dir(p); len(dir) > len(top); dir = filepath.Dir(dir) {
			dirs[dir] = struct{}{}
		}
	}
	return dirs
}

// Failures collects what failed, by path. The zero value is ready for use, by many goroutines.
type Failures struct {
	mu     sync.Mutex
	byPath map[string]error
}

// Add notes that err happened to path, unless it is nil.
func (f *Failures) Add(path string, err error) {
	if err == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.byPath == nil {
		f.byPath = map[string]error{}
	}
	f.byPath[path] = err
}

// Of returns what happened to the file path, or to a folder above it up to top.
func (f *Failures) Of(top, path string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for ; len(f.byPath) > 0 && len(path) >= len(top); path = filepath.Dir(path) {
		if err := f.byPath[path]; err != nil {
			return err
		}
	}
	return nil
}
