package engine

import (
	"errors"

	"github.com/towpath/towpath/internal/cas"
)

// diskHint says what to do about a disk that is full or may not be written to. It is empty for other errors.
func diskHint(err error) string {
	if disk, ok := errors.AsType[*cas.DiskError](err); ok {
		return disk.Hint()
	}
	if cas.IsFull(err) {
		return "free space or run `tow cache gc`, which helps where what is full is the disk of the cache; nothing is lost"
	}
	return ""
}
