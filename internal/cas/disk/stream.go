package disk

import (
	"bytes"
	"context"
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
	f, err := s.temp.Create(modePending)
	if err != nil {
		return digest.Digest{}, err
	}
	h := digest.NewHasher()
	_, err = cas.Copy(ctx, &eager{file: f}, io.TeeReader(io.MultiReader(bytes.NewReader(head), r), h))
	d := h.Digest()
	if err := s.finish(f, d, err); err != nil {
		return digest.Digest{}, err
	}
	return d, nil
}

// eager is a file that is on its way to the disk while it is being written.
type eager struct {
	file    *os.File
	waiting int // bytes that were written since the last writeback
}

func (e *eager) Write(p []byte) (int, error) {
	n, err := e.file.Write(p)
	if e.waiting += n; e.waiting >= writebackEvery {
		e.waiting = 0
		durable.StartWriteback(e.file.Name())
	}
	return n, err
}
