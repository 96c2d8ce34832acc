package cli

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// statDisk returns how much an ordinary user may still write to the file system of a folder, and what kind it is.
func statDisk(folder string) (disk, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(folder, &s); err != nil {
		return disk{}, err
	}
	d := disk{free: int64(s.Bavail) * s.Bsize}
	switch uint32(s.Type) {
	case unix.EXT4_SUPER_MAGIC:
		d.kind = "ext4"
	case unix.BTRFS_SUPER_MAGIC:
		d.kind = "btrfs"
	case unix.XFS_SUPER_MAGIC:
		d.kind = "xfs"
	case unix.F2FS_SUPER_MAGIC:
		d.kind = "f2fs"
	case 0x2fc12fc1:
		d.kind = "zfs"
	case unix.TMPFS_MAGIC:
		d.kind, d.fleeting = "tmpfs", true
	case unix.OVERLAYFS_SUPER_MAGIC:
		d.kind = "overlayfs"
	case unix.NFS_SUPER_MAGIC:
		d.kind, d.remote = "nfs", true
	case unix.SMB_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC:
		d.kind, d.remote = "smb", true
	case unix.V9FS_MAGIC:
		d.kind, d.remote = "9p", true
	case unix.FUSE_SUPER_MAGIC:
		d.kind, d.remote = "fuse", true
	default:
		d.kind = fmt.Sprintf("file system %#x", uint32(s.Type))
	}
	return d, nil
}
