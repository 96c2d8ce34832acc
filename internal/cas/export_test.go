package cas

import (
	"context"
	"os"

	"github.com/towpath/towpath/internal/digest"
)

// DuplicateBy is Duplicate by a kernel that copies as copyRange does.
func DuplicateBy(ctx context.Context, dst, src *os.File, copyRange func(dst, src *os.File, limit int) (int64, error)) (digest.Digest, error) {
	return duplicate(ctx, dst, src, nil, copyRange)
}

// Begun is what Duplicate makes of an error that happened when something had been copied.
func Begun(err error) error { return begun(err) }
