package durable

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/windows"
)

// SyncsLate tells whether a file can be synced after it was closed. On Windows flushing needs a handle for writing, which a
// read-only file does not give: files are synced before they are closed.
const SyncsLate = false

func lockFile(f *os.File) error { return lockFileEx(f, windows.LOCKFILE_EXCLUSIVE_LOCK) }

func tryLockFile(f *os.File) bool {
	return lockFileEx(f, windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY) == nil
}

func lockFileEx(f *os.File, flags uint32) error {
	return windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, new(windows.Overlapped))
}

// Publish gives the file tmp the name final unless that is taken, which is an error that matches fs.ErrExist.
func Publish(tmp, final string) error {
	from, err := windows.UTF16PtrFromString(tmp)
	if err != nil {
		return err
	}
	to, err := windows.UTF16PtrFromString(final)
	if err != nil {
		return err
	}
	if err := windows.MoveFileEx(from, to, windows.MOVEFILE_WRITE_THROUGH); err != nil {
		return &os.LinkError{Op: "rename", Old: tmp, New: final, Err: err}
	}
	return nil
}

// Replace gives the file tmp the name final, whatever had it. A read-only file in the way has to go first.
func Replace(tmp, final string) error {
	if err := os.Remove(final); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Rename(tmp, final)
}

const noatime = 0 // there is no such flag

// StartWriteback does nothing here.
func StartWriteback(string) {}

// syncFileSystem does nothing here, which it tells.
func syncFileSystem(*os.File) bool { return false }

// SyncFile makes the content of f durable.
func SyncFile(f *os.File) error { return f.Sync() }

// SyncDir does nothing: MOVEFILE_WRITE_THROUGH makes names durable.
func SyncDir(string) error { return nil }

// Barrier does nothing: SyncFile has reached the disk.
func Barrier(string) error { return nil }
