//go:build !windows

package durable

import (
	"os"

	"golang.org/x/sys/unix"
)

// lockFile waits for the exclusive lock of f, which ends with f's descriptor.
func lockFile(f *os.File) error {
	for {
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != unix.EINTR {
			return err
		}
	}
}

// tryLockFile tells whether f could be locked at once.
func tryLockFile(f *os.File) bool {
	for {
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != unix.EINTR {
			return err == nil
		}
	}
}
