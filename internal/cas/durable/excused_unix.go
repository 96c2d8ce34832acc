//go:build !windows

package durable

import (
	"errors"
	"io/fs"
	"syscall"
)

// excused tells whether err only says that nothing can be written here.
func excused(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
