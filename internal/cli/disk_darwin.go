package cli

import "golang.org/x/sys/unix"

// statDisk returns how much an ordinary user may still write to the file system of a folder, and what kind it is.
func statDisk(folder string) (disk, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(folder, &s); err != nil {
		return disk{}, err
	}
	kind := unix.ByteSliceToString(s.Fstypename[:])
	return disk{free: int64(s.Bavail) * int64(s.Bsize), kind: kind, remote: kind == "nfs" || kind == "smbfs" || kind == "webdav"}, nil
}
