package durable

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

const noatime = unix.O_NOATIME

func renameNew(tmp, final string) error {
	err := unix.Renameat2(unix.AT_FDCWD, tmp, unix.AT_FDCWD, final, unix.RENAME_NOREPLACE)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS):
		return errors.ErrUnsupported
	}
	return &os.LinkError{Op: "rename", Old: tmp, New: final, Err: err}
}

// StartWriteback asks the kernel to begin writing the content of the file path, so that the syncs of many files overlap and share commits of the
// file system's journal. It is advice and promises nothing.
func StartWriteback(path string) {
	if fd, err := openRaw(path, unix.O_RDONLY, 0); err == nil {
		_ = unix.SyncFileRange(fd, 0, 0, unix.SYNC_FILE_RANGE_WRITE)
		_ = unix.Close(fd)
	}
}

// syncFileSystem makes everything durable that was written to the file system of f, and tells whether it could. It is tried only where the call is known
// to wait for all and to report what failed since f was opened.
func syncFileSystem(f *os.File) (synced bool) {
	conn, err := f.SyscallConn()
	if err != nil {
		return false
	}
	err = conn.Control(func(fd uintptr) {
		var fs unix.Statfs_t
		if unix.Fstatfs(int(fd), &fs) != nil {
			return
		}
		switch fs.Type {
		case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.TMPFS_MAGIC:
			synced = reportsFailures() && unix.Syncfs(int(fd)) == nil
		}
	})
	return synced && err == nil
}

// reportsFailures tells whether syncfs does, as it has since Linux 5.8.
func reportsFailures() bool {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return false
	}
	var major, minor int
	if n, _ := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor); n != 2 {
		return false
	}
	return major > 5 || major == 5 && minor >= 8
}

// SyncFile makes the content of f durable once Barrier has been called.
func SyncFile(f *os.File) error { return f.Sync() }

// Barrier does nothing: SyncFile has reached the disk.
func Barrier(string) error { return nil }
