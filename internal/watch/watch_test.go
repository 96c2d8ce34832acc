package watch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"
)

// watch returns a Watcher of folders and a function that returns what changed next.
func watch(t *testing.T, skip func(string, bool) bool, folders ...Folder) (*Watcher, func() []string) {
	t.Helper()
	w, err := New(skip)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	w.pace.quiet = 5 * time.Millisecond
	if err := w.Watch(folders); err != nil {
		t.Fatal(err)
	}
	return w, func() []string {
		t.Helper()
		c, err := w.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return c.Paths
	}
}

func write(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(path), 0o644); err != nil {
		t.Fatal(err)
	}
}

// expect waits until a path is told. What is told of before it belongs to what was done before, in bursts that nobody can foresee.
func expect(t *testing.T, next func() []string, path string) {
	t.Helper()
	for !slices.Contains(next(), path) {
	}
}

func TestDeepFoldersTellOfFoldersThatAppear(t *testing.T) {
	top := t.TempDir()
	_, next := watch(t, nil, Folder{top, true})
	write(t, filepath.Join(top, "a"))
	expect(t, next, filepath.Join(top, "a"))
	write(t, filepath.Join(top, "x", "y", "b"))
	expect(t, next, filepath.Join(top, "x"))
	write(t, filepath.Join(top, "x", "y", "c"))
	expect(t, next, filepath.Join(top, "x", "y", "c"))
}

func TestAnEditorThatRenamesIsSeen(t *testing.T) {
	top := t.TempDir()
	file := filepath.Join(top, "a")
	write(t, file)
	_, next := watch(t, nil, Folder{top, false})
	for range 2 { // the second one finds the watch in order
		write(t, file+".new")
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
		expect(t, next, file)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	expect(t, next, file)
}

func TestAFolderThatIsReplacedIsWatchedOn(t *testing.T) {
	top := t.TempDir()
	src := filepath.Join(top, "src")
	write(t, filepath.Join(src, "a"))
	_, next := watch(t, nil, Folder{src, true})
	if err := os.Rename(src, filepath.Join(top, "old")); err != nil {
		t.Fatal(err)
	}
	expect(t, next, src)
	write(t, filepath.Join(src, "b")) // the folder above is watched meanwhile
	expect(t, next, src)
	write(t, filepath.Join(src, "c"))
	expect(t, next, filepath.Join(src, "c"))
}

func TestWhatIsSkippedAndWhatIsBelowFlatFoldersIsNotTold(t *testing.T) {
	top := t.TempDir()
	for _, name := range []string{"skipped/a", "deep/skipped/a", "flat/below/a"} {
		write(t, filepath.Join(top, name))
	}
	skip := func(path string, _ bool) bool { return filepath.Base(path) == "skipped" }
	w, next := watch(t, skip, Folder{filepath.Join(top, "deep"), true}, Folder{filepath.Join(top, "flat"), false})
	if len(w.watched) != 2 {
		t.Errorf("watched are %v", w.watched)
	}
	for _, name := range []string{"skipped/a", "deep/skipped/a", "deep/skipped/b", "flat/below/a"} {
		write(t, filepath.Join(top, name))
	}
	if err := os.Remove(filepath.Join(top, "deep/skipped/a")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(top, "flat", "seen"))
	for {
		paths := next()
		for _, p := range paths {
			if p != filepath.Join(top, "flat", "seen") {
				t.Errorf("told of %s", p)
			}
		}
		if slices.Contains(paths, filepath.Join(top, "flat", "seen")) {
			return
		}
	}
}

func TestWatchReplacesWhatIsWatched(t *testing.T) {
	top := t.TempDir()
	write(t, filepath.Join(top, "a", "f"))
	write(t, filepath.Join(top, "b", "f"))
	w, next := watch(t, nil, Folder{filepath.Join(top, "a"), true})
	if err := w.Watch([]Folder{{filepath.Join(top, "b"), true}}); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(top, "a", "f"))
	write(t, filepath.Join(top, "b", "f"))
	if got := next(); !slices.Equal(got, []string{filepath.Join(top, "b", "f")}) {
		t.Errorf("told of %v", got)
	}
}

func TestNextEndsWithItsContext(t *testing.T) {
	w, _ := watch(t, nil, Folder{t.TempDir(), true})
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	cancel(why)
	if _, err := w.Next(ctx); !errors.Is(err, why) {
		t.Errorf("Next = %v", err)
	}
}

func TestLimitsOfTheSystemAreSaid(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EMFILE} {
		var limit *LimitError
		if err := limited("watch x", errno); !errors.As(err, &limit) || limit.Hint == "" {
			t.Errorf("%v becomes %v", errno, err)
		}
	}
}

// A burst ends with a pause, or when it has gone on for too long.
func TestBurstsBecomeOneChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events, errs := make(chan fsnotify.Event), make(chan error)
		p := usualPace()
		collect := func() (Change, time.Duration) {
			began := time.Now()
			c, err := p.collect(t.Context(), events, errs, func(e fsnotify.Event) bool { return e.Name != "no" })
			if err != nil {
				t.Fatal(err)
			}
			return c, time.Since(began)
		}
		go func() {
			for _, name := range []string{"a", "no", "b", "a"} {
				time.Sleep(p.quiet / 2) // of the bubble's clock: no time passes
				events <- fsnotify.Event{Name: name, Op: fsnotify.Write}
			}
		}()
		if c, took := collect(); !slices.Equal(c.Paths, []string{"a", "b"}) || c.Lost || took != 3*p.quiet || time.Since(c.Last) != p.quiet {
			t.Errorf("a burst became %v after %v", c, took)
		}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go func() {
			for i := 0; ; i++ {
				select {
				case <-ctx.Done():
					return
				case events <- fsnotify.Event{Name: fmt.Sprint(i), Op: fsnotify.Write}:
				}
				time.Sleep(p.quiet / 2) // of the bubble's clock: no time passes
			}
		}()
		if c, took := collect(); len(c.Paths) != p.named || !c.Lost || took != p.longest {
			t.Errorf("what does not end became %v after %v", c, took)
		}
	})
}

func TestLostEventsAreAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events, errs := make(chan fsnotify.Event), make(chan error)
		go func() { errs <- fsnotify.ErrEventOverflow }()
		c, err := usualPace().collect(t.Context(), events, errs, func(fsnotify.Event) bool { return true })
		if err != nil || !c.Lost {
			t.Errorf("collect = %v, %v", c, err)
		}
		go func() { errs <- errors.New("broken") }()
		if _, err := usualPace().collect(t.Context(), events, errs, nil); err == nil {
			t.Error("a broken watch is not told")
		}
	})
}
