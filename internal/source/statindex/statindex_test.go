package statindex

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/towpath/towpath/internal/digest"
)

// old is a stat from long ago.
func old(size int64) Stat {
	return Stat{Size: size, Mtime: 1_000_000_007, Ctime: 1_000_000_009, Inode: 7, Device: 1, Mode: TypeRegular | 0o644}
}

func of(content string) (Stat, digest.Digest) {
	return old(int64(len(content))), digest.OfBytes([]byte(content))
}

// later is a clock that has seen every file of this test on every device.
func later() *Clock {
	return &Clock{device: 1, now: 1 << 60, known: true, seen: map[uint64]int64{2: 1 << 59}}
}

func lookup(x *Index, folder, name string, s Stat) (digest.Digest, bool) {
	c := x.Folder(folder).Cursor()
	return c.Lookup(name, s)
}

func save(t *testing.T, x *Index) {
	t.Helper()
	if err := x.Save(); err != nil {
		t.Fatal(err)
	}
}

func TestRemembers(t *testing.T) {
	path, folder := filepath.Join(t.TempDir(), "index"), t.TempDir()
	x := Open(path)
	for i := range 100 {
		s, d := of(fmt.Sprint("content ", i))
		x.Folder(folder).Record(later(), fmt.Sprint("file", i), s, d)
	}
	save(t, x)
	y := Open(path)
	for _, x := range []*Index{x, y} {
		for i := 99; i >= 0; i-- {
			s, d := of(fmt.Sprint("content ", i))
			if got, ok := lookup(x, folder, fmt.Sprint("file", i), s); !ok || got != d {
				t.Fatalf("file%d: %v, %v", i, got, ok)
			}
		}
		for _, name := range []string{"", "file", "file999", "zzz"} {
			if _, ok := lookup(x, folder, name, old(1)); ok {
				t.Errorf("%q is known", name)
			}
		}
	}
}

func TestEveryPartOfTheStatCounts(t *testing.T) {
	x := Open("")
	s, d := of("content")
	x.Folder("/f").Record(later(), "a", s, d)
	for what, change := range map[string]func(*Stat){
		"size": func(s *Stat) { s.Size++ }, "mtime": func(s *Stat) { s.Mtime++ }, "ctime": func(s *Stat) { s.Ctime++ },
		"inode": func(s *Stat) { s.Inode++ }, "mode": func(s *Stat) { s.Mode |= Executable },
	} {
		changed := s
		change(&changed)
		if _, ok := lookup(x, "/f", "a", changed); ok {
			t.Errorf("another %s is not noticed", what)
		}
	}
	s.Device++
	if _, ok := lookup(x, "/f", "a", s); !ok {
		t.Error("another number of the device is noticed")
	}
}

// TestRecentFilesAreNotRemembered is the rule that keeps a second write within one tick from being missed.
func TestRecentFilesAreNotRemembered(t *testing.T) {
	const now = 5_000_000_000
	probe := &Clock{device: 1, now: now, known: true, seen: map[uint64]int64{2: now - 10, 3: now + 10}}
	blind := &Clock{seen: map[uint64]int64{2: now - 10}}
	for _, tt := range []struct {
		name  string
		clock *Clock
		stat  Stat
		want  bool
	}{
		{"before the sample", probe, Stat{Device: 1, Ctime: now - 1, Mtime: now - 1}, true},
		{"in the tick of the sample", probe, Stat{Device: 1, Ctime: now, Mtime: now}, false},
		{"after the sample", probe, Stat{Device: 1, Ctime: now + 1, Mtime: now + 1}, false},
		{"modification time set back", probe, Stat{Device: 1, Ctime: now, Mtime: 1}, false},
		{"modification time in the future", probe, Stat{Device: 1, Ctime: now - 1, Mtime: now + 1}, true},
		{"no change time", probe, Stat{Device: 1, Mtime: now - 1}, true},
		{"no change time, in the tick", probe, Stat{Device: 1, Mtime: now}, false},
		{"another device, which has been later", probe, Stat{Device: 2, Ctime: now - 11}, true},
		{"the newest of another device", probe, Stat{Device: 2, Ctime: now - 10}, false},
		{"another device, seen in the future", probe, Stat{Device: 3, Ctime: now}, false},
		{"a device never seen", probe, Stat{Device: 4, Ctime: 1}, false},
		{"no probe", blind, Stat{Device: 2, Ctime: now - 11}, true},
		{"no probe, the newest", blind, Stat{Device: 2, Ctime: now - 10}, false},
	} {
		x := Open("")
		x.Folder("/f").Record(tt.clock, "a", tt.stat, digest.Empty())
		if _, ok := lookup(x, "/f", "a", tt.stat); ok != tt.want {
			t.Errorf("%s: remembered %v, want %v", tt.name, ok, tt.want)
		}
	}
}

// TestSampleIsTheClockOfTheFileSystem holds the sample against files written before and after it, as fast as it goes.
func TestSampleIsTheClockOfTheFileSystem(t *testing.T) {
	dir := t.TempDir()
	x := Open(filepath.Join(dir, "index"))
	file := filepath.Join(dir, "file")
	stamp := func() Stat {
		f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString("x"); err != nil {
			t.Fatal(err)
		}
		s, err := StatFile(f)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for range 500 {
		clock := x.Clock()
		clock.Sample()
		if !clock.known {
			t.Fatal("no probe")
		}
		if s := stamp(); clock.settled(s) {
			t.Fatalf("a file written after the sample (%d) counts as older (%d)", clock.now, s.changed())
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, ".clock-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("probes are left behind: %v %v", left, err)
	}
}

func TestDamagedFileIsEmpty(t *testing.T) {
	dir := t.TempDir()
	path, a, b := filepath.Join(dir, "index"), t.TempDir(), t.TempDir()
	x := Open(path)
	for _, folder := range []string{a, b} {
		for _, name := range []string{"one", "two"} {
			s, d := of(folder + name)
			x.Folder(folder).Record(later(), name, s, d)
		}
	}
	save(t, x)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, data []byte, complete bool) {
		t.Helper()
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		y := Open(path)
		found := 0
		for _, folder := range []string{a, b} {
			for _, name := range []string{"one", "two"} {
				s, d := of(folder + name)
				if got, ok := lookup(y, folder, name, s); ok {
					found++
					if got != d {
						t.Fatalf("%s: a wrong digest", what)
					}
				}
			}
		}
		if (found == 4) != complete {
			t.Fatalf("%s: %d of 4 entries", what, found)
		}
	}
	check("whole", good, true)
	for i := range good {
		check(fmt.Sprint("cut at ", i), good[:i], false)
		for bit := range 8 {
			bad := append([]byte(nil), good...)
			bad[i] ^= 1 << bit
			check(fmt.Sprint("bit ", i, ".", bit), bad, false)
		}
	}
}

func TestSaveKeepsWhatOthersMayNeed(t *testing.T) {
	path, used, unused, deleted := filepath.Join(t.TempDir(), "index"), t.TempDir(), t.TempDir(), t.TempDir()
	x := Open(path)
	s, d := of("content")
	for _, folder := range []string{used, unused, deleted} {
		x.Folder(folder).Record(later(), "a", s, d)
		x.Folder(folder).Record(later(), "gone", s, d)
	}
	save(t, x)
	if err := os.Remove(deleted); err != nil {
		t.Fatal(err)
	}
	y := Open(path)
	y.Folder(used).Listed(func(name string) bool { return name != "gone" })
	y.Folder(used).Record(later(), "new", s, d)
	save(t, y)
	z := Open(path)
	for _, tt := range []struct {
		folder, name string
		want         bool
	}{{used, "a", true}, {used, "new", true}, {used, "gone", false}, {unused, "a", true}, {unused, "gone", true}, {deleted, "a", false}} {
		if _, ok := lookup(z, tt.folder, tt.name, s); ok != tt.want {
			t.Errorf("%s in %s: known %v, want %v", tt.name, tt.folder, ok, tt.want)
		}
	}
}

func TestSaveWritesOnlyWhatIsNew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index")
	x := Open(path)
	save(t, x)
	if _, err := os.Stat(path); err == nil {
		t.Error("an empty index was written")
	}
	s, d := of("content")
	x.Folder("/nowhere").Record(later(), "a", s, d)
	save(t, x)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	save(t, x)
	if _, err := os.Stat(path); err == nil {
		t.Error("an unchanged index was written again")
	}
}

// TestManyProcesses saves from many sides at once: whatever is read back is whole and right.
func TestManyProcesses(t *testing.T) {
	path, folder := filepath.Join(t.TempDir(), "index"), t.TempDir()
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for j := range 20 {
				x := Open(path)
				name := fmt.Sprint("file", i, ".", j)
				s, d := of(name)
				for k := range 8 {
					other := fmt.Sprint("file", k, ".", j)
					s, d := of(other)
					if got, ok := lookup(x, folder, other, s); ok && got != d {
						t.Errorf("%s has a wrong digest", other)
					}
				}
				x.Folder(folder).Record(later(), name, s, d)
				if err := x.Save(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if left, err := filepath.Glob(path + ".tmp-*"); err != nil || len(left) > 0 {
		t.Errorf("files are left behind: %v %v", left, err)
	}
	x := Open(path)
	if len(x.folders) == 0 {
		t.Error("nothing is remembered")
	}
}

func FuzzOpen(f *testing.F) {
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, data []byte) {
		// With right checksums, so that the decoder is reached.
		folders, ok := decodeTable(data)
		for _, folder := range folders {
			if !ok {
				t.Error("folders of a damaged table")
			}
			walk(newSection(folder.raw, folder.count))
		}
		walk(newSection(data, len(data)/(entrySize+1)))
	})
}

// walk touches everything that a section hands out.
func walk(s *section) {
	if s == nil {
		return
	}
	for _, e := range s.entries() {
		s.find(e.name)
	}
	s.whole()
}

// TestKilledWhileSaving holds that what a process has left that was killed while it saved is gone with the next Open.
func TestKilledWhileSaving(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "index")
	if err := os.WriteFile(path+".tmp", []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	Open(path)
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("left are %v, %v", entries, err)
	}
}
