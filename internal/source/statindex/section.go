package statindex

import (
	"encoding/binary"
	"slices"
	"strings"

	"github.com/towpath/towpath/internal/digest"
)

// section is what is remembered of one folder, in the form that it has in the file: it is looked up without being decoded.
//
//	SHA-256 and size of whole (40 bytes), then for each file, sorted by name: where its name ends among the names (4), mode (4),
//	size, mtime, ctime and inode (8 each), SHA-256 (32); then all names, one after the other
//
// A section never changes; nil is an empty one.
type section struct {
	raw   []byte
	count int
	names []byte // the end of raw
}

const (
	wholeSize = 32 + 8
	entrySize = 4 + 4 + 4*8 + 32
)

// newSection returns nil for bytes that are no section with that number of entries.
func newSection(raw []byte, count int) *section {
	if count < 0 || len(raw) < wholeSize || count > (len(raw)-wholeSize)/entrySize {
		return nil
	}
	s := &section{raw: raw, count: count, names: raw[wholeSize+count*entrySize:]}
	end := uint32(0)
	for i := range count {
		next := binary.LittleEndian.Uint32(s.entry(i))
		if next < end || next > uint32(len(s.names)) {
			return nil
		}
		end = next
	}
	return s
}

func (s *section) entry(i int) []byte {
	return s.raw[wholeSize+i*entrySize : wholeSize+(i+1)*entrySize]
}

func (s *section) name(i int) []byte {
	from := uint32(0)
	if i > 0 {
		from = binary.LittleEndian.Uint32(s.entry(i - 1))
	}
	return s.names[from:binary.LittleEndian.Uint32(s.entry(i))]
}

func (s *section) stat(i int) Stat {
	e := s.entry(i)
	return Stat{
		Mode:  binary.LittleEndian.Uint32(e[4:]),
		Size:  int64(binary.LittleEndian.Uint64(e[8:])),
		Mtime: int64(binary.LittleEndian.Uint64(e[16:])),
		Ctime: int64(binary.LittleEndian.Uint64(e[24:])),
		Inode: binary.LittleEndian.Uint64(e[32:]),
	}
}

func (s *section) hash(i int) (h [32]byte) {
	copy(h[:], s.entry(i)[40:])
	return h
}

// find returns where the name is or would be.
func (s *section) find(name string) (int, bool) {
	from, to := 0, s.count
	for from < to {
		middle := int(uint(from+to) / 2)
		if n := s.name(middle); string(n) < name {
			from = middle + 1
		} else {
			to = middle
		}
	}
	return from, from < s.count && string(s.name(from)) == name
}

// whole returns the digest of the Directory of exactly the files of the section, if it is known.
func (s *section) whole() (digest.Digest, bool) {
	d := digest.Digest{Hash: [32]byte(s.raw), Size: int64(binary.LittleEndian.Uint64(s.raw[32:]))}
	return d, !d.IsZero()
}

// withWhole returns the same section with d as whole.
func (s *section) withWhole(d digest.Digest) *section {
	raw := slices.Clone(s.raw)
	copy(raw, d.Hash[:])
	binary.LittleEndian.PutUint64(raw[32:], uint64(d.Size))
	return newSection(raw, s.count)
}

// each tells whether all names have what is asked for.
func (s *section) each(has func(name string) bool) bool {
	for i := range s.count {
		if !has(string(s.name(i))) {
			return false
		}
	}
	return true
}

func (s *section) entries() []entry {
	if s == nil {
		return nil
	}
	all := make([]entry, s.count)
	for i := range all {
		all[i] = entry{name: string(s.name(i)), stat: s.stat(i), hash: s.hash(i)}
	}
	return all
}

// encode makes a section of entries, which it sorts. It returns nil where there are none.
func encode(entries []entry) *section {
	if len(entries) == 0 {
		return nil
	}
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	b := make([]byte, wholeSize, wholeSize+len(entries)*(entrySize+24))
	end := 0
	for i := range entries {
		e := &entries[i]
		end += len(e.name)
		b = binary.LittleEndian.AppendUint32(b, uint32(end))
		b = binary.LittleEndian.AppendUint32(b, e.stat.Mode)
		b = binary.LittleEndian.AppendUint64(b, uint64(e.stat.Size))
		b = binary.LittleEndian.AppendUint64(b, uint64(e.stat.Mtime))
		b = binary.LittleEndian.AppendUint64(b, uint64(e.stat.Ctime))
		b = binary.LittleEndian.AppendUint64(b, e.stat.Inode)
		b = append(b, e.hash[:]...)
	}
	for i := range entries {
		b = append(b, entries[i].name...)
	}
	return newSection(b, len(entries))
}

// Cursor looks up the names of one folder, fastest in ascending order. It is for one goroutine and does not see what is recorded
// after it was made.
type Cursor struct {
	folder  *Folder
	section *section
	at      int
	hits    int // lookups that found what they looked for
}

// Lookup returns the digest of the file, if it is known and nothing about the file has changed.
func (c *Cursor) Lookup(name string, s Stat) (digest.Digest, bool) {
	if c.section == nil {
		return digest.Digest{}, false
	}
	i, ok := c.at, c.at < c.section.count && string(c.section.name(c.at)) == name
	if !ok {
		i, ok = c.section.find(name)
	}
	c.at = i
	if !ok {
		return digest.Digest{}, false
	}
	c.at++
	if c.section.stat(i).Same(s) {
		c.hits++
		return digest.Digest{Hash: c.section.hash(i), Size: s.Size}, true
	}
	return digest.Digest{}, false
}

// Hits returns how many lookups found what they looked for.
func (c *Cursor) Hits() int { return c.hits }

// All tells whether the lookups so far, each for another name, found everything that is remembered of the folder.
func (c *Cursor) All() bool { return c.section != nil && c.hits == c.section.count }

// Whole returns what SetWhole remembered. It is meant for who looked up the files of the folder and found them to be All of it.
func (c *Cursor) Whole() (digest.Digest, bool) {
	if !c.All() {
		return digest.Digest{}, false
	}
	return c.section.whole()
}

// SetWhole remembers the digest of the Directory that holds exactly the files that the cursor found, which must be All. Anything that is
// recorded for the folder, or has been since the cursor was made, makes it void.
func (c *Cursor) SetWhole(d digest.Digest) {
	f := c.folder
	f.mu.Lock()
	defer f.mu.Unlock()
	if !c.All() || f.section != c.section || len(f.added) > 0 {
		return
	}
	f.section = c.section.withWhole(d)
	f.index.dirty.Store(true)
}
