package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/towpath/towpath/internal/cas/durable"
	"github.com/towpath/towpath/internal/digest"
)

// Missing implements cas.Store.
func (s *Store) Missing(ctx context.Context, ds []digest.Digest) ([]digest.Digest, error) {
	var missing []digest.Digest
	for _, d := range ds {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		st, err := durable.Lstat(s.path(d))
		switch {
		case err == nil && st.Regular && st.Size == d.Size && s.unchanged(d, st) && s.found(d, st):
		case err == nil || errors.Is(err, fs.ErrNotExist):
			missing = append(missing, d)
		default:
			return nil, fmt.Errorf("cas: look for blob: %w", err)
		}
	}
	return missing, nil
}

// unchanged tells whether the blob d, as st says, is still what was stored. One that was written to since is read, and marked again where it was
// only touched.
func (s *Store) unchanged(d digest.Digest, st durable.Stat) bool {
	if st.Modified.Equal(untouched()) {
		return true
	}
	if !s.intact(d) {
		return false
	}
	_ = os.Chtimes(s.path(d), time.Time{}, untouched()) // a mark: without it, the blob is read once more
	return true
}
