//go:build !windows

package tree

import (
	"errors"

	"golang.org/x/sys/unix"
)

// nonBlocking keeps the opening of a named pipe that took the place of a file from waiting for a writer.
const nonBlocking = unix.O_NONBLOCK

// isLoop tells whether symlinks led in a circle or through something that is no folder: to nowhere, that is, rather than outside.
func isLoop(err error) bool { return errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) }
