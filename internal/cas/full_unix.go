//go:build !windows

package cas

import (
	"errors"
	"syscall"
)

// IsFull tells whether err says that a disk has no room, or that its user may have no more.
func IsFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

func onReadOnlyDisk(err error) bool { return errors.Is(err, syscall.EROFS) }
