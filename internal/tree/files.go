package tree

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/digest"
)

const (
	// smallFile is up to which size a file is read whole before it is written.
	smallFile = 128 << 10
	// cloneFrom is from which size on a clone is tried: copying less is as fast.
	cloneFrom = 64 << 10
)

// The permissions of what is written, whatever the umask is.
const (
	ModeFolder     os.FileMode = 0o755
	ModeFile       os.FileMode = 0o644
	ModeExecutable os.FileMode = 0o755
)

// Mode returns the permissions that e gets as a file or folder on disk.
func (e Entry) Mode() os.FileMode {
	switch {
	case e.Kind == KindDirectory:
		return ModeFolder
	case e.Executable:
		return ModeExecutable
	}
	return ModeFile
}

// Files writes files of a store to a disk: clones or copies, whose content is verified on the way. It is safe for concurrent use.
type Files struct {
	store   cas.Store
	buffers sync.Pool // of *[]byte, each as large as a small file and a byte
	// noClone is set once the file system has refused to clone.
	noClone atomic.Bool
}

// NewFiles returns a Files of what is in store.
func NewFiles(store cas.Store) *Files {
	f := &Files{store: store}
	f.buffers.New = func() any { b := make([]byte, smallFile+1); return &b }
	return f
}

// Write writes the file e, whose Path is not used, to the path target, where nothing may be. After an error nothing is there.
func (f *Files) Write(ctx context.Context, e Entry, target string) error {
	if e.Digest.Size <= smallFile && (e.Digest.Size < cloneFrom || f.noClone.Load()) {
		return f.small(ctx, e, target)
	}
	// It is read back to be verified.
	dst, err := os.OpenFile(target, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if !f.inKernel(ctx, dst, e.Digest) {
		err = f.copy(ctx, dst, e.Digest)
	}
	if err == nil {
		err = dst.Chmod(e.Mode())
	}
	if cerr := dst.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		_ = os.Remove(target)
	}
	return err
}

// small writes a file whose content fits into a buffer: it is right before there is a file.
func (f *Files) small(ctx context.Context, e Entry, target string) error {
	buf := f.buffers.Get().(*[]byte)
	defer f.buffers.Put(buf)
	src, err := f.store.Open(ctx, e.Digest)
	if err != nil {
		return err
	}
	n, err := io.ReadFull(src, *buf)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	if cerr := src.Close(); err == nil {
		err = cerr
	}
	if err == nil && int64(n) != e.Digest.Size {
		err = &cas.CorruptError{Digest: e.Digest, Got: digest.OfBytes((*buf)[:n])}
	}
	if err != nil {
		return err
	}
	return create(target, (*buf)[:n], e.Mode())
}

// copy gives dst the content of d.
func (f *Files) copy(ctx context.Context, dst io.Writer, d digest.Digest) error {
	src, err := f.store.Open(ctx, d)
	if err != nil {
		return err
	}
	_, err = cas.Copy(ctx, dst, src)
	return errors.Join(err, src.Close())
}

// inKernel tries to make dst share the disk blocks of the store's file for d, or to have the kernel copy it, so that only verifying is left to do. Where
// it cannot, or what it got is not d, it leaves dst empty: copy knows better what is wrong then.
func (f *Files) inKernel(ctx context.Context, dst *os.File, d digest.Digest) bool {
	pather, ok := f.store.(cas.Pather)
	if !ok {
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
	if f.clone(ctx, dst, src, d) {
		return true
	}
	if got, err := cas.Duplicate(ctx, dst, src, nil); err == nil && got == d {
		return true
	}
	if _, err := dst.Seek(0, io.SeekStart); err == nil {
		_ = dst.Truncate(0)
	}
	return false
}

// clone tells whether dst shares the disk blocks of src and they hold d. Where they do not, dst is empty.
func (f *Files) clone(ctx context.Context, dst, src *os.File, d digest.Digest) bool {
	if f.noClone.Load() {
		return false
	}
	if err := cloneFile(dst, src); err != nil {
		f.noClone.Store(true)
		return false
	}
	if _, err := cas.Copy(ctx, io.Discard, cas.Verify(io.NopCloser(dst), d)); err != nil {
		_, _ = dst.Seek(0, io.SeekStart)
		_ = dst.Truncate(0)
		return false
	}
	return true
}
