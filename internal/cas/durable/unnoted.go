package durable

import (
	"errors"
	"io"
	"os"
)

// OpenUnnoted opens a file to read it such that the system does not take that for a use, where the system can.
func OpenUnnoted(path string) (*os.File, error) {
	if noatime != 0 {
		if f, err := os.OpenFile(path, os.O_RDONLY|noatime, 0); !errors.Is(err, os.ErrPermission) {
			return f, err
		}
		// Only the owner may; the file can perhaps be read all the same.
	}
	return os.Open(path)
}

// ReadUnnoted returns what OpenUnnoted lets read, at most limit bytes and one more.
func ReadUnnoted(path string, limit int64) ([]byte, error) {
	f, err := OpenUnnoted(path)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	return b, errors.Join(err, f.Close())
}
