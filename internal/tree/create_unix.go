//go:build unix

package tree

import (
	"os"

	"golang.org/x/sys/unix"
)

// create writes a new file with as few system calls as there can be: opening one as os does takes six more, to see whether it can be polled.
func create(path string, content []byte, mode os.FileMode) error {
	fd, err := ignoringEINTR(func() (int, error) {
		return unix.Open(path, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, uint32(mode))
	})
	if err != nil {
		return &os.PathError{Op: "create", Path: path, Err: err}
	}
	err = fill(fd, content, mode)
	if cerr := unix.Close(fd); err == nil {
		err = cerr
	}
	if err != nil {
		_ = unix.Unlink(path)
		return &os.PathError{Op: "write", Path: path, Err: err}
	}
	return nil
}

func fill(fd int, content []byte, mode os.FileMode) error {
	for len(content) > 0 {
		n, err := ignoringEINTR(func() (int, error) { return unix.Write(fd, content) })
		if err != nil {
			return err
		}
		content = content[n:]
	}
	var now unix.Stat_t
	if err := unix.Fstat(fd, &now); err != nil {
		return err
	}
	if os.FileMode(now.Mode)&0o7777 == mode {
		return nil // the usual umask takes nothing away
	}
	return unix.Fchmod(fd, uint32(mode))
}

// MakeFolder makes a folder with ModeFolder, whatever the umask is.
func MakeFolder(path string) error {
	if _, err := ignoringEINTR(func() (int, error) { return 0, unix.Mkdir(path, uint32(ModeFolder)) }); err != nil {
		return &os.PathError{Op: "mkdir", Path: path, Err: err}
	}
	var now unix.Stat_t
	if err := unix.Lstat(path, &now); err != nil {
		return &os.PathError{Op: "mkdir", Path: path, Err: err}
	}
	if os.FileMode(now.Mode)&0o7777 == ModeFolder {
		return nil
	}
	return os.Chmod(path, ModeFolder)
}

func ignoringEINTR(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != unix.EINTR {
			return n, err
		}
	}
}
