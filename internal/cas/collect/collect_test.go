package collect_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/cas/collect"
)

// shelf is a store of which every item takes ten bytes and was last used some hours ago.
type shelf struct {
	now     time.Time
	hours   map[string]int
	busy    string // used in the very moment
	dropped []string
}

func (s *shelf) Items(context.Context) ([]cas.Item, error) {
	var items []cas.Item
	for name, h := range s.hours {
		items = append(items, cas.Item{Name: name, Disk: 10, Used: s.now.Add(-time.Duration(h) * time.Hour)})
	}
	return items, nil
}

func (s *shelf) Drop(_ context.Context, name string, _ time.Time) (bool, error) {
	if name == s.busy {
		return false, nil
	}
	s.dropped = append(s.dropped, name)
	return true, nil
}

func TestRun(t *testing.T) {
	now := time.Now()
	ago := func(hours int) time.Time { return now.Add(-time.Duration(hours) * time.Hour) }
	for name, c := range map[string]struct {
		request collect.Request
		dropped string
		needed  int
		dry     int
	}{
		"no limit":            {request: collect.Request{MaxSize: -1, Unneeded: ago(1)}},
		"large enough":        {request: collect.Request{MaxSize: 60, Unneeded: ago(1)}},
		"least recent first":  {request: collect.Request{MaxSize: 35, Unneeded: ago(1)}, dropped: "fed"},
		"to nothing":          {request: collect.Request{MaxSize: 0, Unneeded: ago(0)}, dropped: "fedca", needed: 1},
		"too old":             {request: collect.Request{MaxSize: -1, Since: ago(4), Unneeded: ago(1)}, dropped: "fe"},
		"age and size":        {request: collect.Request{MaxSize: 30, Since: ago(6), Unneeded: ago(1)}, dropped: "fed"},
		"in use":              {request: collect.Request{MaxSize: 0, Unneeded: ago(5)}, dropped: "f", needed: 5},
		"too old and in use":  {request: collect.Request{MaxSize: -1, Since: ago(0), Unneeded: ago(4)}, dropped: "fe", needed: 4},
		"only to be told":     {request: collect.Request{MaxSize: 35, Unneeded: ago(1), DryRun: true}, dry: 3},
		"used in that moment": {request: collect.Request{MaxSize: -1, Since: ago(1), Unneeded: ago(1)}, dropped: "fedc", needed: 1},
	} {
		t.Run(name, func(t *testing.T) {
			one := &shelf{now: now, hours: map[string]int{"a": 1, "c": 3, "e": 5}, busy: "b"}
			two := &shelf{now: now, hours: map[string]int{"b": 2, "d": 4, "f": 6}, busy: "b"}
			out, err := collect.Run(t.Context(), []collect.Store{{Name: "one", Collector: one}, {Name: "two", Collector: two}}, c.request)
			if err != nil {
				t.Fatal(err)
			}
			var all collect.Outcome
			for _, o := range out {
				all.Dropped.Add(o.Dropped)
				all.Kept.Add(o.Kept)
				all.Needed.Add(o.Needed)
			}
			dropped := slices.Concat(one.dropped, two.dropped)
			slices.Sort(dropped)
			want := []byte(c.dropped)
			slices.Sort(want)
			if got := len(dropped); got != len(want) {
				t.Fatalf("dropped %v, want %q", dropped, want)
			}
			for i, d := range dropped {
				if d != string(want[i]) {
					t.Errorf("dropped %v, want %q", dropped, want)
				}
			}
			if n := len(want) + c.dry; all.Dropped != (collect.Sum{Items: n, Bytes: int64(10 * n)}) || all.Kept.Items != 6-n || all.Needed.Items != c.needed {
				t.Errorf("told %+v", all)
			}
		})
	}
}

func TestFolders(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	old := now.Add(-5 * time.Hour)
	place := func(name string, used time.Time) string {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(p, old, used); err != nil {
			t.Fatal(err)
		}
		return p
	}
	place("programs/old", old)
	place("programs/new", now)
	place("programs/go/old", old)
	place("sdk/python/old/file", now)
	place("sdk/python/new/file", old)
	for name, used := range map[string]time.Time{"old": old, "new": now} {
		if err := os.Chtimes(filepath.Join(dir, "sdk/python", name), now, used); err != nil {
			t.Fatal(err)
		}
	}
	f := collect.Folders{Parents: []string{filepath.Join(dir, "programs"), filepath.Join(dir, "programs/go"), filepath.Join(dir, "sdk/python"), filepath.Join(dir, "none")}}
	items, err := f.Items(t.Context())
	if err != nil || len(items) != 5 {
		t.Fatalf("Items = %+v, %v, want 5", items, err)
	}
	for _, item := range items {
		dropped, err := f.Drop(t.Context(), item.Name, now.Add(-time.Hour))
		_, gone := os.Lstat(item.Name)
		if want := filepath.Base(item.Name) == "old"; err != nil || dropped != want || (gone != nil) != want {
			t.Errorf("Drop of %s: %v, %v, and then %v", item.Name, dropped, err, gone)
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, "*", "*", ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
