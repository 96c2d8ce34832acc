//go:build !windows

package local

import (
	"os"

	"golang.org/x/sys/unix"
)

// lock waits for the lock of f, which is held until f is closed.
func lock(f *os.File) error {
	for {
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != unix.EINTR {
			return err
		}
	}
}

// tryLock tells whether the lock of f was free, and is held now.
func tryLock(f *os.File) bool {
	for {
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != unix.EINTR {
			return err == nil
		}
	}
}
