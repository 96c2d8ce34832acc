package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/cas/durable"
	"github.com/towpath/towpath/internal/digest"
)

// verdict is what reading a blob shows.
type verdict int

const (
	sound     verdict = iota
	touched           // sound, and marked as if it had been written to
	damaged           // it is not what its name says
	vanished          // removed or replaced meanwhile
	withheld          // this user may not read it
	forgotten         // what is not a blob at all
)

// Verify reads every blob. It drops what is not what its name says, whether that shows in its size or in its last bit, and marks again what was only
// touched. Reading is no use: the time of the last use stays. progress is told how many bytes have been read.
func (s *Store) Verify(ctx context.Context, progress func(read, all int64)) (cas.Verified, error) {
	items, err := s.Items(ctx)
	if err != nil {
		return cas.Verified{}, err
	}
	var all, read, dropped, marked, unreadable atomic.Int64
	for _, i := range items {
		all.Add(i.Bytes)
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.NumCPU())
	for _, i := range items {
		g.Go(func() error {
			v, err := s.verify(gctx, s.named(i.Name))
			switch v {
			case damaged, forgotten:
				dropped.Add(1)
			case touched:
				marked.Add(1)
			case withheld:
				unreadable.Add(1)
			}
			progress(read.Add(i.Bytes), all.Load())
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return cas.Verified{}, fmt.Errorf("cas: verify: %w", cas.Writing(s.dir, err))
	}
	return cas.Verified{
		Checked: len(items), Bytes: all.Load(), Damaged: int(dropped.Load()), Marked: int(marked.Load()), Unreadable: int(unreadable.Load()),
	}, nil
}

// verify checks the file path and repairs what can be.
func (s *Store) verify(ctx context.Context, path string) (verdict, error) {
	if err := ctx.Err(); err != nil {
		return vanished, err
	}
	v, err := s.look(ctx, path)
	switch {
	case err != nil:
		return v, err
	case v == touched:
		return v, os.Chtimes(path, time.Time{}, untouched())
	case v == forgotten:
		return v, os.RemoveAll(path)
	}
	return v, ctx.Err()
}

// look reads the file path and removes it where it is damaged. An error says that nothing is known of it.
func (s *Store) look(ctx context.Context, path string) (verdict, error) {
	st, err := durable.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return vanished, nil
	}
	if err != nil {
		return vanished, err
	}
	d, err := digest.Parse(fmt.Sprintf("%s/%d", filepath.Base(path), st.Size))
	if err != nil || !st.Regular || s.path(d) != path {
		return forgotten, nil
	}
	f, err := durable.OpenUnnoted(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return vanished, nil
	case errors.Is(err, fs.ErrPermission):
		return withheld, nil
	case err != nil:
		return vanished, err
	}
	defer f.Close()
	got, err := digest.OfReader(contextReader{ctx, f})
	switch {
	case ctx.Err() != nil:
		return vanished, nil
	case err != nil || got != d: // a disk that cannot read it has lost it, too
		r := reader{file: f}
		r.discard()
		return damaged, nil
	case !st.Modified.Equal(untouched()):
		return touched, nil
	}
	return sound, nil
}

// contextReader ends with the context.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// Unnoted returns a view of the store for who looks after it: what is found or opened through it does not count as used. It is for reading only.
func (s *Store) Unnoted() cas.Store { return unnoted{s} }

type unnoted struct{ *Store }

// Open implements cas.Store.
func (u unnoted) Open(ctx context.Context, d digest.Digest) (io.ReadCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, err := durable.OpenUnnoted(u.path(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &cas.NotFoundError{Digest: d}
	}
	if err != nil {
		return nil, fmt.Errorf("cas: open blob: %w", err)
	}
	return cas.Verify(f, d), nil
}

// Missing implements cas.Store.
func (u unnoted) Missing(ctx context.Context, ds []digest.Digest) ([]digest.Digest, error) {
	var missing []digest.Digest
	for _, d := range ds {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if _, ok := u.Path(d); !ok {
			missing = append(missing, d)
		}
	}
	return missing, nil
}
