package durable_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/towpath/towpath/internal/cas/durable"
)

// All who come while a round is under way share the next one, and nobody is answered by a round that had begun before.
func TestGroupSharesRounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g durable.Group
		gate := make(chan struct{})
		rounds := 0
		work := func() error { rounds++; <-gate; return nil }
		var wg sync.WaitGroup
		var answered atomic.Int32
		call := func() {
			if err := g.Do(t.Context(), work); err != nil {
				t.Error(err)
			}
			answered.Add(1)
		}
		wg.Go(call)
		synctest.Wait()
		for range 100 {
			wg.Go(call)
		}
		synctest.Wait()
		gate <- struct{}{}
		synctest.Wait()
		if n := answered.Load(); n != 1 || rounds != 2 {
			t.Errorf("after the first round %d callers were answered and %d rounds begun, want 1 and 2", n, rounds)
		}
		gate <- struct{}{}
		wg.Wait()
		if rounds != 2 {
			t.Errorf("%d rounds, want 2", rounds)
		}
	})
}

func TestGroupErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g durable.Group
		broken := errors.New("broken")
		fail := true
		gate := make(chan struct{})
		work := func() error {
			<-gate
			if fail {
				return broken
			}
			return nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		errs := make(chan error)
		go func() { errs <- g.Do(ctx, work) }()
		go func() { errs <- g.Do(ctx, work) }()
		synctest.Wait()
		gate <- struct{}{}
		if err := <-errs; err != broken {
			t.Errorf("Do = %v, want the error of its round", err)
		}
		synctest.Wait()
		cancel() // the second round is under way, and goes on
		if err := <-errs; !errors.Is(err, context.Canceled) {
			t.Errorf("Do of a cancelled caller = %v", err)
		}
		fail = false
		gate <- struct{}{}
		synctest.Wait()
		if err := g.Do(ctx, work); !errors.Is(err, context.Canceled) {
			t.Errorf("Do with a cancelled context = %v", err)
		}
		go func() { gate <- struct{}{} }()
		if err := g.Do(t.Context(), work); err != nil {
			t.Errorf("Do after a failed round = %v", err)
		}
	})
}

func TestPublish(t *testing.T) {
	dir := t.TempDir()
	name := func(s string) string { return filepath.Join(dir, s) }
	write := func(p, s string) {
		if err := os.WriteFile(p, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want := func(s string) {
		t.Helper()
		if b, err := os.ReadFile(name("final")); err != nil || string(b) != s {
			t.Errorf("final = %q, %v, want %q", b, err, s)
		}
	}
	write(name("1"), "first")
	if err := durable.Publish(name("1"), name("final")); err != nil {
		t.Fatal(err)
	}
	want("first")
	write(name("2"), "second")
	if err := durable.Publish(name("2"), name("final")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Publish under a name that is taken = %v, want fs.ErrExist", err)
	}
	want("first")
	if err := durable.Replace(name("2"), name("final")); err != nil {
		t.Fatal(err)
	}
	want("second")
	write(name("3"), "third")
	if err := durable.Publish(name("3"), filepath.Join(dir, "no", "folder")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Publish into no folder = %v, want fs.ErrNotExist", err)
	}
	if _, err := os.Lstat(name("3")); err != nil {
		t.Errorf("a Publish that failed took the file away: %v", err)
	}
	if err := durable.SyncDir(filepath.Join(dir, "no")); err != nil {
		t.Errorf("SyncDir of no folder = %v", err)
	}
}

// Opening the folder sweeps what nobody holds, and nothing else, however many do it at once.
func TestTempSweep(t *testing.T) {
	dir := t.TempDir()
	for _, stale := range []string{"123-without-lock", "124-with-lock"} {
		if err := os.MkdirAll(filepath.Join(dir, stale), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, stale, "file"), nil, 0o400); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "124-with-lock", "lock"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				temp, err := durable.OpenTemp(dir)
				if err != nil {
					t.Error(err)
					return
				}
				f, err := temp.Create(0o400)
				if err != nil {
					t.Error(err)
					return
				}
				other, err := durable.OpenTemp(dir)
				if err != nil {
					t.Error(err)
				}
				if _, err := os.Lstat(f.Name()); err != nil {
					t.Errorf("a file in use was swept: %v", err)
				}
				if err := errors.Join(f.Close(), temp.Close(), other.Close()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != "lock" {
		t.Errorf("left: %v, %v", entries, err)
	}
}
