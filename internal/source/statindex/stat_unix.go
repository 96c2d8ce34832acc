//go:build unix

package statindex

import (
	"os"

	"golang.org/x/sys/unix"
)

// FromUnix converts what stat(2) answers.
func FromUnix(st *unix.Stat_t) Stat {
	return Stat{
		Size:   st.Size,
		Mtime:  unix.TimespecToNsec(st.Mtim),
		Ctime:  unix.TimespecToNsec(st.Ctim),
		Inode:  st.Ino,
		Device: uint64(st.Dev),
		Mode:   uint32(st.Mode),
	}
}

// StatFile is fstat(2).
func StatFile(f *os.File) (Stat, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return Stat{}, &os.PathError{Op: "fstat", Path: f.Name(), Err: err}
	}
	return FromUnix(&st), nil
}
