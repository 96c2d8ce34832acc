// Package castest holds implementations of cas.Store to the contract that is stated there. Each runs the whole of it:
//
//	func TestStore(t *testing.T) {
//		castest.Run(t, func(t *testing.T) cas.Store { … })
//	}
//
// It uses nothing but the contract. To damage a blob it goes through the store's file, where it is a cas.Pather, or its Corrupter.
package castest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/digest"
)

// Corrupter is implemented by stores that can be asked to damage a blob: b is what Open then reads for d.
type Corrupter interface {
	Corrupt(d digest.Digest, b []byte) error
}

// Run checks the stores that open returns, each of which must be empty and of its own.
func Run(t *testing.T, open func(t *testing.T) cas.Store) {
	for _, c := range []struct {
		name string
		test func(*testing.T, cas.Store)
	}{
		{"RoundTrip", testRoundTrip},
		{"NotFound", testNotFound},
		{"SizeIsPartOfTheName", testSizeIsPartOfTheName},
		{"Missing", testMissing},
		{"ReaderErrorLeavesNothing", testReaderErrorLeavesNothing},
		{"CancelledPutLeavesNothing", testCancelledPutLeavesNothing},
		{"CancelledContext", testCancelledContext},
		{"CorruptionIsSeen", testCorruptionIsSeen},
		{"PutRepairs", testPutRepairs},
		{"ReadAll", testReadAll},
		{"OpenSurvivesPut", testOpenSurvivesPut},
		{"Flush", testFlush},
		{"Concurrent", testConcurrent},
		{"BigStream", testBigStream},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

// sizes lie on both sides of the borders that implementations are likely to have.
func sizes() []int {
	return []int{0, 1, 511, 4095, 4096, 4097, 32<<10 - 1, 32 << 10, 128<<10 - 1, 128 << 10, 128<<10 + 1, 256 << 10, 1<<20 + 17}
}

// content returns n bytes that are the same for the same n and seed.
func content(n int, seed byte) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

func put(t *testing.T, s cas.Store, b []byte) digest.Digest {
	t.Helper()
	d, err := cas.PutBytes(t.Context(), s, b)
	if err != nil {
		t.Fatalf("Put of %d bytes: %v", len(b), err)
	}
	return d
}

func read(t *testing.T, s cas.Store, d digest.Digest) ([]byte, error) {
	t.Helper()
	r, err := s.Open(t.Context(), d)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(r)
	if cerr := r.Close(); cerr != nil {
		t.Errorf("Close: %v", cerr)
	}
	return b, err
}

func wantAbsent(t *testing.T, s cas.Store, d digest.Digest) {
	t.Helper()
	missing, err := s.Missing(t.Context(), []digest.Digest{d})
	if err != nil || !slices.Equal(missing, []digest.Digest{d}) {
		t.Errorf("Missing = %v, %v, want the one blob", missing, err)
	}
	var notFound *cas.NotFoundError
	if r, err := s.Open(t.Context(), d); !errors.As(err, &notFound) || notFound.Digest != d || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open = %v, %v, want a *NotFoundError that matches fs.ErrNotExist", r, err)
	}
}

func testRoundTrip(t *testing.T, s cas.Store) {
	for _, n := range sizes() {
		b := content(n, 1)
		for range 2 { // the second time it is there
			if d := put(t, s, b); d != digest.OfBytes(b) {
				t.Fatalf("Put of %d bytes = %v, want %v", n, d, digest.OfBytes(b))
			}
			if got, err := read(t, s, digest.OfBytes(b)); err != nil || !bytes.Equal(got, b) {
				t.Fatalf("read %d bytes of %d, %v", len(got), n, err)
			}
		}
		for _, r := range []io.Reader{iotest.OneByteReader(bytes.NewReader(b)), iotest.DataErrReader(bytes.NewReader(b))} {
			if d, err := s.Put(t.Context(), r); err != nil || d != digest.OfBytes(b) {
				t.Fatalf("Put of %d bytes through %T = %v, %v", n, r, d, err)
			}
		}
		r, err := s.Open(t.Context(), digest.OfBytes(b))
		if err != nil {
			t.Fatal(err)
		}
		if err := iotest.TestReader(r, b); err != nil {
			t.Errorf("the reader of %d bytes: %v", n, err)
		}
		r.Close()
	}
}

func testNotFound(t *testing.T, s cas.Store) {
	wantAbsent(t, s, digest.OfBytes([]byte("never put")))
	wantAbsent(t, s, digest.Empty())
	if _, err := cas.ReadAll(t.Context(), s, digest.OfBytes([]byte("never put")), 100); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("ReadAll = %v, want fs.ErrNotExist", err)
	}
}

// A digest with the right hash and another size names nothing. Asking for it must not harm the blob that is there.
func testSizeIsPartOfTheName(t *testing.T, s cas.Store) {
	b := content(1000, 2)
	d := put(t, s, b)
	for _, size := range []int64{0, 999, 1001, -1} {
		wrong := digest.Digest{Hash: d.Hash, Size: size}
		if missing, err := s.Missing(t.Context(), []digest.Digest{wrong}); err != nil || len(missing) != 1 {
			t.Errorf("Missing(%v) = %v, %v, want it to be missing", wrong, missing, err)
		}
		var corrupt *cas.CorruptError
		got, err := read(t, s, wrong)
		if !errors.Is(err, fs.ErrNotExist) && !errors.As(err, &corrupt) {
			t.Errorf("reading with size %d: %v, want a *NotFoundError or a *CorruptError", size, err)
		}
		if int64(len(got)) > max(size, 0) {
			t.Errorf("reading with size %d yielded %d bytes", size, len(got))
		}
	}
	if got, err := read(t, s, d); err != nil || !bytes.Equal(got, b) {
		t.Errorf("the blob itself: %d bytes, %v", len(got), err)
	}
}

func testMissing(t *testing.T, s cas.Store) {
	var all, want []digest.Digest
	for i := range 100 {
		b := []byte(fmt.Sprint(i))
		if i%3 == 0 {
			want = append(want, digest.OfBytes(b))
		} else {
			put(t, s, b)
		}
		all = append(all, digest.OfBytes(b))
	}
	if got, err := s.Missing(t.Context(), all); err != nil || !slices.Equal(got, want) {
		t.Errorf("Missing = %d blobs, %v, want %d in the order of the question", len(got), err, len(want))
	}
	if got, err := s.Missing(t.Context(), nil); err != nil || len(got) != 0 {
		t.Errorf("Missing of nothing = %v, %v", got, err)
	}
}

func testReaderErrorLeavesNothing(t *testing.T, s cas.Store) {
	broken := errors.New("broken pipe of a test")
	for _, n := range sizes() {
		b := content(n, 3)
		d, err := s.Put(t.Context(), io.MultiReader(bytes.NewReader(b), iotest.ErrReader(broken)))
		if !errors.Is(err, broken) || !d.IsZero() {
			t.Errorf("Put after %d bytes = %v, %v, want the reader's error", n, d, err)
		}
		wantAbsent(t, s, digest.OfBytes(b))
	}
}

func testCancelledPutLeavesNothing(t *testing.T, s cas.Store) {
	for _, n := range sizes() {
		b := content(n, 4)
		ctx, cancel := context.WithCancel(t.Context())
		stop := readerFunc(func([]byte) (int, error) { cancel(); return 0, nil })
		d, err := s.Put(ctx, io.MultiReader(bytes.NewReader(b), stop, bytes.NewReader(b)))
		if !errors.Is(err, context.Canceled) || !d.IsZero() {
			t.Errorf("Put cancelled after %d bytes = %v, %v, want context.Canceled", n, d, err)
		}
		wantAbsent(t, s, digest.OfBytes(b))
		wantAbsent(t, s, digest.OfBytes(append(b, b...)))
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func testCancelledContext(t *testing.T, s cas.Store) {
	d := put(t, s, []byte("here"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, putErr := cas.PutBytes(ctx, s, []byte("other"))
	_, openErr := s.Open(ctx, d)
	_, missingErr := s.Missing(ctx, []digest.Digest{d})
	for i, err := range []error{putErr, openErr, missingErr, s.Flush(ctx)} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s with a cancelled context: %v", []string{"Put", "Open", "Missing", "Flush"}[i], err)
		}
	}
	wantAbsent(t, s, digest.OfBytes([]byte("other")))
}

// damage makes b what is stored for d.
func damage(t *testing.T, s cas.Store, d digest.Digest, b []byte) {
	t.Helper()
	switch s := s.(type) {
	case cas.Pather:
		p, ok := s.Path(d)
		if !ok {
			t.Fatalf("Path(%v): no file", d)
		}
		if err := os.Chmod(p, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(p, 0o444); err != nil {
			t.Fatal(err)
		}
	case Corrupter:
		if err := s.Corrupt(d, b); err != nil {
			t.Fatal(err)
		}
	default:
		t.Skip("the store can be damaged neither through a file nor by asking")
	}
}

// damages are what can happen to the bytes of a blob.
func damages(b []byte) map[string][]byte {
	flipped := bytes.Clone(b)
	flipped[len(b)/2] ^= 1
	return map[string][]byte{
		"flipped":   flipped,
		"last":      append(bytes.Clone(b[:len(b)-1]), b[len(b)-1]^0x80),
		"truncated": b[:len(b)-1],
		"emptied":   {},
		"longer":    append(bytes.Clone(b), 0),
		"zeroed":    make([]byte, len(b)),
	}
}

func testCorruptionIsSeen(t *testing.T, s cas.Store) {
	for _, n := range []int{1, 1000, 300 << 10} {
		b := content(n, 5)
		for what, bad := range damages(b) {
			d := put(t, s, b)
			damage(t, s, d, bad)
			got, err := read(t, s, d)
			var corrupt *cas.CorruptError
			if !errors.As(err, &corrupt) || corrupt.Digest != d {
				t.Errorf("%d bytes %s: read %d bytes, %v, want a *CorruptError", n, what, len(got), err)
			}
			if len(got) > n {
				t.Errorf("%d bytes %s: the reader yielded %d bytes", n, what, len(got))
			}
			put(t, s, b)
			damage(t, s, d, bad)
			if _, err := cas.ReadAll(t.Context(), s, d, 1<<20); !errors.As(err, &corrupt) {
				t.Errorf("%d bytes %s: ReadAll: %v, want a *CorruptError", n, what, err)
			}
		}
	}
}

func testPutRepairs(t *testing.T, s cas.Store) {
	for _, n := range []int{1, 1000, 300 << 10} {
		b := content(n, 6)
		for what, bad := range damages(b) {
			d := put(t, s, b)
			damage(t, s, d, bad)
			if len(bad) != len(b) {
				if missing, err := s.Missing(t.Context(), []digest.Digest{d}); err != nil || len(missing) != 1 {
					t.Errorf("%d bytes %s: Missing = %v, %v, want it to be missing", n, what, missing, err)
				}
			}
			put(t, s, b)
			if got, err := read(t, s, d); err != nil || !bytes.Equal(got, b) {
				t.Errorf("%d bytes %s: after another Put: %d bytes, %v", n, what, len(got), err)
			}
		}
	}
}

func testReadAll(t *testing.T, s cas.Store) {
	b := content(5000, 7)
	d := put(t, s, b)
	if got, err := cas.ReadAll(t.Context(), s, d, 5000); err != nil || !bytes.Equal(got, b) {
		t.Errorf("ReadAll = %d bytes, %v", len(got), err)
	}
	var tooLarge *cas.TooLargeError
	if _, err := cas.ReadAll(t.Context(), s, d, 4999); !errors.As(err, &tooLarge) || tooLarge.Limit != 4999 {
		t.Errorf("ReadAll beyond its limit: %v, want a *TooLargeError", err)
	}
	empty := put(t, s, nil)
	if got, err := cas.ReadAll(t.Context(), s, empty, 0); err != nil || len(got) != 0 {
		t.Errorf("ReadAll of nothing = %q, %v", got, err)
	}
}

// A blob that is being read can be put again meanwhile.
func testOpenSurvivesPut(t *testing.T, s cas.Store) {
	b := content(500<<10, 8)
	r, err := s.Open(t.Context(), put(t, s, b))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	head := make([]byte, 1000)
	if _, err := io.ReadFull(r, head); err != nil {
		t.Fatal(err)
	}
	put(t, s, b)
	tail, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(slices.Concat(head, tail), b) {
		t.Errorf("read %d bytes of %d, %v", len(head)+len(tail), len(b), err)
	}
}

func testFlush(t *testing.T, s cas.Store) {
	for range 3 {
		if err := s.Flush(t.Context()); err != nil {
			t.Fatalf("Flush of nothing: %v", err)
		}
	}
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			for i := range 8 {
				b := []byte(fmt.Sprint("blob ", i, " of ", g%4))
				d, err := cas.PutBytes(t.Context(), s, b)
				if err == nil {
					err = s.Flush(t.Context())
				}
				if err != nil {
					t.Errorf("Put and Flush: %v", err)
				}
				if got, err := read(t, s, d); err != nil || !bytes.Equal(got, b) {
					t.Errorf("after Flush: %q, %v", got, err)
				}
			}
		})
	}
	wg.Wait()
}

// Many goroutines put, look for, read and flush the same few blobs.
func testConcurrent(t *testing.T, s cas.Store) {
	var blobs [][]byte
	for i, n := range sizes() {
		blobs = append(blobs, content(n, byte(100+i)))
	}
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(g)))
			for range 60 {
				b := blobs[r.IntN(len(blobs))]
				d := digest.OfBytes(b)
				switch r.IntN(4) {
				case 0:
					if got, err := cas.PutBytes(t.Context(), s, b); err != nil || got != d {
						t.Errorf("Put = %v, %v", got, err)
					}
				case 1:
					if got, err := read(t, s, d); !errors.Is(err, fs.ErrNotExist) && (err != nil || !bytes.Equal(got, b)) {
						t.Errorf("read %d bytes of %d, %v", len(got), len(b), err)
					}
				case 2:
					if _, err := s.Missing(t.Context(), []digest.Digest{d}); err != nil {
						t.Errorf("Missing: %v", err)
					}
				case 3:
					if err := s.Flush(t.Context()); err != nil {
						t.Errorf("Flush: %v", err)
					}
				}
			}
		})
	}
	wg.Wait()
}

func testBigStream(t *testing.T, s cas.Store) {
	const size = 48 << 20
	source := func() io.Reader { return io.LimitReader(rand.NewChaCha8([32]byte{9}), size) }
	want, err := digest.OfReader(source())
	if err != nil {
		t.Fatal(err)
	}
	d, err := s.Put(t.Context(), source())
	if err != nil || d != want {
		t.Fatalf("Put = %v, %v, want %v", d, err, want)
	}
	r, err := s.Open(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if n, err := io.Copy(io.Discard, r); err != nil || n != size {
		t.Errorf("read %d bytes, %v", n, err)
	}
}
