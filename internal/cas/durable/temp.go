package durable

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/towpath/towpath/internal/cas"
)

// Temp is a folder for files that are still being written. It is shared by processes: each Temp writes into a subfolder of its
// own, whose lock it holds for as long as it lives, so that what a dead process left can be told from work in progress and is
// removed by whoever opens the folder next. The kernel lets go of the lock however the process ends.
type Temp struct {
	dir string

	mu     sync.Mutex
	own    string   // made by the first Create, so that who only reads writes nothing
	lock   *os.File // held on own
	next   uint64
	closed bool
}

const (
	lockName = "lock"
	// asideName begins the names of files that Discard moves away while there is no room for an own folder.
	asideName = "aside-"
)

// OpenTemp makes dir if need be and removes what dead processes left in it. Where the disk is read-only or full both are put off to whoever writes
// there next.
func OpenTemp(dir string) (*Temp, error) {
	t := &Temp{dir: dir}
	if err := t.sweep(); err != nil && !cas.IsFull(err) && !cas.IsReadOnly(err) {
		return nil, err
	}
	return t, nil
}

// Create makes a new file, open for writing and with the permissions perm for everyone who opens it later.
func (t *Temp) Create(perm os.FileMode) (f *os.File, err error) {
	err = t.place(func(path string) error {
		f, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
		return err
	})
	return f, err
}

// place has create make a file at a path that is new.
func (t *Temp) place(create func(path string) error) error {
	for attempt := 0; ; attempt++ {
		own, path, err := t.name()
		if err != nil {
			return err
		}
		err = create(path)
		if errors.Is(err, fs.ErrNotExist) && attempt == 0 {
			t.forget(own) // someone removed the folder under us: make another
			continue
		}
		return err
	}
}

// name returns a path that is new, and the folder that it is in.
func (t *Temp) name() (own, path string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return "", "", &fs.PathError{Op: "create in", Path: t.dir, Err: fs.ErrClosed}
	}
	if t.own == "" {
		if err := t.begin(); err != nil {
			return "", "", err
		}
	}
	t.next++
	return t.own, t.own + string(filepath.Separator) + strconv.FormatUint(t.next, 36), nil
}

// forget gives up the folder own, unless that has been done.
func (t *Temp) forget(own string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.own == own {
		_ = t.end()
	}
}

// Close removes the files that were not published. Create fails afterwards.
func (t *Temp) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	return t.end()
}

// begin makes the own folder. The folder's gate keeps sweepers out until it is locked.
func (t *Temp) begin() error {
	gate, err := t.gate()
	if err != nil {
		return err
	}
	defer gate.Close()
	own := filepath.Join(t.dir, fmt.Sprintf("%d-%s", os.Getpid(), rand.Text()[:10]))
	if err := os.Mkdir(own, 0o777); err != nil {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(own, lockName), os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return err
	}
	if err := lockFile(lock); err != nil {
		lock.Close()
		return &fs.PathError{Op: "lock", Path: lock.Name(), Err: err}
	}
	t.own, t.lock = own, lock
	return nil
}

func (t *Temp) end() error {
	if t.own == "" {
		return nil
	}
	err := errors.Join(t.lock.Close(), os.RemoveAll(t.own))
	t.own, t.lock = "", nil
	return err
}

// gate returns the lock that is held while own folders are made or swept. Closing it opens the gate.
func (t *Temp) gate() (*os.File, error) {
	if err := os.MkdirAll(t.dir, 0o777); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(t.dir, lockName), os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	if err := lockFile(f); err != nil {
		f.Close()
		return nil, &fs.PathError{Op: "lock", Path: f.Name(), Err: err}
	}
	return f, nil
}

// sweep removes the subfolders that nobody holds, and what was moved aside: while the gate is held, nobody looks at that. What cannot be removed is left for the next one who comes.
func (t *Temp) sweep() error {
	entries, err := os.ReadDir(t.dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = os.MkdirAll(t.dir, 0o777)
	}
	if err != nil {
		return err
	}
	var gate *os.File
	for _, e := range entries {
		aside := !e.IsDir() && strings.HasPrefix(e.Name(), asideName)
		if !e.IsDir() && !aside {
			continue
		}
		if gate == nil {
			if gate, err = t.gate(); err != nil {
				return err
			}
			defer gate.Close()
		}
		own := filepath.Join(t.dir, e.Name())
		if aside {
			_ = os.Remove(own)
			continue
		}
		lock, err := os.OpenFile(filepath.Join(own, lockName), os.O_RDWR, 0)
		if err == nil {
			free := tryLockFile(lock)
			lock.Close()
			if !free {
				continue
			}
		} else if !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		_ = os.RemoveAll(own)
	}
	return nil
}
