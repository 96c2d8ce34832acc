package tree

import (
	"os"

	"golang.org/x/sys/unix"
)

// cloneFile makes dst share all of src's blocks, where the file system can (btrfs, XFS, bcachefs, …) and both are on the same one.
func cloneFile(dst, src *os.File) error {
	return unix.IoctlFileClone(int(dst.Fd()), int(src.Fd()))
}
