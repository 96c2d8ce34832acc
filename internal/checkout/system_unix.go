//go:build unix

package checkout

import (
	"io/fs"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/towpath/towpath/internal/tree"
)

// anyMode is for systems without permissions.
const anyMode = false

func modeOf(e tree.Entry) fs.FileMode { return e.Mode() }

// stamp gives the file, folder or symlink at path its times.
func stamp(path string, accessed time.Time) error {
	times := []unix.Timespec{unix.NsecToTimespec(accessed.UnixNano()), unix.NsecToTimespec(untouched().UnixNano())}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, path, times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &os.PathError{Op: "set times", Path: path, Err: err}
	}
	return nil
}

// link gives the file from the name to too. os.Link would wrap an error that is usual here.
func link(from, to string) error {
	for {
		if err := unix.Link(from, to); err != unix.EINTR {
			return err
		}
	}
}

// isFull tells whether a file could not be linked since it has too many links.
func isFull(err error) bool { return err == unix.EMLINK }

// usage returns which file info is of, how many names it has, and what it takes on the disk.
func usage(info fs.FileInfo) (inode, links uint64, bytes int64) {
	s := info.Sys().(*syscall.Stat_t)
	return s.Ino, uint64(s.Nlink), s.Blocks * 512 //nolint:unconvert // Nlink has another type elsewhere
}
