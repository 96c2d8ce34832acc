package tree

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/digest"
)

// copySize is how much of a file is in memory while it is copied.
const copySize = 128 << 10

// cloneFrom is from which size on a clone is tried: copying less is as fast.
const cloneFrom = 64 << 10

// Materialize writes the tree d below dir, a folder that exists and is empty. Files get mode 0755 where they are executable and
// 0644 where not, folders 0755. Symlinks are written as they are, wherever they point.
//
// Files are clones or copies and never hard links, since who gets them may write to them. Their content is verified on the way:
// what is damaged is an error that names the path and wraps a *cas.CorruptError. After an error dir holds some of the tree.
func Materialize(ctx context.Context, store cas.Store, d digest.Digest, dir string) error {
	if err := wantEmpty(dir); err != nil {
		return fmt.Errorf("materialize: %w", err)
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(workers())
	m := &materializer{ctx: groupCtx, store: store}
	m.buffers.New = func() any { b := make([]byte, copySize); return &b }
	err := Walk(groupCtx, store, d, func(e Entry) error {
		local, err := filepath.Localize(e.Path)
		if err != nil {
			return &PathError{Path: e.Path, Reason: "cannot be written on this operating system"}
		}
		target := filepath.Join(dir, local)
		switch e.Kind {
		case KindDirectory:
			return mkdir(target)
		case KindSymlink:
			return os.Symlink(filepath.FromSlash(e.Target), target)
		}
		group.Go(func() error {
			if err := m.file(e, target); err != nil {
				return fmt.Errorf("file %q: %w", e.Path, err)
			}
			return nil
		})
		return groupCtx.Err()
	})
	// The first failure of a worker ends the walk by its context, and is the one to tell.
	if werr := group.Wait(); werr != nil {
		err = werr
	}
	if err != nil {
		return fmt.Errorf("materialize tree %s: %w", d.Short(), err)
	}
	return nil
}

// workers is how many files are copied or hashed at once.
func workers() int { return min(max(2*runtime.GOMAXPROCS(0), 4), 32) }

func wantEmpty(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	names, err := f.Readdirnames(1)
	if len(names) > 0 {
		return fmt.Errorf("folder %s is not empty", dir)
	}
	if !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// mkdir makes a folder with mode 0755, whatever the umask is.
func mkdir(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	return os.Chmod(dir, 0o755)
}

type materializer struct {
	ctx     context.Context
	store   cas.Store
	buffers sync.Pool // of *[]byte, each copySize long
	// noClone is set once the file system has refused to clone.
	noClone atomic.Bool
}

// file writes the file e to the path target.
func (m *materializer) file(e Entry, target string) error {
	dst, err := os.OpenFile(target, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if !m.clone(dst, e.Digest) {
		err = m.copy(dst, e.Digest)
	}
	if err != nil {
		dst.Close()
		_ = os.Remove(target)
		return err
	}
	mode := os.FileMode(0o644)
	if e.Executable {
		mode = 0o755
	}
	return errors.Join(dst.Chmod(mode), dst.Close())
}

// copy gives dst the content of d.
func (m *materializer) copy(dst io.Writer, d digest.Digest) error {
	src, err := m.store.Open(m.ctx, d)
	if err != nil {
		return err
	}
	defer src.Close()
	return m.pump(dst, src)
}

// clone tries to make dst share the disk blocks of the store's file for d, so that only verifying is left to do. Where it cannot,
// or what it got is not d, it leaves dst empty: copy knows better what is wrong then.
func (m *materializer) clone(dst *os.File, d digest.Digest) bool {
	pather, ok := m.store.(cas.Pather)
	if !ok || d.Size < cloneFrom || m.noClone.Load() {
		return false
	}
	path, ok := pather.Path(d)
	if !ok {
		return false
	}
	src, err := os.Open(path)
	if err != nil {
		return false
	}
	defer src.Close()
	if err := cloneFile(dst, src); err != nil {
		m.noClone.Store(true)
		return false
	}
	if err := m.pump(io.Discard, cas.Verify(src, d)); err != nil {
		_ = dst.Truncate(0)
		return false
	}
	return true
}

func (m *materializer) pump(dst io.Writer, src io.Reader) error {
	buf := m.buffers.Get().(*[]byte)
	defer m.buffers.Put(buf)
	// Only Write and Read, so that the buffer is used.
	_, err := io.CopyBuffer(struct{ io.Writer }{dst}, contextReader{m.ctx, src}, *buf)
	return err
}

// contextReader is a reader until its context ends.
type contextReader struct {
	ctx context.Context
	io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.Reader.Read(p)
}
