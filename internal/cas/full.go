package cas

import (
	"errors"
	"fmt"
	"io/fs"
)

// DiskError reports that a folder of the cache cannot be written to: its disk is full, or it is not this user's to write. What was there before is
// there still, and nothing half-written is.
type DiskError struct {
	// Dir is the folder.
	Dir string
	// Full tells that there is no room; otherwise writing is not allowed.
	Full bool
	Err  error
}

func (e *DiskError) Error() string {
	if e.Full {
		return fmt.Sprintf("the disk of %s is full: %v", e.Dir, e.Err)
	}
	return fmt.Sprintf("%s cannot be written to: %v", e.Dir, e.Err)
}

func (e *DiskError) Unwrap() error { return e.Err }

// Hint says what to do about it.
func (e *DiskError) Hint() string {
	if e.Full {
		return "free space or run `tow cache gc`; nothing is lost, and the next run goes on from here"
	}
	return "a cache that is read-only serves results and takes no new ones: name another with --cache-dir or TOW_CACHE_DIR"
}

// IsReadOnly tells whether err says that something may not be written to, by this user or by anybody.
func IsReadOnly(err error) bool { return errors.Is(err, fs.ErrPermission) || onReadOnlyDisk(err) }

// Writing returns err, which happened while something was written below dir, as a *DiskError if it is one.
func Writing(dir string, err error) error {
	var known *DiskError
	if err == nil || errors.As(err, &known) {
		return err
	}
	full := IsFull(err)
	if full || IsReadOnly(err) {
		return &DiskError{Dir: dir, Full: full, Err: err}
	}
	return err
}
