package local

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/sandbox"
)

// workDir is a folder for workspaces that processes share. Each of them has a subfolder there, its session, whose lock it
// holds for as long as it lives: the system lets go of the lock however the process ends, and who comes next removes what is
// left.
type workDir struct {
	session string
	lock    *os.File

	unusable error // why there can be no workspaces

	owner   int  // of the folders of a workspace, -1 for who makes them
	overlay bool // a workspace has a folder for the use of the system

	mu   sync.Mutex
	last uint64
	free []*workspace
}

// workspace is what one execution has: empty folders.
type workspace struct {
	dir             string // holds the others
	root, home, tmp string
	overlay         string        // what an overlay needs besides root, or empty
	made            []os.FileInfo // of the folders
}

func (w *workspace) folders() []string {
	if w.overlay == "" {
		return []string{w.root, w.home, w.tmp}
	}
	return []string{w.root, w.home, w.tmp, w.overlay}
}

const lockName = "lock"

// openWorkDir opens the folder dir. Where it cannot be written to that is told by acquire: who finds all results in a read-only cache runs nothing.
func openWorkDir(dir string) (*workDir, error) {
	w, err := makeWorkDir(dir)
	if err != nil && (cas.IsReadOnly(err) || cas.IsFull(err)) {
		return &workDir{session: filepath.Join(dir, "none"), unusable: cas.Writing(dir, err), owner: -1}, nil
	}
	return w, err
}

func makeWorkDir(dir string) (*workDir, error) {
	// Commands learn the names of their folders, and must not have to know where links lead.
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	spread(dir)
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return nil, err
	}
	// Nobody makes or removes a session without the gate: one that is not locked yet looks like one that is not locked any
	// more.
	gate, err := openLock(filepath.Join(dir, lockName))
	if err != nil {
		return nil, err
	}
	defer gate.Close()
	if err := lock(gate); err != nil {
		return nil, fmt.Errorf("lock %s: %w", gate.Name(), err)
	}
	if err := removeDead(dir); err != nil {
		return nil, err
	}
	session, err := os.MkdirTemp(dir, "")
	if err != nil {
		return nil, err
	}
	held, err := openLock(filepath.Join(session, lockName))
	if err != nil {
		return nil, err
	}
	if err := lock(held); err != nil {
		held.Close()
		return nil, fmt.Errorf("lock %s: %w", held.Name(), err)
	}
	return &workDir{session: session, lock: held, owner: -1}, nil
}

func openLock(path string) (*os.File, error) { return os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666) }

// removeDead removes the sessions that nobody holds, and the control groups of processes that are dead. What cannot be removed, being another user's perhaps, stays.
func removeDead(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	dead := false
	for _, entry := range entries {
		if !entry.IsDir() {
			continue
		}
		session := filepath.Join(dir, entry.Name())
		held, err := openLock(filepath.Join(session, lockName))
		if err != nil {
			continue
		}
		if tryLock(held) {
			killMarked(0, "TMPDIR="+session+string(filepath.Separator))
			_ = held.Close() // Windows removes no open file; the gate keeps others out
			_ = removeAll(session)
			dead = true
			continue
		}
		held.Close()
	}
	if dead {
		sandbox.OpenGroups()
	}
	return nil
}

// acquire returns a workspace, which release takes back. Folders are used again where nothing can have been left in them: on
// large ext4 file systems making the four of them takes as long as starting a process twice (0.6 ms each, measured with 264
// GB).
func (d *workDir) acquire() (*workspace, error) {
	if d.unusable != nil {
		return nil, d.unusable
	}
	d.mu.Lock()
	if n := len(d.free); n > 0 {
		w := d.free[n-1]
		d.free = d.free[:n-1]
		d.mu.Unlock()
		return w, nil
	}
	d.last++
	// The names are short, as some programs make sockets in TMPDIR.
	dir := filepath.Join(d.session, strconv.FormatUint(d.last, 36))
	d.mu.Unlock()
	w := &workspace{dir: dir, root: filepath.Join(dir, "work"), home: filepath.Join(dir, "home"), tmp: filepath.Join(dir, "tmp")}
	if d.overlay {
		w.overlay = filepath.Join(dir, "overlay")
	}
	if err := w.make(d.owner); err != nil {
		return nil, errors.Join(err, removeAll(dir))
	}
	return w, nil
}

// release removes what is in a workspace, and the workspace itself unless it is as good as new. What cannot be removed now
// is not the step's fault, and not lost either: close and removeDead come back to it.
func (d *workDir) release(w *workspace) {
	if !canFindProcesses || !w.clear() {
		_ = removeAll(w.dir)
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.free = append(d.free, w)
}

func (w *workspace) make(owner int) error {
	if err := os.Mkdir(w.dir, 0o755); err != nil {
		return err
	}
	for _, folder := range w.folders() {
		if err := os.Mkdir(folder, 0o755); err != nil {
			return err
		}
		if owner >= 0 {
			if err := os.Chown(folder, owner, owner); err != nil {
				return err
			}
		}
		info, err := os.Lstat(folder)
		if err != nil {
			return err
		}
		w.made = append(w.made, info)
	}
	return nil
}

// clear empties the folders, and tells whether they are the ones that were made and as they were made.
func (w *workspace) clear() bool {
	for i, folder := range w.folders() {
		info, err := os.Lstat(folder)
		if err != nil || !os.SameFile(info, w.made[i]) || info.Mode() != w.made[i].Mode() || isMarkedFolder(folder, w.overlay != "" && (folder == w.root || folder == w.overlay)) {
			return false
		}
		entries, err := os.ReadDir(folder)
		if err != nil {
			return false
		}
		for _, entry := range entries {
			if removeAll(filepath.Join(folder, entry.Name())) != nil {
				return false
			}
		}
	}
	entries, err := os.ReadDir(w.dir)
	return err == nil && len(entries) == len(w.made)
}

func (d *workDir) close() error {
	if d.unusable != nil {
		return nil
	}
	if err := d.lock.Close(); errors.Is(err, fs.ErrClosed) {
		return nil
	}
	return removeAll(d.session)
}

// removeAll removes a folder also where folders in it forbid that. It does not follow links.
func removeAll(dir string) error {
	if err := os.RemoveAll(dir); err == nil {
		return nil
	}
	_ = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, _ error) error {
		if entry != nil && entry.IsDir() {
			_ = os.Chmod(path, 0o700) // before it is read; RemoveAll says why if it does not help
		}
		return nil
	})
	return os.RemoveAll(dir)
}
