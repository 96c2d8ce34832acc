package durable

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Session says that a process uses the stores, and since when. It is a locked file whose name begins with that moment; the kernel lets go of the
// lock however the process ends.
type Session struct {
	file *os.File
}

// Begin begins a session in the folder dir and removes what dead processes left there. Where dir cannot be written to there are no sessions, which
// is no error: nobody collects anything there either.
func Begin(dir string) *Session {
	if os.MkdirAll(dir, 0o777) != nil {
		return &Session{}
	}
	_, _ = Oldest(dir)
	for range 10 {
		name := filepath.Join(dir, strconv.FormatInt(time.Now().UnixNano(), 10)+"-"+rand.Text()[:10])
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
		if err != nil {
			break
		}
		if !tryLockFile(f) {
			f.Close() // somebody looks whether it is a dead one's, and will remove it
			continue
		}
		if _, err := os.Lstat(name); err == nil {
			return &Session{file: f}
		}
		f.Close() // removed before it was locked
	}
	return &Session{}
}

// Close ends the session.
func (s *Session) Close() error {
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
