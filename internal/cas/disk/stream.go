package disk

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/cas/durable"
	"github.com/towpath/towpath/internal/digest"
)

// writebackEvery is after how many bytes of a blob the kernel is told to begin writing them: Flush would else find the disk idle and all of it to
// be written.
const writebackEvery = 64 << 20

// stream stores head followed by the rest of r. Reading and hashing, writing, and the disk go on at the same time.
func (s *Store) stream(ctx context.Context, r io.Reader, head []byte) (digest.Digest, error) {
	if err := s.session.Hold(); err != nil {
		return digest.Digest{}, err
	}
	f, err := s.temp.Create(modePending)
	if err != nil {
		return digest.Digest{}, err
	}
	d, err := pour(ctx, &eager{file: f}, r, head)
	if err := s.finish(f, d, err); err != nil {
		return digest.Digest{}, err
	}
	return d, nil
}

// pour writes head followed by the rest of r, and returns the digest of that.
func pour(ctx context.Context, e *eager, r io.Reader, head []byte) (digest.Digest, error) {
	if _, err := e.Write(head); err != nil {
		return digest.Digest{}, err
	}
	if src, ok := r.(*os.File); ok {
		d, err := cas.Duplicate(ctx, e.file, src, e.reached)
		if !errors.Is(err, errors.ErrUnsupported) {
			return d, err
		}
	}
	h := digest.NewHasher()
	_, _ = h.Write(head) // never fails
	_, err := cas.Copy(ctx, e, io.TeeReader(r, h))
	return h.Digest(), err
}

// eager is a file that is on its way to the disk while it is being written.
type eager struct {
	file    *os.File
	written int64
	started int64 // how much of it the kernel was told to write
}

func (e *eager) Write(p []byte) (int, error) {
	n, err := e.file.Write(p)
	e.reached(e.written + int64(n))
	return n, err
}

// reached notes how much was written.
func (e *eager) reached(total int64) {
	if e.written = total; total-e.started >= writebackEvery {
		e.started = total
		durable.StartWriteback(e.file.Name())
	}
}
