package local

import (
	"bytes"
	"os"

	"golang.org/x/sys/unix"
)

// topDir is FS_TOPDIR_FL of linux/fs.h.
const topDir = 0x00020000

// spread asks the file system to put what is made in dir where there is room, each folder with what will be in it. Otherwise ext4 may
// look through all of a large disk for every folder: 0.6 ms each, measured with 264 GB, against 0.1 ms.
func spread(dir string) {
	f, err := os.Open(dir)
	if err != nil {
		return
	}
	defer f.Close()
	flags, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err != nil || flags&topDir != 0 {
		return
	}
	_ = unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flags|topDir) // other file systems need none
}

// isMarkedFolder tells whether a folder has attributes that a command may have given it; those of overlays are not a command's.
func isMarkedFolder(dir string) bool {
	var buf [4096]byte
	n, err := unix.Llistxattr(dir, buf[:])
	if err == unix.ENOTSUP {
		return false
	}
	if err != nil {
		return true
	}
	for name := range bytes.SplitSeq(buf[:n], []byte{0}) {
		if len(name) > 0 && !bytes.HasPrefix(name, []byte("user.overlay.")) && !bytes.HasPrefix(name, []byte("security.")) {
			return true
		}
	}
	return false
}
