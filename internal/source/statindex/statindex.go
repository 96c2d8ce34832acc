// Package statindex remembers the digests of files by what the file system says about them, so that a file that has not changed
// is not read again.
//
// It compares size, modification and change time, inode and mode, as git's index does, and like git it must not trust a file
// that was changed so recently that another change could leave all of these as they are: two writes within one tick of
// the file system's clock. Such a file is not remembered at all. "Recently" is measured with the file system's own clock (see
// Clock), never with the wall clock, because the two differ by a tick on a local disk and by anything on a remote one.
//
// The index is only ever a hint: one that is missing, damaged or of another version is an empty one, and of several
// processes that write it at the same time one wins and the others lose what they had learnt, never more.
//
// It knows neither the store nor globs nor git.
package statindex

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/towpath/towpath/internal/digest"
)

// Stat is what a file system says about a file.
type Stat struct {
	Size int64
	// Mtime and Ctime are nanoseconds since 1970. Ctime is 0 where the system has none.
	Mtime, Ctime int64
	Inode        uint64
	// Device is not compared, since the numbers of network file systems change; it tells clocks apart.
	Device uint64
	// Mode is the st_mode of POSIX on every system.
	Mode uint32
}

// The parts of Mode.
const (
	TypeMask    = 0o170000
	TypeRegular = 0o100000
	TypeFolder  = 0o040000
	TypeSymlink = 0o120000
	Executable  = 0o100
)

// Type returns the type bits of Mode.
func (s Stat) Type() uint32 { return s.Mode & TypeMask }

// Same tells whether nothing that is compared differs.
func (s Stat) Same(o Stat) bool {
	return s.Size == o.Size && s.Mtime == o.Mtime && s.Ctime == o.Ctime && s.Inode == o.Inode && s.Mode == o.Mode
}

// changed is when the file was last changed, by a clock that its owner cannot set back.
func (s Stat) changed() int64 {
	if s.Ctime != 0 {
		return s.Ctime
	}
	return s.Mtime
}

type entry struct {
	name string
	stat Stat
	hash [32]byte
}

// Index is a set of files and their digests. It is safe for concurrent use.
type Index struct {
	path  string
	dirty atomic.Bool

	mu      sync.Mutex
	folders map[string]*Folder
}

// Folder is the part of an Index for one folder.
type Folder struct {
	index *Index

	mu      sync.Mutex
	raw     []byte   // as in the file, until somebody asks
	sum     uint32   // of raw
	count   int      // of entries in raw
	section *section // once raw has been checked; replaced, never changed
	added   map[string]entry
	listed  func(name string) bool // what the folder holds, if that is known
	used    bool
}

// Folder returns the part for the folder with that absolute path.
func (x *Index) Folder(path string) *Folder {
	x.mu.Lock()
	f, ok := x.folders[path]
	if !ok {
		f = &Folder{index: x}
		x.folders[path] = f
	}
	x.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.used = true
	f.check()
	return f
}

// check makes a section of raw, unless it is damaged. It needs f.mu.
func (f *Folder) check() {
	if f.raw == nil {
		return
	}
	if checksum(f.raw) == f.sum {
		f.section = newSection(f.raw, f.count)
	}
	f.raw = nil
}

// Cursor returns a cursor.
func (f *Folder) Cursor() Cursor {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.merge()
	return Cursor{folder: f, section: f.section}
}

// Record remembers the digest of a file whose Stat was s both before and after it was read, unless s is too recent: clock must
// have been sampled before that.
func (f *Folder) Record(clock *Clock, name string, s Stat, d digest.Digest) {
	if !clock.settled(s) || d.Size != s.Size {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.added == nil {
		f.added = make(map[string]entry)
	}
	f.added[name] = entry{name: name, stat: s, hash: d.Hash}
	f.index.dirty.Store(true)
}

// Listed tells what the folder holds; when the index is saved, what it does not hold is forgotten. nil forgets nothing.
func (f *Folder) Listed(has func(name string) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.listed = has
}

// merge puts what was added into a new section. It needs f.mu.
func (f *Folder) merge() {
	if len(f.added) == 0 {
		return
	}
	all := slices.DeleteFunc(f.section.entries(), func(e entry) bool { _, ok := f.added[e.name]; return ok })
	f.section = encode(slices.AppendSeq(all, maps.Values(f.added)))
	f.added = nil
}
