package cas_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/digest"
)

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{}).Read(b)
	return b
}

func create(t *testing.T) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func TestDuplicate(t *testing.T) {
	for _, size := range []int{0, 1, 4 << 20, 9<<20 + 17} {
		content := append([]byte("head"), random(size)...)
		src, dst := create(t), create(t)
		for _, err := range []error{write(src, content), seek(src, 4), write(dst, []byte("head"))} {
			if err != nil {
				t.Fatal(err)
			}
		}
		var reached int64
		d, err := cas.Duplicate(t.Context(), dst, src, func(total int64) { reached = total })
		if errors.Is(err, errors.ErrUnsupported) {
			if n, err := io.Copy(dst, src); err != nil || n != int64(size) {
				t.Errorf("what is unsupported took %d of %d bytes, %v", int64(size)-n, size, err)
			}
			continue
		}
		if err != nil || d != digest.OfBytes(content) {
			t.Errorf("Duplicate of %d bytes = %v, %v, want %v", size, d, err, digest.OfBytes(content))
		}
		if got, err := os.ReadFile(dst.Name()); err != nil || !bytes.Equal(got, content) {
			t.Errorf("the copy of %d bytes has %d, %v", len(content), len(got), err)
		}
		if size > 0 && reached != int64(len(content)) {
			t.Errorf("progress came to %d of %d", reached, len(content))
		}
	}
}

func write(f *os.File, b []byte) error {
	_, err := f.Write(b)
	return err
}

func seek(f *os.File, to int64) error {
	_, err := f.Seek(to, io.SeekStart)
	return err
}

// What no kernel copies between is left as it is.
func TestDuplicateOfAPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := errors.Join(write(w, []byte("content")), w.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := cas.Duplicate(t.Context(), create(t), r, nil); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Duplicate of a pipe = %v", err)
	}
	if b, err := io.ReadAll(r); err != nil || string(b) != "content" {
		t.Errorf("the pipe holds %q, %v", b, err)
	}
}

// A kernel that finds too late that it cannot copy between two files has changed one of them: the rest is copied by hand, and all of it counts.
func TestDuplicateThatIsUnsupportedTooLate(t *testing.T) {
	content := append([]byte("head"), random(1<<20)...)
	src, dst := create(t), create(t)
	if err := errors.Join(write(src, content), seek(src, 4), write(dst, []byte("head"))); err != nil {
		t.Fatal(err)
	}
	calls := 0
	kernel := func(dst, src *os.File, _ int) (int64, error) {
		if calls++; calls > 3 {
			return 0, errors.ErrUnsupported
		}
		return io.CopyN(dst, src, 1000)
	}
	d, err := cas.DuplicateBy(t.Context(), dst, src, kernel)
	if err != nil || d != digest.OfBytes(content) || calls != 4 {
		t.Errorf("after %d calls: %v, %v, want %v", calls, d, err, digest.OfBytes(content))
	}
	if got, err := os.ReadFile(dst.Name()); err != nil || !bytes.Equal(got, content) {
		t.Errorf("the copy has %d of %d bytes, %v", len(got), len(content), err)
	}
	// Nor does any other error look as if nothing had been changed.
	if err := cas.Begun(fmt.Errorf("read: %w", syscall.ENOSYS)); err == nil || errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("the error of a copy that was begun: %v", err)
	}
}

type failingWriter struct{ left int }

var errFull = errors.New("full")

func (f *failingWriter) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, errFull
	}
	return len(p), nil
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestCopy(t *testing.T) {
	for _, size := range []int{0, 1, 256 << 10, 256<<10 + 1, 5 << 20} {
		content := random(size)
		var got bytes.Buffer
		if n, err := cas.Copy(t.Context(), &got, bytes.NewReader(content)); err != nil || n != int64(size) || !bytes.Equal(got.Bytes(), content) {
			t.Errorf("Copy of %d bytes = %d, %v", size, n, err)
		}
	}
	endless := readerFunc(func(p []byte) (int, error) { return len(p), nil })
	if _, err := cas.Copy(t.Context(), &failingWriter{left: 1 << 20}, endless); !errors.Is(err, errFull) {
		t.Errorf("a writer that fails: %v", err)
	}
	broken := errors.New("broken")
	if _, err := cas.Copy(t.Context(), io.Discard, io.MultiReader(bytes.NewReader(random(1<<20)), readerFunc(func([]byte) (int, error) { return 0, broken }))); !errors.Is(err, broken) {
		t.Errorf("a reader that fails: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	nothing := readerFunc(func([]byte) (int, error) { cancel(); return 0, nil })
	if _, err := cas.Copy(ctx, io.Discard, nothing); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled context: %v", err)
	}
}
