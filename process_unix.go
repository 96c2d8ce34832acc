//go:build unix

package towpath

import (
	"fmt"
	"os"
	"syscall"
)

// closeOnExec keeps file descriptors from the processes that a stage starts.
func closeOnExec(fds ...int) error {
	for _, fd := range fds {
		var stat syscall.Stat_t
		if err := syscall.Fstat(fd, &stat); err != nil {
			return fmt.Errorf("file descriptor %d: %w", fd, err)
		}
		syscall.CloseOnExec(fd)
	}
	return nil
}

// replaceProcess returns only where it fails.
func replaceProcess(path string, args []string) error {
	return &os.PathError{Op: "exec", Path: path, Err: syscall.Exec(path, args, os.Environ())}
}
