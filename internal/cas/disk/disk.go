// Package disk keeps blobs in a folder of a local file system, shared by any number of processes.
//
// Each blob is one file, blobs/ab/abcd…, whose name is its SHA-256. It is written in a private place below tmp and gets its name
// when it is whole, so no process ever sees half a blob, whatever dies. Names appear at once and become durable together, in
// Flush. Until then the file can be read by its owner only (mode 0400), afterwards by everyone (0444): this is how other
// processes, and later ones, know which blobs need no sync. Content is verified whenever it is read; what turns out to be wrong is removed,
// so that whoever made it makes it again. The modification time of every blob is one constant: a file that has another one was written to since, and
// is read before it counts as there. What only reading can find, bits that rot by themselves, is found by reading.
//
// The package knows nothing of what blobs mean and keeps no index in memory: the folder is the truth.
package disk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/cas/durable"
	"github.com/towpath/towpath/internal/digest"
)

const (
	// bufferSize is how much of a blob is held in memory. A blob that fits is compared with what is stored before anything is
	// written: most puts of a warm run end there.
	bufferSize = 128 << 10
	// modePending and modeDurable are the permissions of a blob before and after Flush.
	modePending = 0o400
	modeDurable = 0o444
)

// untouched is the modification time of a blob that nobody has written to since it was stored.
func untouched() time.Time { return time.Unix(315532800, 0) }

// Store is a cas.Store in a folder.
type Store struct {
	dir     string
	blobs   string
	session *durable.Session
	temp    *durable.Temp
	buffers sync.Pool // of *[]byte, each bufferSize long
	group   durable.Group

	mu      sync.Mutex
	dirty   map[digest.Digest]struct{} // visible and not yet known to be durable; this store knows their content
	syncing map[digest.Digest]struct{} // was dirty, and is being made durable
	lost    map[digest.Digest]error    // could not be made durable, and has not been put again since
}

var (
	_ cas.Store  = (*Store)(nil)
	_ cas.Pather = (*Store)(nil)
)

// Open returns the store in the folder dir, which is made if need be.
func Open(dir string) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("cas: open: %w", err)
	}
	s := &Store{
		dir:   dir,
		blobs: filepath.Join(dir, "blobs"),
		dirty: map[digest.Digest]struct{}{},
		lost:  map[digest.Digest]error{},
	}
	s.buffers.New = func() any { b := make([]byte, bufferSize); return &b }
	if err := os.MkdirAll(s.blobs, 0o777); err != nil {
		return nil, fmt.Errorf("cas: open: %w", cas.Writing(dir, err))
	}
	if s.temp, err = durable.OpenTemp(filepath.Join(dir, "tmp")); err != nil {
		return nil, fmt.Errorf("cas: open: %w", cas.Writing(dir, err))
	}
	if s.session, err = durable.Begin(filepath.Join(dir, "sessions")); err != nil {
		return nil, errors.Join(fmt.Errorf("cas: open: %w", err), s.temp.Close())
	}
	return s, nil
}

// Close gives up what is being put. It does not flush. A process that ends without it leaves files that the next Open removes.
func (s *Store) Close() error { return errors.Join(s.temp.Close(), s.session.Close()) }

// Put implements cas.Store.
func (s *Store) Put(ctx context.Context, r io.Reader) (digest.Digest, error) {
	d, err := s.put(ctx, r)
	if err != nil {
		return digest.Digest{}, fmt.Errorf("cas: put: %w", cas.Writing(s.dir, err))
	}
	return d, nil
}

func (s *Store) put(ctx context.Context, r io.Reader) (digest.Digest, error) {
	buf := s.buffers.Get().(*[]byte)
	defer s.buffers.Put(buf)
	n, err := fill(ctx, r, *buf)
	if err != nil && err != io.EOF {
		return digest.Digest{}, err
	}
	if err == io.EOF {
		b := (*buf)[:n]
		d := digest.OfBytes(b)
		if s.has(d, b) {
			return d, nil
		}
		return d, s.write(d, b)
	}
	return s.stream(ctx, r, *buf)
}

// fill reads until buf is full or r ends, which is io.EOF.
func fill(ctx context.Context, r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		m, err := r.Read(buf[n:])
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// has tells whether exactly b is stored as d, and sees to it that the next Flush covers it.
func (s *Store) has(d digest.Digest, b []byte) bool {
	stored, st, err := durable.ReadFile(s.path(d), d.Size)
	return err == nil && stored != nil && bytes.Equal(stored, b) && s.found(d, st)
}

// write stores b as d.
func (s *Store) write(d digest.Digest, b []byte) error {
	if err := s.session.Hold(); err != nil {
		return err
	}
	tmp, err := s.temp.Write(b, modePending, untouched())
	if err != nil {
		return err
	}
	if err := s.publish(tmp, d); err != nil {
		_ = os.Remove(tmp)
		return err
	}
	return nil
}

// finish closes f, a file of temp, and publishes it as d, unless there was an error before: then it removes f and returns that.
func (s *Store) finish(f *os.File, d digest.Digest, err error) error {
	if err == nil && !durable.SyncsLate {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Chtimes(f.Name(), time.Time{}, untouched())
	}
	if err == nil {
		err = s.publish(f.Name(), d)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// publish gives tmp the name of d. A blob that has it already stays where it is intact and is replaced where it is not.
func (s *Store) publish(tmp string, d digest.Digest) error {
	final := s.path(d)
	err := durable.Publish(tmp, final)
	if errors.Is(err, fs.ErrNotExist) { // the first of its folder
		if err := os.MkdirAll(filepath.Dir(final), 0o777); err != nil {
			return err
		}
		err = durable.Publish(tmp, final)
	}
	if errors.Is(err, fs.ErrExist) {
		if s.intact(d) {
			return os.Remove(tmp)
		}
		err = durable.Replace(tmp, final)
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dirty[d] = struct{}{}
	delete(s.lost, d)
	return nil
}

// intact reads the blob d to see whether it is what it should be, and has the next Flush cover it if it is.
func (s *Store) intact(d digest.Digest) bool {
	st, err := durable.Lstat(s.path(d))
	return err == nil && st.Regular && st.Size == d.Size && s.reads(d) && s.found(d, st)
}

// reads tells whether the content of the blob d is d's.
func (s *Store) reads(d digest.Digest) bool {
	f, err := os.Open(s.path(d))
	if err != nil {
		return false
	}
	defer f.Close()
	got, err := digest.OfReader(f)
	return err == nil && got == d
}

// found notes that the blob d is stored and used, as st says: another process may not have flushed it yet. It tells false when the blob is gone.
func (s *Store) found(d digest.Digest, st durable.Stat) bool {
	if !durable.Use(s.path(d), st.Used) {
		return false
	}
	if !durable.SyncsLate || st.Perm == modeDurable {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dirty[d] = struct{}{}
	return true
}

// Open implements cas.Store.
func (s *Store) Open(ctx context.Context, d digest.Digest) (io.ReadCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if d.Size <= bufferSize {
		return s.openSmall(d)
	}
	f, err := os.Open(s.path(d))
	if err != nil {
		return nil, openError(d, err)
	}
	if st, err := durable.Lstat(f.Name()); err == nil {
		_ = durable.Use(f.Name(), st.Used) // whether it is gone does not matter: it is open
	}
	return &reader{ReadCloser: cas.Verify(f, d), file: f}, nil
}

// openSmall is Open for a blob that can be read at once, which takes less than half of the system calls. What is not as it should be is left to the
// reader of large ones, which knows what to do about it.
func (s *Store) openSmall(d digest.Digest) (io.ReadCloser, error) {
	path := s.path(d)
	b, st, err := durable.ReadFile(path, d.Size)
	if err != nil {
		return nil, openError(d, err)
	}
	_ = durable.Use(path, st.Used) // whether it is gone does not matter: it has been read
	if b != nil && digest.OfBytes(b) == d {
		return io.NopCloser(bytes.NewReader(b)), nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, openError(d, err)
	}
	return &reader{ReadCloser: cas.Verify(f, d), file: f}, nil
}

// openError tells a blob that is not there from one that cannot be opened.
func openError(d digest.Digest, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return &cas.NotFoundError{Digest: d}
	}
	return fmt.Errorf("cas: open blob: %w", err)
}

// reader removes the blob that it reads when that is corrupt.
type reader struct {
	io.ReadCloser
	file *os.File
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	var corrupt *cas.CorruptError
	if err != nil && err != io.EOF && errors.As(err, &corrupt) && !corrupt.Got.IsZero() && corrupt.Got.Size == corrupt.Digest.Size {
		r.discard()
	}
	return n, err
}

// discard removes the file from the store unless it has been replaced. It is called only where the size is right and the content
// is not: where the size is wrong, that may be the asker's error, and Missing and Put see it without reading.
func (r *reader) discard() {
	mine, err := r.file.Stat()
	if err != nil {
		return
	}
	if now, err := os.Lstat(r.file.Name()); err == nil && os.SameFile(mine, now) {
		_ = os.Remove(r.file.Name())
	}
}

// Path implements cas.Pather.
func (s *Store) Path(d digest.Digest) (string, bool) {
	p := s.path(d)
	info, err := os.Lstat(p)
	return p, err == nil && info.Mode().IsRegular() && info.Size() == d.Size
}

// Delete removes the blob d. One that is not there is a *cas.NotFoundError.
func (s *Store) Delete(ctx context.Context, d digest.Digest) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := os.Remove(s.path(d))
	if errors.Is(err, fs.ErrNotExist) {
		return &cas.NotFoundError{Digest: d}
	}
	if err != nil {
		return fmt.Errorf("cas: delete blob: %w", err)
	}
	return nil
}

func (s *Store) path(d digest.Digest) string {
	name := d.Hex()
	const sep = string(filepath.Separator)
	return s.blobs + sep + name[:2] + sep + name
}
