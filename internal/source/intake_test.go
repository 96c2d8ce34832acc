package source_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/cas/mem"
	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/source"
	"github.com/towpath/towpath/internal/source/statindex"
	"github.com/towpath/towpath/internal/tree"
)

// content returns what the snapshot r has at path.
func (f *fixture) content(r source.Result, path string) string {
	f.t.Helper()
	must(f.t, r.Err)
	e, err := tree.Lookup(f.t.Context(), f.store, r.Digest, path)
	must(f.t, err)
	b, err := cas.ReadAll(f.t.Context(), f.store, e.Digest, 1<<30)
	must(f.t, err)
	return string(b)
}

// hooked is a store that calls back, from which tests change files at the worst moment.
type hooked struct {
	cas.Store
	onMissing, onPut func()
	failPut          error
}

func (h *hooked) Missing(ctx context.Context, ds []digest.Digest) ([]digest.Digest, error) {
	if h.onMissing != nil {
		h.onMissing()
	}
	return h.Store.Missing(ctx, ds)
}

func (h *hooked) Put(ctx context.Context, r io.Reader) (digest.Digest, error) {
	if h.onPut != nil {
		h.onPut()
	}
	if h.failPut != nil {
		return digest.Digest{}, h.failPut
	}
	return h.Store.Put(ctx, r)
}

// TestSameSizeEdits writes, snapshots and writes again as fast as it goes, so that many of the writes fall within one tick.
func TestSameSizeEdits(t *testing.T) {
	f := newFixture(t)
	f.write("other", "o")
	same := f.open() // remembers within the process, too
	for i := range 600 {
		want := fmt.Sprintf("content %06d", i)
		switch i % 3 {
		case 0: // in place
			file, err := os.OpenFile(f.path("a"), os.O_RDWR|os.O_CREATE, 0o644)
			must(t, err)
			_, err = file.WriteString(want)
			must(t, err)
			must(t, file.Close())
		case 1: // truncated and written
			f.write("a", want)
		case 2: // replaced
			f.write("b", want)
			must(t, os.Rename(f.path("b"), f.path("a")))
		}
		if i%5 == 0 { // with the modification time set back
			info, err := os.Stat(f.path("other"))
			must(t, err)
			must(t, os.Chtimes(f.path("a"), info.ModTime(), info.ModTime()))
		}
		if got := f.content(f.take("."), "a"); got != want {
			t.Fatalf("round %d: the snapshot has %q, the file %q", i, got, want)
		}
		results, err := same.Snapshot(t.Context(), []source.Request{{Root: f.top, Globs: []string{"a"}}})
		must(t, err)
		if got := f.content(results[0], "a"); got != want {
			t.Fatalf("round %d: the snapshot of the old Snapshotter has %q, the file %q", i, got, want)
		}
		d, err := same.Digest(t.Context(), f.path("a"))
		must(t, err)
		if d != digest.OfBytes([]byte(want)) {
			t.Fatalf("round %d: the wrong digest", i)
		}
	}
}

// remember makes the index say that a file has some other content.
func (f *fixture) remember(name, content string) {
	f.t.Helper()
	file, err := os.Open(f.path(name))
	must(f.t, err)
	defer file.Close()
	st, err := statindex.StatFile(file)
	must(f.t, err)
	x := statindex.Open(f.index)
	clock := x.Clock()
	for { // until the clock of the file system has moved on
		x.Folder(filepath.Dir(f.path(name))).Record(clock, filepath.Base(name), st, digest.OfBytes([]byte(content)))
		c := x.Folder(filepath.Dir(f.path(name))).Cursor()
		if _, ok := c.Lookup(filepath.Base(name), st); ok {
			break
		}
		clock.Sample()
	}
	must(f.t, x.Save())
}

func TestUnchangedFilesAreNotRead(t *testing.T) {
	f := newFixture(t)
	f.write("d/a", "right")
	_, err := cas.PutBytes(t.Context(), f.store, []byte("wrong"))
	must(t, err)
	f.remember("d/a", "wrong")
	if got := f.content(f.take("."), "d/a"); got != "wrong" {
		t.Errorf("the file was read: %q", got)
	}
	if d, err := f.open().Digest(t.Context(), f.path("d/a")); err != nil || d != digest.OfBytes([]byte("wrong")) {
		t.Errorf("the file was read for its digest (%v)", err)
	}
	f.write("d/a", "Right")
	if got := f.content(f.take("."), "d/a"); got != "Right" {
		t.Errorf("the file was not read: %q", got)
	}
}

func TestWhatTheStoreLostIsPutAgain(t *testing.T) {
	f := newFixture(t)
	f.write("a", "right")
	f.write("big", strings.Repeat("x", 1<<20))
	f.remember("a", "right")
	f.remember("big", strings.Repeat("x", 1<<20))
	for range 2 {
		f.store = mem.New()
		f.wantFiles([]string{"."}, "a", "big")
	}
	// Where the index is wrong, which it should never be, what the file really has wins as soon as it is read.
	f.remember("a", "wrong")
	if got := f.content(f.take("."), "a"); got != "right" {
		t.Errorf("the snapshot has %q", got)
	}
}

func TestDamagedIndexIsCold(t *testing.T) {
	f := newFixture(t)
	f.write("a", "a")
	for _, data := range []string{"", "x", "towstat\x01", strings.Repeat("towstat\x01", 100)} {
		must(t, os.WriteFile(f.index, []byte(data), 0o644))
		f.wantFiles([]string{"."}, "a")
	}
}

func TestFileChangesBeforeItIsRead(t *testing.T) {
	f := newFixture(t)
	f.write("known", "k")
	f.remember("known", "k")
	f.write("a", "first")
	inner := f.store
	_, err := cas.PutBytes(t.Context(), inner, []byte("k"))
	must(t, err)
	var once sync.Once
	f.store = &hooked{Store: inner, onMissing: func() { once.Do(func() { f.write("a", "second, longer") }) }}
	if got := f.content(f.take("."), "a"); got != "second, longer" {
		t.Errorf("the snapshot has %q", got)
	}
	once = sync.Once{}
	f.write("a", "third")
	f.store = &hooked{Store: inner, onMissing: func() { once.Do(func() { must(t, os.Remove(f.path("a"))) }) }}
	if e := f.wantError([]string{"."}, "a", "cannot be read"); !errors.Is(e, fs.ErrNotExist) {
		t.Errorf("error %v", e)
	}
}

func TestFileKeepsChanging(t *testing.T) {
	f := newFixture(t)
	big := strings.Repeat("x", 1<<20)
	f.write("big", big)
	n := 0
	f.store = &hooked{Store: f.store, onPut: func() {
		n++
		f.write("big", big[:len(big)-n])
	}}
	e := f.wantError([]string{"."}, "big", "changed while")
	if e.Hint == "" {
		t.Error("no hint")
	}
}

func TestStoreFails(t *testing.T) {
	f := newFixture(t)
	broken := errors.New("broken")
	for _, size := range []int{10, 1 << 20} {
		f.write("a", strings.Repeat("x", size))
		s, err := source.Open(source.Config{Store: &hooked{Store: f.store, failPut: broken}, Repository: f.top})
		must(t, err)
		if _, err := s.Snapshot(t.Context(), []source.Request{{Root: f.top, Globs: []string{"."}}}); !errors.Is(err, broken) {
			t.Errorf("size %d: error %v", size, err)
		}
	}
}

func TestDigest(t *testing.T) {
	f := newFixture(t)
	outside := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(outside, []byte("content"), 0o644))
	s := f.open()
	for range 2 {
		if d, err := s.Digest(t.Context(), outside); err != nil || d != digest.OfBytes([]byte("content")) {
			t.Errorf("%v, %v", d, err)
		}
	}
	f.symlink(outside, "link")
	if d, err := s.Digest(t.Context(), f.path("link")); err != nil || d != digest.OfBytes([]byte("content")) {
		t.Errorf("through a symlink: %v, %v", d, err)
	}
	if _, err := s.Digest(t.Context(), f.path("nope")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	for _, bad := range []string{f.top, "relative"} {
		if _, err := s.Digest(t.Context(), bad); err == nil {
			t.Errorf("%s has a digest", bad)
		}
	}
}

// TestConcurrentUse is for the race detector.
func TestConcurrentUse(t *testing.T) {
	f := newFixture(t)
	for i := range 300 {
		f.write(fmt.Sprintf("d%d/f%d", i%20, i), fmt.Sprint(i))
	}
	s := f.open()
	var group sync.WaitGroup
	digests := make([]digest.Digest, 4)
	for i := range digests {
		group.Go(func() {
			results, err := s.Snapshot(t.Context(), []source.Request{
				{Root: f.top, Globs: []string{"."}}, {Root: f.top, Globs: []string{"d1", "!**/f1"}}, {Root: f.top, Globs: []string{"**/f*"}}, {Root: f.path("d2"), Globs: []string{"*"}},
			})
			if err != nil || results[0].Err != nil {
				t.Error(err, results)
				return
			}
			if results[0].Digest != results[2].Digest {
				t.Error("everything is not everything")
			}
			digests[i] = results[0].Digest
			if _, err := s.Digest(t.Context(), f.path("d3/f3")); err != nil {
				t.Error(err)
			}
			if err := s.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	for _, d := range digests {
		if d != digests[0] {
			t.Errorf("digests differ: %v", digests)
		}
	}
}
