package disk_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/cas/castest"
	"github.com/towpath/towpath/internal/cas/disk"
	"github.com/towpath/towpath/internal/digest"
)

func open(t *testing.T, dir string) *disk.Store {
	t.Helper()
	s, err := disk.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

func put(t *testing.T, s cas.Store, b []byte) digest.Digest {
	t.Helper()
	d, err := cas.PutBytes(t.Context(), s, b)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func flush(t *testing.T, s cas.Store) {
	t.Helper()
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// leftovers returns the files below dir/tmp other than locks.
func leftovers(t *testing.T, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "tmp", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(found, func(p string) bool { return filepath.Base(p) == "lock" })
}

func mode(t *testing.T, s *disk.Store, d digest.Digest) fs.FileMode {
	t.Helper()
	p, ok := s.Path(d)
	if !ok {
		t.Fatalf("Path(%v): no file", d)
	}
	info, err := os.Lstat(p)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode()
}

func TestStore(t *testing.T) {
	castest.Run(t, func(t *testing.T) cas.Store {
		dir := t.TempDir()
		s := open(t, dir)
		t.Cleanup(func() {
			if left := leftovers(t, dir); len(left) > 0 {
				t.Errorf("left in tmp: %v", left)
			}
		})
		return s
	})
}

// The mode of a blob says whether it is durable, to this process and to others: who finds one that is not has it flushed.
func TestModeTellsWhatIsDurable(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("blobs are synced when they are put")
	}
	dir := t.TempDir()
	a, b, c := open(t, dir), open(t, dir), open(t, dir)
	blobs := [][]byte{[]byte("small"), bytes.Repeat([]byte("big"), 1<<17)}
	for _, blob := range blobs {
		d := put(t, a, blob)
		if m := mode(t, a, d); m != 0o400 {
			t.Errorf("before Flush the mode is %v", m)
		}
		flush(t, b) // has nothing to do with it
		if m := mode(t, a, d); m != 0o400 {
			t.Errorf("after the Flush of another store the mode is %v", m)
		}
		put(t, b, blob)
		flush(t, b)
		if m := mode(t, a, d); m != 0o444 {
			t.Errorf("after the Flush of a store that put it, too, the mode is %v", m)
		}
		flush(t, a)

		other := put(t, a, append([]byte("found "), blob...))
		if missing, err := c.Missing(t.Context(), []digest.Digest{other}); err != nil || len(missing) != 0 {
			t.Errorf("Missing = %v, %v", missing, err)
		}
		flush(t, c)
		if m := mode(t, a, other); m != 0o444 {
			t.Errorf("after the Flush of a store that found it the mode is %v", m)
		}
	}
}

func TestPutOfWhatIsThereWritesNothing(t *testing.T) {
	s := open(t, t.TempDir())
	for _, blob := range [][]byte{{}, []byte("small"), bytes.Repeat([]byte("big"), 1<<17)} {
		d := put(t, s, blob)
		flush(t, s)
		p, _ := s.Path(d)
		before, err := os.Lstat(p)
		if err != nil {
			t.Fatal(err)
		}
		put(t, s, blob)
		after, err := os.Lstat(p)
		if err != nil || !os.SameFile(before, after) || after.Mode() != before.Mode() {
			t.Errorf("%d bytes: another file took the place of the blob, %v", len(blob), err)
		}
	}
}

func TestCorruptBlobIsRemoved(t *testing.T) {
	s := open(t, t.TempDir())
	d := put(t, s, []byte("good"))
	p, _ := s.Path(d)
	if err := errors.Join(os.Remove(p), os.WriteFile(p, []byte("evil"), 0o444)); err != nil {
		t.Fatal(err)
	}
	var corrupt *cas.CorruptError
	if _, err := cas.ReadAll(t.Context(), s, d, 100); !errors.As(err, &corrupt) {
		t.Errorf("ReadAll = %v, want a *CorruptError", err)
	}
	if missing, err := s.Missing(t.Context(), []digest.Digest{d}); err != nil || len(missing) != 1 {
		t.Errorf("Missing = %v, %v, want it to be removed", missing, err)
	}
	var notFound *cas.NotFoundError
	if err := s.Delete(t.Context(), d); !errors.As(err, &notFound) {
		t.Errorf("Delete = %v", err)
	}
}

// A blob that could not be synced is lost, and every Flush says so until it is put again: who put it may not have asked yet.
func TestLostBlob(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("blobs are synced when they are put")
	}
	s := open(t, t.TempDir())
	d := put(t, s, []byte("lost"))
	fine := put(t, s, []byte("fine"))
	p, _ := s.Path(d)
	if err := errors.Join(os.Remove(p), os.Symlink(filepath.Base(p), p)); err != nil { // what cannot be opened cannot be synced
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Flush(t.Context()); err == nil {
			t.Error("Flush with a blob that cannot be synced: no error")
		}
	}
	if missing, err := s.Missing(t.Context(), []digest.Digest{fine, d}); err != nil || !slices.Equal(missing, []digest.Digest{d}) {
		t.Errorf("Missing = %v, %v, want the lost one", missing, err)
	}
	put(t, s, []byte("lost"))
	flush(t, s)
}

// Someone may remove any part of the folder at any time; what comes then makes it anew.
func TestFolderIsRemovedUnderneath(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	for _, gone := range []string{"blobs", "tmp", "."} {
		put(t, s, []byte(gone))
		if err := os.RemoveAll(filepath.Join(dir, gone)); err != nil {
			t.Fatal(err)
		}
		flush(t, s) // what was put is gone, which is not Flush's to report
		if got, err := cas.ReadAll(t.Context(), s, put(t, s, []byte(gone)), 10); err != nil || string(got) != gone {
			t.Errorf("after %q was removed: %q, %v", gone, got, err)
		}
		flush(t, s)
	}
}

func TestInfoAndClear(t *testing.T) {
	dir := t.TempDir()
	s, other := open(t, dir), open(t, dir)
	if n, size, err := s.Info(t.Context()); n != 0 || size != 0 || err != nil {
		t.Errorf("Info of an empty store = %d, %d, %v", n, size, err)
	}
	big := bytes.Repeat([]byte("x"), 1<<20)
	d := put(t, s, big)
	put(t, s, []byte("small"))
	if n, size, err := other.Info(t.Context()); n != 2 || size != 1<<20+5 || err != nil {
		t.Errorf("Info = %d, %d, %v", n, size, err)
	}
	r, err := s.Open(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := other.Clear(t.Context()); err != nil {
		t.Errorf("Clear: %v", err)
	}
	if n, _, err := s.Info(t.Context()); n != 0 || err != nil {
		t.Errorf("Info after Clear = %d, %v", n, err)
	}
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, big) {
		t.Errorf("what was open reads %d bytes, %v", len(got), err)
	}
	flush(t, s)
}

// While one clears, others put and read: they find blobs missing and never wrong.
func TestClearBesideOthers(t *testing.T) {
	dir := t.TempDir()
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		s := open(t, dir)
		for {
			select {
			case <-done:
				return
			default:
				if err := s.Clear(t.Context()); err != nil {
					t.Errorf("Clear: %v", err)
				}
			}
		}
	})
	var users sync.WaitGroup
	for g := range 4 {
		users.Go(func() {
			s := open(t, dir)
			for i := range 200 {
				b := bytes.Repeat([]byte(fmt.Sprint(i%7)), 1<<(i%18))
				d, err := cas.PutBytes(t.Context(), s, b)
				if err != nil {
					t.Errorf("%d: Put: %v", g, err)
				}
				if got, err := cas.ReadAll(t.Context(), s, d, 1<<20); !errors.Is(err, fs.ErrNotExist) && (err != nil || !bytes.Equal(got, b)) {
					t.Errorf("%d: read %d bytes of %d, %v", g, len(got), len(b), err)
				}
				if err := s.Flush(t.Context()); err != nil {
					t.Errorf("%d: Flush: %v", g, err)
				}
			}
		})
	}
	users.Wait()
	close(done)
	wg.Wait()
}

func TestBigStreamTakesLittleMemory(t *testing.T) {
	s := open(t, t.TempDir())
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	d, err := s.Put(t.Context(), io.LimitReader(rand.NewChaCha8([32]byte{1}), 64<<20))
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Open(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := io.Copy(io.Discard, r); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 4<<20 {
		t.Errorf("putting and reading 64 MiB allocated %d bytes", used)
	}
}

func TestClosed(t *testing.T) {
	dir := t.TempDir()
	s, err := disk.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	d := put(t, s, []byte("x"))
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Errorf("Close: %v", err)
	}
	if _, err := cas.PutBytes(t.Context(), s, []byte("y")); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Put after Close = %v", err)
	}
	if _, err := cas.ReadAll(t.Context(), s, d, 10); err != nil {
		t.Errorf("ReadAll after Close = %v", err)
	}
	if entries, err := os.ReadDir(filepath.Join(dir, "tmp")); err != nil || len(entries) != 1 {
		t.Errorf("tmp after Close: %v, %v, want only the gate's lock", entries, err)
	}
}

func TestABlobThatWasWrittenToIsReadBeforeItCounts(t *testing.T) {
	s, err := disk.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	d, err := cas.PutBytes(ctx, s, []byte("good content"))
	if err != nil {
		t.Fatal(err)
	}
	path, _ := s.Path(d)
	missing := func() int {
		t.Helper()
		m, err := s.Missing(ctx, []digest.Digest{d})
		if err != nil {
			t.Fatal(err)
		}
		return len(m)
	}
	if err := os.Chtimes(path, time.Now(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if missing() != 0 {
		t.Error("a blob that was only touched is missing")
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("evil content"), 0o644); err != nil {
		t.Fatal(err)
	}
	if missing() != 1 {
		t.Error("a blob of the right size and the wrong content is there")
	}
	if _, err := cas.PutBytes(ctx, s, []byte("good content")); err != nil {
		t.Fatal(err)
	}
	if missing() != 0 {
		t.Error("a blob that was put again is missing")
	}
}
