package durable

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// ReadFile returns the content of the file path and what the system says of it; the content is nil unless it is a regular file of at most limit bytes
// that nobody cut meanwhile.
func ReadFile(path string, limit int64) ([]byte, Stat, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, Stat{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, Stat{}, err
	}
	stat := statOf(info)
	if !stat.Regular || stat.Size > limit {
		return nil, stat, nil
	}
	b := make([]byte, stat.Size)
	if _, err = io.ReadFull(f, b); err == io.ErrUnexpectedEOF || err == io.EOF {
		return nil, stat, nil
	}
	return b, stat, err
}

// Lstat says what the system knows of path.
func Lstat(path string) (Stat, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return Stat{}, err
	}
	return statOf(info), nil
}

func statOf(info fs.FileInfo) Stat {
	s := Stat{Regular: info.Mode().IsRegular(), Perm: info.Mode().Perm(), Size: info.Size(), Disk: (info.Size() + 4095) &^ 4095, Modified: info.ModTime(), Used: info.ModTime()}
	if d, ok := info.Sys().(*syscall.Win32FileAttributeData); ok {
		s.Used = time.Unix(0, d.LastAccessTime.Nanoseconds())
	}
	return s
}

// syncPath does nothing: files are synced before they are closed, see SyncsLate.
func syncPath(string, fs.FileMode) error { return nil }

// writeFile makes the file path, which must not exist, and syncs it.
func writeFile(path string, b []byte, perm fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(path)
	}
	return err
}
