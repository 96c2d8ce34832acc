//go:build !unix

package statindex

import (
	"io/fs"
	"os"
)

// FromInfo converts what the os package knows: no change time and no inode.
func FromInfo(info fs.FileInfo) Stat {
	mode := uint32(info.Mode().Perm())
	switch info.Mode().Type() {
	case 0:
		mode |= TypeRegular
	case fs.ModeDir:
		mode |= TypeFolder
	case fs.ModeSymlink:
		mode |= TypeSymlink
	}
	return Stat{Size: info.Size(), Mtime: info.ModTime().UnixNano(), Mode: mode &^ Executable}
}

// StatFile is File.Stat.
func StatFile(f *os.File) (Stat, error) {
	info, err := f.Stat()
	if err != nil {
		return Stat{}, err
	}
	return FromInfo(info), nil
}
