package local

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
)

// workDir is a folder for workspaces that processes share. Each of them has a subfolder there, its session, whose lock it holds for as long as it
// lives: the system lets go of the lock however the process ends, and who comes next removes what is left.
type workDir struct {
	session string
	lock    *os.File
	last    atomic.Uint64
}

// workspace is what one execution has.
type workspace struct {
	dir  string // holds the others
	root string
	home string
	tmp  string
}

const lockName = "lock"

func openWorkDir(dir string) (*workDir, error) {
	// Commands learn the names of their folders, and must not have to know where links lead.
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return nil, err
	}
	// Nobody makes or removes a session without the gate: one that is not locked yet looks like one that is not locked any more.
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
	return &workDir{session: session, lock: held}, nil
}

func openLock(path string) (*os.File, error) { return os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666) }

// removeDead removes the sessions that nobody holds. What cannot be removed, being another user's perhaps, stays.
func removeDead(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
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
			continue
		}
		held.Close()
	}
	return nil
}

// newWorkspace makes the folders of an execution. The names are short, as some programs make sockets in TMPDIR.
func (d *workDir) newWorkspace() (workspace, error) {
	dir := filepath.Join(d.session, strconv.FormatUint(d.last.Add(1), 36))
	w := workspace{dir: dir, root: filepath.Join(dir, "work"), home: filepath.Join(dir, "home"), tmp: filepath.Join(dir, "tmp")}
	for _, folder := range []string{w.dir, w.root, w.home, w.tmp} {
		if err := os.Mkdir(folder, 0o755); err != nil {
			return workspace{}, errors.Join(err, removeAll(dir))
		}
	}
	return w, nil
}

func (d *workDir) close() error {
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
	_ = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if entry == nil || !entry.IsDir() {
			return nil
		}
		if err != nil {
			return nil // it was made readable just before, and is not: RemoveAll says why
		}
		return os.Chmod(path, 0o700)
	})
	return os.RemoveAll(dir)
}
