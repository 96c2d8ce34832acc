//go:build !linux && !windows

package durable

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

func renameNew(string, string) error { return errors.ErrUnsupported }

const noatime = 0 // there is no such flag

// StartWriteback does nothing here.
func StartWriteback(string) {}

// syncFileSystem does nothing here, which it tells.
func syncFileSystem(*os.File) bool { return false }

// SyncFile makes the content of f durable once Barrier has been called. On macOS fsync hands the data to the drive, whose cache
// is emptied by the costly F_FULLFSYNC: once for all files, in Barrier.
func SyncFile(f *os.File) error {
	for {
		if err := unix.Fsync(int(f.Fd())); err != unix.EINTR {
			return err
		}
	}
}

// Barrier makes durable what was synced before on the file system of the folder dir.
func Barrier(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
