//go:build !unix

package source

import (
	"io"
	"os"
	"path/filepath"

	"github.com/towpath/towpath/internal/source/statindex"
)

type folder struct {
	path string
}

func openFolder(path string) (*folder, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, &os.PathError{Op: "open", Path: path, Err: os.ErrInvalid}
	}
	return &folder{path: path}, nil
}

func (f *folder) close() {}

func (f *folder) lstat(name string) (statindex.Stat, error) {
	info, err := os.Lstat(filepath.Join(f.path, name))
	if err != nil {
		return statindex.Stat{}, err
	}
	return statindex.FromInfo(info), nil
}

func statPath(path string) (statindex.Stat, error) {
	info, err := os.Stat(path)
	if err != nil {
		return statindex.Stat{}, err
	}
	return statindex.FromInfo(info), nil
}

type content struct{ file *os.File }

func openContent(path string, _ bool) (*content, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	return &content{file: f}, nil
}

// readSome is File.Read, but 0 without an error is the end.
func (c *content) readSome(b []byte) (int, error) {
	n, err := c.file.Read(b)
	if err == io.EOF {
		err = nil
	}
	return n, err
}

func (c *content) stat() (statindex.Stat, error) { return statindex.StatFile(c.file) }

func (c *content) close() { _ = c.file.Close() }
