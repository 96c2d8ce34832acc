// Package watch tells that something below some folders changed.
//
// It says where to look again and nothing more: whether a change matters is for who asked to find out. A burst of changes, such as an editor
// that writes a new file and renames it, or a `git checkout`, comes as one. Folders that appear are watched as well. What the system could not
// tell, since too much happened at once, comes as a change of which nothing else is known.
//
// It knows the file system and neither git, pipelines nor runs: what need not be watched is for the caller to say.
package watch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Folder is something to watch.
type Folder struct {
	// Path is absolute. Where there is no such folder, the nearest one above it is watched until there is.
	Path string
	// Deep tells that everything below it counts, and not only what is in it.
	Deep bool
}

// Watcher watches folders. While one goroutine waits in Next, others may call Watch.
type Watcher struct {
	skip   func(path string, dir bool) bool
	system *fsnotify.Watcher
	pace   pace

	mu      sync.Mutex
	folders []Folder
	watched map[string]bool // the folders that the system watches
}

// New returns a Watcher of nothing. What skip holds for is left out, with all that is below it; it may be nil, and has to be safe for concurrent use.
func New(skip func(path string, dir bool) bool) (*Watcher, error) {
	system, err := fsnotify.NewBufferedWatcher(1024)
	if err != nil {
		return nil, limited("start watching files", err)
	}
	if skip == nil {
		skip = func(string, bool) bool { return false }
	}
	return &Watcher{skip: skip, system: system, pace: usualPace(), watched: map[string]bool{}}, nil
}

// Close ends watching.
func (w *Watcher) Close() error { return w.system.Close() }

// LimitError says that the system does not let one watch as much as that.
type LimitError struct {
	// What could not be done.
	What string
	// Hint is what to do about it.
	Hint string
	Err  error
}

func (e *LimitError) Error() string { return fmt.Sprintf("%s: %v", e.What, e.Err) }

// Unwrap returns what the system said.
func (e *LimitError) Unwrap() error { return e.Err }

// limited tells the limits of the system, which are a person's to raise, from other errors.
func limited(what string, err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC):
		return &LimitError{
			What: what, Err: errors.New("the system's limit of watched folders is reached"),
			Hint: "raise it (Linux: `sudo sysctl fs.inotify.max_user_watches=1048576`), or let .gitignore name the folders that do not matter",
		}
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return &LimitError{
			What: what, Err: err,
			Hint: "raise the limit (Linux: `sudo sysctl fs.inotify.max_user_instances=1024`; macOS: `ulimit -n`), or end other programs that watch files",
		}
	}
	return fmt.Errorf("%s: %w", what, err)
}

// Watch replaces what is watched.
func (w *Watcher) Watch(folders []Folder) error {
	w.mu.Lock()
	w.folders = folders
	w.mu.Unlock()
	return w.renew()
}

// renew makes the system watch what is there now of the folders.
func (w *Watcher) renew() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	wanted := map[string]bool{}
	for _, f := range w.folders {
		at := existing(f.Path)
		if !f.Deep || at != f.Path {
			wanted[at] = true
			continue
		}
		if err := w.below(at, wanted); err != nil {
			return err
		}
	}
	for path := range w.watched {
		if !wanted[path] {
			_ = w.system.Remove(path) // it may be gone, and so may the watch
			delete(w.watched, path)
		}
	}
	for path := range wanted {
		// Those that are watched as well: the folder may be another one of that name.
		if err := w.add(path); err != nil {
			return err
		}
		w.watched[path] = true
	}
	return nil
}

// add makes the system watch a folder. One that is gone is no error: the folder above it tells when it comes back.
func (w *Watcher) add(path string) error {
	if err := w.system.Add(path); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) && !errors.Is(err, fs.ErrPermission) {
		return limited("watch "+path, err)
	}
	return nil
}

// below adds a folder and those below it to the wanted ones. What cannot be read cannot be watched, and is left out.
func (w *Watcher) below(top string, wanted map[string]bool) error {
	return filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		switch {
		case d == nil || !d.IsDir():
			return nil
		case err != nil:
			return fs.SkipDir
		case path != top && w.skip(path, true):
			return fs.SkipDir
		}
		wanted[path] = true
		return nil
	})
}

// existing returns the folder, or the nearest one above it that is there.
func existing(path string) string {
	for {
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			return path
		}
		up := filepath.Dir(path)
		if up == path {
			return path
		}
		path = up
	}
}

// Change is what happened at about the same time.
type Change struct {
	// Paths are some of what changed, at most as many as a person would read.
	Paths []string
	// Lost tells that there was more: than the paths, or than the system could tell of.
	Lost bool
	// Last is when the system told of the last of it.
	Last time.Time
}

// Next waits for a change and returns it once things are quiet. The error is that of ctx, or the watching is broken.
func (w *Watcher) Next(ctx context.Context) (Change, error) {
	for {
		c, err := w.pace.collect(ctx, w.system.Events, w.system.Errors, w.counts)
		if err != nil {
			return c, err
		}
		// Folders may have come with what was in them before they were watched, and watches may have gone with folders.
		if err := w.renew(); err != nil {
			return c, err
		}
		if len(c.Paths) > 0 || c.Lost {
			return c, nil
		}
	}
}

// counts tells whether an event is a change of something that is watched. Of folders the permissions do not count.
func (w *Watcher) counts(e fsnotify.Event) bool {
	info, err := os.Lstat(e.Name)
	folder := err == nil && info.IsDir()
	return (e.Op != fsnotify.Chmod || !folder) && !w.skip(e.Name, folder)
}
