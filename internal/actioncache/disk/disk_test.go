package disk_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/towpath/towpath/internal/actioncache"
	"github.com/towpath/towpath/internal/actioncache/actioncachetest"
	"github.com/towpath/towpath/internal/actioncache/disk"
	"github.com/towpath/towpath/internal/digest"
)

func open(tb testing.TB, dir string) *disk.Cache {
	tb.Helper()
	c, err := disk.Open(dir)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := c.Close(); err != nil {
			tb.Errorf("Close: %v", err)
		}
	})
	return c
}

func TestCache(t *testing.T) {
	actioncachetest.Run(t, func(t *testing.T) actioncache.Cache { return open(t, t.TempDir()) })
}

// entries returns the files of all entries below dir.
func entries(t *testing.T, dir string) []string {
	t.Helper()
	var files []string
	for _, kind := range []string{"stage", "step"} {
		found, err := filepath.Glob(filepath.Join(dir, kind, "*"))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	return files
}

func overwrite(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o444); err != nil {
		t.Fatal(err)
	}
}

func wantMissAndRemoved(t *testing.T, c *disk.Cache, key digest.Digest, file string) {
	t.Helper()
	if got, ok, err := c.Get(t.Context(), actioncache.Step, key); ok || err != nil {
		t.Errorf("Get = %q, %v, %v, want a miss", got, ok, err)
	}
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the entry is still there: %v", err)
	}
}

func TestEveryFlippedByteIsAMiss(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir)
	key := digest.OfBytes([]byte("key"))
	if err := c.Put(t.Context(), actioncache.Step, key, []byte("the value")); err != nil {
		t.Fatal(err)
	}
	file := entries(t, dir)[0]
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 0x10
		overwrite(t, file, bad)
		wantMissAndRemoved(t, c, key, file)
		if err := os.WriteFile(file, good[:i], 0o644); err != nil {
			t.Fatal(err)
		}
		wantMissAndRemoved(t, c, key, file)
		if err := os.WriteFile(file, good, 0o644); err != nil {
			t.Fatal(err)
		}
		if got, ok, err := c.Get(t.Context(), actioncache.Step, key); !ok || err != nil || string(got) != "the value" {
			t.Fatalf("Get of the good entry = %q, %v, %v", got, ok, err)
		}
	}
	overwrite(t, file, append(good, 0))
	wantMissAndRemoved(t, c, key, file)
}

func TestForeignEntryIsAMiss(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir)
	one, two := digest.OfBytes([]byte("one")), digest.OfBytes([]byte("two"))
	for _, k := range []digest.Digest{one, two} {
		if err := c.Put(t.Context(), actioncache.Step, k, []byte(k.Hex())); err != nil {
			t.Fatal(err)
		}
	}
	var from, to string
	for _, f := range entries(t, dir) {
		if strings.Contains(f, one.Hex()) {
			from = f
		} else {
			to = f
		}
	}
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	overwrite(t, to, b)
	wantMissAndRemoved(t, c, two, to)

	// The same key of another kind.
	asStage := filepath.Join(dir, "stage", filepath.Base(filepath.Dir(from)), filepath.Base(from))
	if err := os.MkdirAll(filepath.Dir(asStage), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(asStage, b, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := c.Get(t.Context(), actioncache.Stage, one); ok || err != nil {
		t.Errorf("Get of a step's entry among stages: %v, %v, want a miss", ok, err)
	}
}

func TestFolderInTheWayIsAMiss(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir)
	key := digest.OfBytes([]byte("key"))
	if err := c.Put(t.Context(), actioncache.Step, key, nil); err != nil {
		t.Fatal(err)
	}
	file := entries(t, dir)[0]
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(file, "below"), 0o755); err != nil {
		t.Fatal(err)
	}
	wantMissAndRemoved(t, c, key, file)
}

func TestInfoAndClear(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir)
	if n, size, err := c.Info(t.Context()); n != 0 || size != 0 || err != nil {
		t.Errorf("Info of an empty cache = %d, %d, %v", n, size, err)
	}
	key := digest.OfBytes([]byte("key"))
	for _, kind := range []actioncache.Kind{actioncache.Stage, actioncache.Step} {
		if err := c.Put(t.Context(), kind, key, make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
	}
	if n, size, err := c.Info(t.Context()); n != 2 || size < 200 || err != nil {
		t.Errorf("Info = %d, %d, %v, want 2 entries", n, size, err)
	}
	if err := open(t, dir).Clear(t.Context()); err != nil {
		t.Errorf("Clear: %v", err)
	}
	if n, _, err := c.Info(t.Context()); n != 0 || err != nil {
		t.Errorf("Info after Clear = %d, %v", n, err)
	}
	if _, ok, err := c.Get(t.Context(), actioncache.Step, key); ok || err != nil {
		t.Errorf("Get after Clear: %v, %v", ok, err)
	}
	if err := c.Put(t.Context(), actioncache.Step, key, nil); err != nil {
		t.Errorf("Put after Clear: %v", err)
	}
}

// A failure to put concerns the entry that failed and not those that share its round.
func TestOneFailureOfARound(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir)
	bad := digest.OfBytes([]byte("bad"))
	// A folder where the file should be.
	if err := os.MkdirAll(filepath.Join(dir, "step", fmt.Sprintf("%s-%d", bad.Hex(), bad.Size), "full"), 0o755); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			if err := c.Put(t.Context(), actioncache.Step, bad, nil); err == nil {
				t.Error("Put in the place of a folder: no error")
			}
			k := digest.OfBytes([]byte(strconv.Itoa(i)))
			if err := c.Put(t.Context(), actioncache.Stage, k, []byte("v")); err != nil {
				t.Errorf("Put beside one that fails: %v", err)
			}
		})
	}
	wg.Wait()
	left, err := filepath.Glob(filepath.Join(dir, "tmp", "*", "?"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func BenchmarkGet(b *testing.B) {
	c := open(b, b.TempDir())
	keys := make([]digest.Digest, 1000)
	for i := range keys {
		keys[i] = digest.OfBytes([]byte(strconv.Itoa(i)))
	}
	var wg sync.WaitGroup
	for _, k := range keys {
		wg.Go(func() {
			if err := c.Put(b.Context(), actioncache.Step, k, make([]byte, 300)); err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
	for i := 0; b.Loop(); i++ {
		if _, ok, err := c.Get(b.Context(), actioncache.Step, keys[i%len(keys)]); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}

func BenchmarkPut(b *testing.B) {
	for _, writers := range []int{1, 16, 128} {
		b.Run(strconv.Itoa(writers)+"writers", func(b *testing.B) {
			c := open(b, b.TempDir())
			b.SetParallelism(writers)
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					k := digest.OfBytes([]byte(strconv.Itoa(i)))
					if err := c.Put(b.Context(), actioncache.Step, k, make([]byte, 300)); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
