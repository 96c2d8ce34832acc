package durable_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/towpath/towpath/internal/cas/durable"
)

func begin(t *testing.T, dir string) *durable.Session {
	t.Helper()
	s, err := durable.Begin(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func oldest(t *testing.T, dir string) time.Time {
	t.Helper()
	at, err := durable.Oldest(dir)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// The oldest session that somebody holds is what counts; those of dead processes go.
func TestOldestSession(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "sessions")
	start := time.Now()
	if at := oldest(t, dir); at.Before(start) {
		t.Errorf("without sessions the oldest began at %v", at)
	}
	first, err := durable.Begin(dir)
	if err != nil {
		t.Fatal(err)
	}
	between := time.Now()
	begin(t, dir)
	dead := filepath.Join(dir, "1000-DEAD")
	if err := os.WriteFile(dead, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if at := oldest(t, dir); at.Before(start) || at.After(between) {
		t.Errorf("the oldest session began at %v, want between %v and %v", at, start, between)
	}
	if _, err := os.Lstat(dead); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the session of a dead process is still there: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if at := oldest(t, dir); at.Before(between) {
		t.Errorf("after the first session has ended the oldest began at %v", at)
	}
}

// A use is noted when the last note is older than an hour, and the time of change stays.
func TestUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o444); err != nil {
		t.Fatal(err)
	}
	now, changed := time.Now(), time.Unix(1000, 0)
	for _, c := range []struct {
		name   string
		before time.Time
		noted  bool
	}{
		{"a minute ago", now.Add(-time.Minute), false},
		{"two hours ago", now.Add(-2 * time.Hour), true},
	} {
		if err := os.Chtimes(path, c.before, changed); err != nil {
			t.Fatal(err)
		}
		st, err := durable.Lstat(path)
		if err != nil || !durable.Use(path, st.Used) {
			t.Fatalf("%s: %v, or it is not there", c.name, err)
		}
		after, err := durable.Lstat(path)
		if err != nil || after.Used.After(st.Used) != c.noted || !after.Modified.Equal(changed) {
			t.Errorf("last used %s: noted %v, want %v; changed %v, %v", c.name, after.Used.After(st.Used), c.noted, after.Modified, err)
		}
	}
	if durable.Use(path+"-gone", time.Time{}) {
		t.Error("a file that is not there is there")
	}
}

func TestDiscard(t *testing.T) {
	dir := t.TempDir()
	temp, err := durable.OpenTemp(filepath.Join(dir, "tmp"))
	if err != nil {
		t.Fatal(err)
	}
	defer temp.Close()
	path, now := filepath.Join(dir, "file"), time.Now()
	for _, c := range []struct {
		used time.Duration // ago
		goes bool
	}{{3 * time.Hour, true}, {time.Hour, false}} {
		if err := os.WriteFile(path, []byte("x"), 0o444); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, now.Add(-c.used), time.Time{}); err != nil {
			t.Fatal(err)
		}
		dropped, err := temp.Discard(path, now.Add(-2*time.Hour))
		_, gone := os.Lstat(path)
		if err != nil || dropped != c.goes || (gone != nil) != c.goes {
			t.Errorf("used %v ago: dropped %v, %v, and then %v", c.used, dropped, err, gone)
		}
	}
	if dropped, err := temp.Discard(path+"-gone", now); dropped || err != nil {
		t.Errorf("what is not there: dropped %v, %v", dropped, err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "tmp", "*", "?")); err != nil || len(left) > 0 {
		t.Errorf("left in tmp: %v, %v", left, err)
	}
}

// Whoever notes a use while the file is being discarded either keeps it or sees that it is gone.
func TestUseWhileDiscarding(t *testing.T) {
	dir := t.TempDir()
	temp, err := durable.OpenTemp(filepath.Join(dir, "tmp"))
	if err != nil {
		t.Fatal(err)
	}
	defer temp.Close()
	discardWhileUsed(t, filepath.Join(dir, "file"), temp)
}

// discardWhileUsed discards the file path many times while its use is being noted.
func discardWhileUsed(t *testing.T, path string, temp *durable.Temp) {
	t.Helper()
	kept := 0
	for range 300 {
		old := time.Now().Add(-5 * time.Hour)
		if err := os.WriteFile(path, []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, old, time.Time{}); err != nil {
			t.Fatal(err)
		}
		used := make(chan bool)
		go func() { used <- durable.Use(path, old) }()
		if _, err := temp.Discard(path, old.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		there := <-used
		_, err := os.Lstat(path)
		if there && err != nil {
			t.Fatalf("a file whose use was noted is gone: %v", err)
		}
		if err == nil {
			kept++
		}
	}
	t.Logf("%d of 300 were kept", kept)
}
