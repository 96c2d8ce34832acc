package local_test

import (
	"context"
	"io"
	"strings"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/digest"
)

// corruptStore has a damaged blob.
type corruptStore struct {
	cas.Store
	damaged digest.Digest
}

func (s corruptStore) Open(ctx context.Context, d digest.Digest) (io.ReadCloser, error) {
	if d == s.damaged {
		return cas.Verify(io.NopCloser(strings.NewReader("evil")), d), nil
	}
	return s.Store.Open(ctx, d)
}
