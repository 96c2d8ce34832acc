package local

import (
	"os"
	"strings"

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

// isMarkedFolder tells whether a folder has attributes that a command may have given it. Where overlay is set it is a folder of an overlay,
// which has attributes there that are not a command's: those that a command gives are not seen as the overlay's own.
func isMarkedFolder(dir string, overlay bool) bool {
	var buf [4096]byte
	n, err := unix.Llistxattr(dir, buf[:])
	if err == unix.ENOTSUP {
		return false
	}
	if err != nil {
		return true
	}
	const own = "user.overlay."
	for name := range strings.SplitSeq(string(buf[:n]), "\x00") {
		ofOverlay := overlay && strings.HasPrefix(name, own) && !strings.HasPrefix(name, own+"overlay.")
		if name != "" && !ofOverlay && !strings.HasPrefix(name, "security.") {
			return true
		}
	}
	return false
}
