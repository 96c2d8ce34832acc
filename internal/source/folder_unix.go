//go:build unix

package source

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/towpath/towpath/internal/source/statindex"
)

// folder is an open folder. Names in it are looked up relative to it, which is faster and cannot be led astray by a symlink.
type folder struct {
	fd   int
	path string
}

func openFolder(path string) (*folder, error) {
	fd, err := retry(func() (int, error) {
		return unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return &folder{fd: fd, path: path}, nil
}

func (f *folder) close() { _ = unix.Close(f.fd) }

func (f *folder) lstat(name string) (statindex.Stat, error) {
	var st unix.Stat_t
	err := unix.Fstatat(f.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	for err == unix.EINTR { // not by retry, whose closure would have every st allocated
		err = unix.Fstatat(f.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	}
	if err != nil {
		return statindex.Stat{}, &os.PathError{Op: "lstat", Path: f.path + "/" + name, Err: err}
	}
	return statindex.FromUnix(&st), nil
}

func statPath(path string) (statindex.Stat, error) {
	var st unix.Stat_t
	if _, err := retry(func() (int, error) { return 0, unix.Stat(path, &st) }); err != nil {
		return statindex.Stat{}, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return statindex.FromUnix(&st), nil
}

// content is a regular file that is open for reading. It goes past the os package, which would spend more system calls on
// preparing to wait for a file than it takes to read a small one.
type content struct {
	fd   int
	path string
}

// openContent opens a file without waiting for it (it may have become a pipe); follow allows it to be a symlink.
func openContent(path string, follow bool) (*content, error) {
	flags := unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK
	if !follow {
		flags |= unix.O_NOFOLLOW
	}
	fd, err := retry(func() (int, error) { return unix.Open(path, flags, 0) })
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return &content{fd: fd, path: path}, nil
}

// readSome is read(2): 0 without an error is the end.
func (c *content) readSome(b []byte) (int, error) {
	n, err := retry(func() (int, error) { return unix.Read(c.fd, b) })
	if err != nil {
		return 0, &os.PathError{Op: "read", Path: c.path, Err: err}
	}
	return n, nil
}

func (c *content) stat() (statindex.Stat, error) {
	var st unix.Stat_t
	if _, err := retry(func() (int, error) { return 0, unix.Fstat(c.fd, &st) }); err != nil {
		return statindex.Stat{}, &os.PathError{Op: "fstat", Path: c.path, Err: err}
	}
	return statindex.FromUnix(&st), nil
}

func (c *content) close() { _ = unix.Close(c.fd) }

// retry repeats a system call that a signal interrupted.
func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}
