package cas

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// copyRange has the kernel copy up to limit bytes from where src is to where dst is, and moves both. It returns 0 at the end of src.
func copyRange(dst, src *os.File, limit int) (int64, error) {
	for {
		n, err := unix.CopyFileRange(int(src.Fd()), nil, int(dst.Fd()), nil, limit, 0)
		switch {
		case err == nil:
			return int64(n), nil
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EXDEV), errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EOPNOTSUPP),
			errors.Is(err, unix.EBADF), errors.Is(err, unix.EPERM), errors.Is(err, unix.EISDIR):
			return 0, errors.ErrUnsupported
		default:
			return 0, &os.LinkError{Op: "copy", Old: src.Name(), New: dst.Name(), Err: err}
		}
	}
}
