package source_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/cas/mem"
	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/source"
)

// asked is a store that counts the questions.
type asked struct {
	cas.Store
	questions atomic.Int64
}

func (a *asked) Missing(ctx context.Context, ds []digest.Digest) ([]digest.Digest, error) {
	a.questions.Add(1)
	return a.Store.Missing(ctx, ds)
}

// lazy opens a Snapshotter that believes, on a store of its own.
func (f *fixture) lazy() (*source.Snapshotter, *asked) {
	f.t.Helper()
	store := &asked{Store: mem.New()}
	s, err := source.Open(source.Config{Store: store, Repository: f.top, IndexFile: f.index, Lazy: true})
	must(f.t, err)
	return s, store
}

// settle makes the index know all files, and the folders of them.
func (f *fixture) settle(names ...string) {
	f.t.Helper()
	for _, name := range names {
		content, err := os.ReadFile(f.path(name))
		must(f.t, err)
		f.remember(name, string(content))
	}
	f.take(".")
	f.take(".")
}

func TestLazy(t *testing.T) {
	f := newFixture(t)
	big := strings.Repeat("x", 1<<20)
	f.write("a", "a")
	f.write("d/b", "b")
	f.write("d/big", big)
	f.settle("a", "d/b", "d/big")
	want := f.take(".")
	s, store := f.lazy()
	must(t, s.Ensure(t.Context())) // of nothing
	requests := []source.Request{{Root: f.top, Globs: []string{"."}}, {Root: f.top, Globs: []string{"d/b"}}}
	results, err := s.Snapshot(t.Context(), requests)
	must(t, err)
	if results[0] != want {
		t.Errorf("%v, want %v", results[0], want)
	}
	if n := store.questions.Load(); n != 0 {
		t.Errorf("the store was asked %d times", n)
	}
	for range 2 { // the second time it has to put again what was lost since the first
		must(t, s.Ensure(t.Context()))
		f.store = store
		for path, content := range map[string]string{"a": "a", "d/b": "b", "d/big": big} {
			if got := f.content(results[0], path); got != content {
				t.Errorf("%s has %d bytes, want %d", path, len(got), len(content))
			}
		}
		if got := list(t, store, results[1]); len(got) != 1 || got[0] != "d/b" {
			t.Errorf("the second request has %q", got)
		}
		store.Store = mem.New()
	}
}

func TestLazyTakesWhatIsNew(t *testing.T) {
	f := newFixture(t)
	f.write("old", "old")
	f.settle("old")
	f.write("new", "new")
	s, store := f.lazy()
	results, err := s.Snapshot(t.Context(), []source.Request{{Root: f.top, Globs: []string{"."}}})
	must(t, err)
	must(t, os.Remove(f.path("new"))) // it was put when it was read
	must(t, s.Ensure(t.Context()))
	f.store = store
	for _, name := range []string{"old", "new"} {
		if got := f.content(results[0], name); got != name {
			t.Errorf("%s is %q", name, got)
		}
	}
}

func TestEnsureSeesThatAFileHasChanged(t *testing.T) {
	for what, change := range map[string]func(f *fixture){
		"changed since":  func(f *fixture) { f.write("d/a", "wrong") },
		"cannot be read": func(f *fixture) { must(f.t, os.Remove(f.path("d/a"))) },
		"":               func(f *fixture) { f.write("d/a", "right") }, // only touched
	} {
		f := newFixture(t)
		f.write("d/a", "right")
		f.settle("d/a")
		s, _ := f.lazy()
		_, err := s.Snapshot(t.Context(), []source.Request{{Root: f.top, Globs: []string{"."}}})
		must(t, err)
		change(f)
		for range 2 {
			err = s.Ensure(t.Context())
			if what == "" {
				must(t, err)
				continue
			}
			var e *source.Error
			if !errors.As(err, &e) || e.Path != "d/a" || !strings.Contains(e.Error(), what) || e.Hint == "" {
				t.Errorf("error %v, want one with %q", err, what)
			}
		}
	}
}

// TestFoldersAreRemembered changes one thing after the other in a folder whose Directory the index has.
func TestFoldersAreRemembered(t *testing.T) {
	f := newFixture(t)
	names := []string{"d/a", "d/b", "d/c"}
	reset := func() {
		must(t, os.RemoveAll(f.path("d")))
		for _, name := range names {
			f.write(name, name)
		}
		f.settle(names...)
	}
	for i, change := range []func(){
		func() {},
		func() { must(t, os.Remove(f.path("d/b"))) },
		func() { f.write("d/new", "new") },
		func() { f.write("d/e/new", "new") },
		func() { f.symlink("a", "d/link") },
		func() { must(t, os.Chmod(f.path("d/a"), 0o755)) },
		func() { must(t, os.Rename(f.path("d/a"), f.path("d/z"))) },
		func() { f.write("d/b", "d/B") },
		func() { f.write("d/.gitignore", "a\n") },
		func() { must(t, os.Remove(f.path("d/b"))); f.symlink("a", "d/b") },
	} {
		reset()
		change()
		for range 3 {
			warm := f.take(".")
			cold, err := source.Open(source.Config{Store: f.store, Repository: f.top})
			must(t, err)
			results, err := cold.Snapshot(t.Context(), []source.Request{{Root: f.top, Globs: []string{"."}}})
			must(t, err)
			if warm != results[0] {
				t.Errorf("change %d: the index leads to %v, the files to %v", i, warm, results[0])
			}
		}
	}
}

// TestRememberedFolderIsMade puts a Directory again that was not made, in a store that lost it.
func TestRememberedFolderIsMade(t *testing.T) {
	f := newFixture(t)
	var names []string
	for i := range 20 {
		names = append(names, fmt.Sprintf("d/%d", i))
		f.write(names[i], names[i])
	}
	f.settle(names...)
	f.store = mem.New()
	if got := f.files("."); len(got) != len(names) {
		t.Errorf("%q", got)
	}
}
