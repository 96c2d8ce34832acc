package disk

import (
	"context"
	"io"

	"github.com/towpath/towpath/internal/digest"
)

// stream stores buf followed by the rest of r, using buf to move it.
func (s *Store) stream(ctx context.Context, r io.Reader, buf []byte) (digest.Digest, error) {
	f, err := s.temp.Create(modePending)
	if err != nil {
		return digest.Digest{}, err
	}
	h := digest.NewHasher()
	n := len(buf)
	for {
		_, _ = h.Write(buf[:n]) // never fails
		if _, err := f.Write(buf[:n]); err != nil {
			return digest.Digest{}, s.finish(f, digest.Digest{}, err)
		}
		if err == io.EOF {
			break
		}
		if n, err = fill(ctx, r, buf); err != nil && err != io.EOF {
			return digest.Digest{}, s.finish(f, digest.Digest{}, err)
		}
	}
	return h.Digest(), s.finish(f, h.Digest(), nil)
}
