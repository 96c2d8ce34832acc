// Package mem keeps blobs in memory, for tests and for small trees that nobody needs to find again.
//
// It is the contract of cas.Store and nothing else: what it holds is gone with the process, whatever Flush says.
package mem

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/digest"
)

// Store is a cas.Store in memory.
type Store struct {
	mu    sync.RWMutex
	blobs map[[32]byte][]byte
}

var _ cas.Store = (*Store)(nil)

// New returns an empty store.
func New() *Store { return &Store{blobs: map[[32]byte][]byte{}} }

// Put implements cas.Store.
func (s *Store) Put(ctx context.Context, r io.Reader) (digest.Digest, error) {
	var b bytes.Buffer
	if _, err := b.ReadFrom(&contextReader{ctx, r}); err != nil {
		return digest.Digest{}, fmt.Errorf("cas: put: %w", err)
	}
	d := digest.OfBytes(b.Bytes())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.blobs[d.Hash] = b.Bytes()
	return d, nil
}

// Open implements cas.Store.
func (s *Store) Open(ctx context.Context, d digest.Digest) (io.ReadCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	b, ok := s.blobs[d.Hash]
	if !ok {
		return nil, &cas.NotFoundError{Digest: d}
	}
	return cas.Verify(io.NopCloser(bytes.NewReader(b)), d), nil
}

// Missing implements cas.Store.
func (s *Store) Missing(ctx context.Context, ds []digest.Digest) ([]digest.Digest, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	var missing []digest.Digest
	for _, d := range ds {
		if b, ok := s.blobs[d.Hash]; !ok || int64(len(b)) != d.Size {
			missing = append(missing, d)
		}
	}
	return missing, nil
}

// Flush implements cas.Store: there is nothing to do.
func (s *Store) Flush(ctx context.Context) error { return ctx.Err() }

// Delete removes the blob d. One that is not there is a *cas.NotFoundError.
func (s *Store) Delete(ctx context.Context, d digest.Digest) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.blobs[d.Hash]; !ok {
		return &cas.NotFoundError{Digest: d}
	}
	delete(s.blobs, d.Hash)
	return nil
}

// Corrupt makes b what is stored as d, for tests of what readers do then.
func (s *Store) Corrupt(d digest.Digest, b []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.blobs[d.Hash] = bytes.Clone(b)
	return nil
}

// contextReader is r until ctx ends.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
