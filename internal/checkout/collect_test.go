//go:build linux

package checkout_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/cas/mem"
	"github.com/towpath/towpath/internal/checkout"
)

// used sets when the tree at path was last used.
func used(t *testing.T, path string, at time.Time) {
	t.Helper()
	if err := os.Chtimes(path, at, time.Unix(315532800, 0)); err != nil {
		t.Fatal(err)
	}
}

func entries(t *testing.T, c *checkout.Checkouts) []checkout.Entry {
	t.Helper()
	all, err := c.Entries(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// kept are the files that are kept for trees to come.
func kept(t *testing.T, dir string) int {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.*", "files", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

// three trees that share a large file and were last used one, two and three days ago.
type three struct {
	dir   string
	store cas.Store
	specs []spec
	paths []string
	now   time.Time
}

func makeThree(t *testing.T) *three {
	t.Helper()
	h := &three{dir: t.TempDir(), store: mem.New(), now: time.Now()}
	c := open(t, h.store, h.dir)
	for i, name := range []string{"one", "two", "three"} {
		s := spec{"shared": strings.Repeat("x", 100_000), name: strings.Repeat(name, 10_000), "d/e/": ""}
		if i > 0 {
			s["d/again"] = s["shared"]
		}
		path := folder(t, c, build(t, h.store, s), s)
		h.specs, h.paths = append(h.specs, s), append(h.paths, path)
		used(t, path, h.now.Add(-time.Duration(i+1)*24*time.Hour))
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	return h
}

func TestEntries(t *testing.T) {
	h := makeThree(t)
	c := open(t, h.store, h.dir)
	all := entries(t, c)
	if len(all) != 3 {
		t.Fatalf("entries: %v", all)
	}
	for i, e := range all {
		path := h.paths[2-i]
		if !strings.HasSuffix(e.Name, "/"+filepath.Base(path)) {
			t.Errorf("entry %d is %s, want that which was last used the longest ago first", i, e.Name)
		}
		if age := h.now.Sub(e.LastUsed); age != time.Duration(3-i)*24*time.Hour {
			t.Errorf("%s was last used %v ago", e.Name, age)
		}
	}
	// What is shared counts for the last that goes.
	if all[0].Bytes > 80_000 || all[1].Bytes > 80_000 || all[2].Bytes < 130_000 {
		t.Errorf("bytes: %d, %d, %d", all[0].Bytes, all[1].Bytes, all[2].Bytes)
	}
	// To list is not to use, nor is to look.
	if diff := cmp.Diff(all, entries(t, c)); diff != "" {
		t.Errorf("the second list differs:\n%s", diff)
	}
}

func TestCollect(t *testing.T) {
	h := makeThree(t)
	c := open(t, h.store, h.dir)
	all := entries(t, c)
	freed, err := c.Collect(t.Context(), h.now.Add(-36*time.Hour))
	if err != nil || freed != all[0].Bytes+all[1].Bytes {
		t.Errorf("Collect freed %d, %v, want %d", freed, err, all[0].Bytes+all[1].Bytes)
	}
	if left := entries(t, c); len(left) != 1 || left[0] != all[2] {
		t.Errorf("left: %v", left)
	}
	if n := kept(t, h.dir); n != 2 {
		t.Errorf("%d files are kept, want those of the tree that is left", n)
	}
	for _, s := range h.specs {
		folder(t, c, build(t, h.store, s), s)
	}
	// Nothing is left of a folder without trees.
	c = open(t, h.store, h.dir)
	if _, err := c.Collect(t.Context(), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(h.dir, "*.*")); len(left) > 0 || len(entries(t, c)) > 0 {
		t.Errorf("left: %v", left)
	}
	folder(t, c, build(t, h.store, h.specs[0]), h.specs[0])
}

func TestRemove(t *testing.T) {
	h := makeThree(t)
	c := open(t, h.store, h.dir)
	all := entries(t, c)
	// Another process begins to use it, which puts that on record.
	folder(t, open(t, h.store, h.dir), build(t, h.store, h.specs[2]), h.specs[2])
	if removed, freed, err := c.Remove(t.Context(), all[0]); err != nil || removed || freed != 0 {
		t.Errorf("Remove of what is used = %v, %d, %v", removed, freed, err)
	}
	if _, err := os.Lstat(h.paths[2]); err != nil {
		t.Errorf("what is used was removed: %v", err)
	}
	all = entries(t, c)
	if filepath.Base(all[2].Name) != filepath.Base(h.paths[2]) {
		t.Errorf("the use of a tree is not on record: %v", all)
	}
	for i, e := range all {
		if removed, freed, err := c.Remove(t.Context(), e); err != nil || !removed || freed != e.Bytes {
			t.Errorf("Remove of %d = %v, %d, %v, want %d", i, removed, freed, err, e.Bytes)
		}
	}
	if n := kept(t, h.dir); n != 0 || len(entries(t, c)) != 0 {
		t.Errorf("%d files are left", n)
	}
	if removed, freed, err := c.Remove(t.Context(), all[0]); err != nil || removed || freed != 0 {
		t.Errorf("Remove of what is gone = %v, %d, %v", removed, freed, err)
	}
	folder(t, c, build(t, h.store, h.specs[0]), h.specs[0])
}

// What was made before the machine was last started is not believed, and goes when something is made anew.
func TestOtherGenerations(t *testing.T) {
	h := makeThree(t)
	c := open(t, h.store, h.dir)
	now := filepath.Dir(filepath.Dir(h.paths[0]))
	before := restarted(t, h)
	path := folder(t, c, build(t, h.store, h.specs[0]), h.specs[0])
	if filepath.Dir(filepath.Dir(path)) != now {
		t.Errorf("the folder is %s", path)
	}
	if all := entries(t, c); len(all) != 1 {
		t.Errorf("entries: %v", all)
	}
	if _, err := os.Lstat(before); err == nil {
		t.Error("the folder of the other generation is left")
	}
}

// Whoever collects wants it first, however lately it was used.
func TestCollectOtherGenerations(t *testing.T) {
	h := makeThree(t)
	c := open(t, h.store, h.dir)
	before := restarted(t, h)
	all := entries(t, c)
	if len(all) != 3 || !all[0].LastUsed.IsZero() || !all[2].LastUsed.IsZero() {
		t.Fatalf("entries: %v", all)
	}
	if removed, _, err := c.Remove(t.Context(), all[0]); err != nil || !removed {
		t.Errorf("Remove = %v, %v", removed, err)
	}
	if _, err := c.Collect(t.Context(), time.Time{}.Add(1)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(before); err == nil {
		t.Error("the folder of the other generation is left")
	}
}

// restarted makes what h has made that of an earlier start of the machine, and returns its folder.
func restarted(t *testing.T, h *three) string {
	t.Helper()
	now := filepath.Dir(filepath.Dir(h.paths[0]))
	before := filepath.Join(h.dir, "00000000-0000-0000-0000-000000000000"+strings.TrimLeft(filepath.Base(now), "0123456789abcdef-"))
	if err := os.Rename(now, before); err != nil {
		t.Fatal(err)
	}
	return before
}
