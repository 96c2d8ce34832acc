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
	"time"

	"github.com/towpath/towpath/internal/cas"
)

// Session says that a process uses the stores, and since when. It is a locked file whose name begins with that moment; the kernel lets go of the
// lock however the process ends.
type Session struct {
	dir   string
	began time.Time

	mu     sync.Mutex
	file   *os.File // nil where there is none: see Begin
	silent bool     // nobody can write here
}

// Begin begins a session in the folder dir and removes what dead processes left there. Where dir may not be written to there are no sessions, which
// is no error: nobody collects anything there either. Where the disk is full it is no error yet, so that room can be made: see Hold.
func Begin(dir string) (*Session, error) {
	s := &Session{dir: dir, began: time.Now()}
	if err := s.Hold(); err != nil && !cas.IsFull(err) {
		return nil, err
	}
	return s, nil
}

// Hold begins the session where Begin found the disk full. Whoever is about to store something calls it, since what it relies on may be collected by
// others as long as it fails. The session counts from Begin on.
func (s *Session) Hold() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file != nil || s.silent {
		return nil
	}
	err := s.begin()
	if err != nil && cas.IsReadOnly(err) {
		s.silent = true
		return nil
	}
	if err != nil {
		return fmt.Errorf("begin a session: %w", err)
	}
	return nil
}

func (s *Session) begin() error {
	if err := os.MkdirAll(s.dir, 0o777); err != nil {
		return err
	}
	_, _ = Oldest(s.dir)
	for range 10 {
		name := filepath.Join(s.dir, strconv.FormatInt(s.began.UnixNano(), 10)+"-"+rand.Text()[:10])
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
		if err != nil {
			return err
		}
		if !tryLockFile(f) {
			f.Close() // somebody looks whether it is a dead one's, and will remove it
			continue
		}
		if _, err := os.Lstat(name); err == nil {
			s.file = f
			return nil
		}
		f.Close() // removed before it was locked
	}
	return fmt.Errorf("lock a file in %s: it is taken or removed each time", s.dir)
}

// Close ends the session.
func (s *Session) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.silent = true
	if s.file == nil {
		return nil
	}
	err := os.Remove(s.file.Name())
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	err = errors.Join(err, s.file.Close())
	s.file = nil
	return err
}

// Oldest returns when the oldest session in the folder dir began, or now when there is none, and removes those of dead processes.
func Oldest(dir string) (time.Time, error) {
	oldest := time.Now()
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return oldest, nil
	}
	if err != nil {
		return time.Time{}, err
	}
	for _, e := range entries {
		text, _, _ := strings.Cut(e.Name(), "-")
		ns, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			continue
		}
		if began := time.Unix(0, ns); alive(filepath.Join(dir, e.Name())) && began.Before(oldest) {
			oldest = began
		}
	}
	return oldest, nil
}

// alive tells whether somebody holds the session file path, and removes it otherwise. One that cannot be looked at counts as held.
func alive(path string) bool {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrPermission) {
		f, err = os.Open(path) // of another user, which can be looked at all the same
	}
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	defer f.Close()
	if !tryLockFile(f) {
		return true
	}
	_ = os.Remove(path)
	return false
}

// Unneeded returns the moment such that no living process relies on what was last used before it: an hour before the oldest session in the folder
// dir began, since everything that a process found since then was noted as used at most that long before (see Use).
func Unneeded(dir string) (time.Time, error) {
	oldest, err := Oldest(dir)
	return oldest.Add(-fresh), err
}
