package session

import (
	"os"
	"path/filepath"
	"slices"
	"time"
)

const (
	// keepNewest is how many things of a kind stay, however old they are.
	keepNewest = 5
	// keepFor is how long a thing stays after its last use. Another process that has found it still needs it then: nobody takes that long between
	// finding and starting.
	keepFor = 7 * 24 * time.Hour
)

// touch says that a thing in the cache is used.
func touch(path string) error {
	now := time.Now()
	return os.Chtimes(path, now, now)
}

// sweep removes what is old in a folder of things that can be made again, and that touch marks: of every kind but the newest. kindOf tells the
// kind by the name. Half-made things, whose names begin with a dot, are of no kind. What cannot be removed is left for the next time.
func sweep(dir string, kindOf func(name string) string) {
	type thing struct {
		name string
		used time.Time
	}
	list, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	var things []thing
	for _, e := range list {
		if info, err := e.Info(); err == nil {
			things = append(things, thing{e.Name(), info.ModTime()})
		}
	}
	slices.SortFunc(things, func(a, b thing) int { return b.used.Compare(a.used) })
	kept := map[string]int{}
	for _, t := range things {
		if t.name[0] != '.' {
			kind := kindOf(t.name)
			if kept[kind]++; kept[kind] <= keepNewest {
				continue
			}
		}
		if time.Since(t.used) <= keepFor {
			continue
		}
		// Renamed first, since a folder that is half gone would be taken for whole.
		path, gone := filepath.Join(dir, t.name), filepath.Join(dir, ".gone-"+t.name)
		if os.Rename(path, gone) != nil {
			continue
		}
		if info, err := os.Lstat(gone); err == nil && time.Since(info.ModTime()) <= keepFor && os.Rename(gone, path) == nil {
			continue // somebody has begun to use it
		}
		_ = os.RemoveAll(gone)
	}
}
