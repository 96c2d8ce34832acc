package durable

import (
	"errors"
	"io/fs"
)

// excused tells whether err only says that nothing can be written here.
func excused(err error) bool { return errors.Is(err, fs.ErrPermission) }
