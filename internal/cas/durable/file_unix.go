//go:build !windows

package durable

import (
	"errors"
	"io/fs"
	"time"

	"golang.org/x/sys/unix"
)

// ReadFile returns the content of the file path and what the system says of it; the content is nil unless it is a regular file of at most limit bytes
// that nobody cut meanwhile. It makes the four system calls that reading a small file takes, where the os package makes nine.
func ReadFile(path string, limit int64) ([]byte, Stat, error) {
	fd, err := openRaw(path, unix.O_RDONLY, 0)
	if err != nil {
		return nil, Stat{}, err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, Stat{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	stat := statOf(&st)
	if !stat.Regular || stat.Size > limit {
		return nil, stat, nil
	}
	b := make([]byte, stat.Size)
	for n := 0; n < len(b); {
		m, err := unix.Read(fd, b[n:])
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return nil, stat, &fs.PathError{Op: "read", Path: path, Err: err}
		case m == 0:
			return nil, stat, nil
		default:
			n += m
		}
	}
	return b, stat, nil
}

func openRaw(path string, flags int, perm uint32) (int, error) {
	for {
		fd, err := unix.Open(path, flags|unix.O_CLOEXEC, perm)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return -1, &fs.PathError{Op: "open", Path: path, Err: err}
		}
		return fd, nil
	}
}

func statOf(st *unix.Stat_t) Stat {
	return Stat{
		Regular: st.Mode&unix.S_IFMT == unix.S_IFREG, Perm: fs.FileMode(st.Mode & 0o777), Size: st.Size, Disk: int64(st.Blocks) * 512,
		Modified: time.Unix(st.Mtim.Unix()), Used: time.Unix(st.Atim.Unix()),
	}
}

// Lstat says what the system knows of path.
func Lstat(path string) (Stat, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return Stat{}, &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	return statOf(&st), nil
}

// syncPath makes the content of the file path durable once Barrier has been called, and gives it the permissions perm unless they are 0.
func syncPath(path string, perm fs.FileMode) error {
	fd, err := openRaw(path, unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for {
		if err = unix.Fsync(fd); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return &fs.PathError{Op: "sync", Path: path, Err: err}
	}
	if perm != 0 {
		_ = unix.Fchmod(fd, uint32(perm)) // a mark, and no more
	}
	return nil
}

// writeFile makes the file path, which must not exist.
func writeFile(path string, b []byte, perm fs.FileMode) error {
	fd, err := openRaw(path, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, uint32(perm))
	if err != nil {
		return err
	}
	err = fill(fd, b)
	if cerr := unix.Close(fd); err == nil && !errors.Is(cerr, unix.EINTR) {
		err = cerr // EINTR has closed it as well
	}
	if err != nil {
		_ = unix.Unlink(path)
		return &fs.PathError{Op: "write", Path: path, Err: err}
	}
	return nil
}

func fill(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := unix.Write(fd, b)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		b = b[max(n, 0):]
	}
	return nil
}
