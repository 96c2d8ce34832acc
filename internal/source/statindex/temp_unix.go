//go:build !windows

package statindex

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// createTemp opens the temporary file of the index at path, empty and locked for as long as it is open. It is nil while another process
// saves the same index: what that has seen is as good.
func createTemp(path string) (*os.File, error) {
	for {
		f, err := os.OpenFile(tempName(path), os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		if !tryLock(f) {
			return nil, f.Close()
		}
		if isAt(f, tempName(path)) {
			return f, f.Truncate(0)
		}
		f.Close() // it was renamed or swept between being opened and being locked
	}
}

// publish gives the temporary file the name path and closes it. The lock ends after the file has its name, so nobody writes to it.
func publish(tmp *os.File, path string) error {
	return errors.Join(os.Rename(tmp.Name(), path), tmp.Close())
}

// sweep removes the temporary file of a process that was killed.
func sweep(path string) {
	f, err := os.Open(tempName(path))
	if err != nil {
		return
	}
	defer f.Close()
	if tryLock(f) && isAt(f, tempName(path)) {
		_ = os.Remove(tempName(path)) // whoever saves the index next overwrites it
	}
}

func tryLock(f *os.File) bool {
	for {
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != unix.EINTR {
			return err == nil
		}
	}
}

// isAt tells whether f is the file at path.
func isAt(f *os.File, path string) bool {
	mine, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Lstat(path)
	return err == nil && os.SameFile(mine, there)
}
