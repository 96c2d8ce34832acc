// Package gitindex reads from a git index which paths git tracks.
//
// It knows the file format (versions 2, 3 and 4, with SHA-1 or SHA-256) and nothing else: it opens no files, knows no objects
// and never writes. Like git itself when it reads its index, it checks the structure and not the checksum.
package gitindex

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
)

// ErrCorrupt is returned for bytes that are no index.
var ErrCorrupt = errors.New("not a git index of version 2, 3 or 4")

// Paths are the paths of an index. The nil Paths has none.
type Paths struct {
	sorted []string
	// shared is the hash of the index that this one adds to, in the same folder; "" nearly always.
	shared string
}

// Parse reads an index.
func Parse(data []byte) (*Paths, error) {
	// The header does not say which hash the repository uses, but with the wrong one the entries make no sense.
	for _, hash := range []int{20, 32} {
		if p, ok := parse(data, hash); ok {
			return p, nil
		}
	}
	return nil, ErrCorrupt
}

// SharedIndex returns the name of the file, next to the index, whose paths must be merged into these ("" for none). Only
// repositories with core.splitIndex have one.
func (p *Paths) SharedIndex() string {
	if p.shared == "" {
		return ""
	}
	return "sharedindex." + p.shared
}

// Merge adds the paths of a shared index.
func (p *Paths) Merge(shared *Paths) {
	p.sorted = append(p.sorted, shared.sorted...)
	slices.Sort(p.sorted)
	p.sorted = slices.Compact(p.sorted)
}

// Has tells whether path itself is tracked: a file, a symlink, or the folder of a submodule.
func (p *Paths) Has(path string) bool {
	if p == nil {
		return false
	}
	_, ok := slices.BinarySearch(p.sorted, path)
	return ok
}

// HasBelow tells whether something in the folder is tracked.
func (p *Paths) HasBelow(folder string) bool {
	if p == nil {
		return false
	}
	prefix := folder + "/"
	i, _ := slices.BinarySearch(p.sorted, prefix)
	return i < len(p.sorted) && strings.HasPrefix(p.sorted[i], prefix)
}

// Len returns the number of paths.
func (p *Paths) Len() int {
	if p == nil {
		return 0
	}
	return len(p.sorted)
}

const (
	headerSize = 12
	statSize   = 40 // what stands before the hash of an entry
	extended   = 0x4000
)

// parser goes through the entries.
type parser struct {
	version uint32
	hash    int
	data    []byte // what is left
	text    []byte // of version 4: the path before
}

func parse(data []byte, hash int) (*Paths, bool) {
	if len(data) < headerSize+hash || string(data[:4]) != "DIRC" {
		return nil, false
	}
	version, count := binary.BigEndian.Uint32(data[4:]), int(binary.BigEndian.Uint32(data[8:]))
	if version < 2 || version > 4 || count > len(data)/(statSize+hash) {
		return nil, false
	}
	r := parser{version: version, hash: hash, data: data[headerSize : len(data)-hash]}
	p := &Paths{sorted: make([]string, 0, count)}
	for range count {
		path, ok := r.entry()
		if !ok {
			return nil, false
		}
		n := len(p.sorted)
		switch {
		case path == "": // an entry of a split index that only replaces one of the shared index
		case n > 0 && path < p.sorted[n-1]:
			return nil, false
		case n > 0 && path == p.sorted[n-1]: // the stages of a conflict
		default:
			p.sorted = append(p.sorted, path)
		}
	}
	var ok bool
	p.shared, ok = r.extensions()
	return p, ok
}

// entry reads the next entry and returns its path.
func (r *parser) entry() (string, bool) {
	fixed := statSize + r.hash + 2
	if len(r.data) < fixed {
		return "", false
	}
	flags := binary.BigEndian.Uint16(r.data[fixed-2:])
	if flags&extended != 0 {
		if r.version == 2 {
			return "", false
		}
		fixed += 2
	}
	if len(r.data) < fixed {
		return "", false
	}
	rest := r.data[fixed:]
	if r.version == 4 {
		drop, n := offset(rest)
		if n == 0 || drop > len(r.text) {
			return "", false
		}
		rest = rest[n:]
		end := bytes.IndexByte(rest, 0)
		if end < 0 {
			return "", false
		}
		r.text = append(r.text[:len(r.text)-drop], rest[:end]...)
		r.data = rest[end+1:]
		return string(r.text), true
	}
	end := bytes.IndexByte(rest, 0)
	if length := int(flags & 0xfff); end < 0 || length != min(end, 0xfff) {
		return "", false
	}
	path := string(rest[:end])
	size := (fixed + end + 8) &^ 7 // padded with 1 to 8 zero bytes
	if size > len(r.data) {
		return "", false
	}
	r.data = r.data[size:]
	return path, true
}

// offset reads the variable-width number that git uses in packs and in indexes of version 4; n is 0 where it does not end.
func offset(b []byte) (value, n int) {
	for i, c := range b {
		if i > 4 {
			break
		}
		value |= int(c & 0x7f)
		if c&0x80 == 0 {
			return value, i + 1
		}
		value = (value + 1) << 7
	}
	return 0, 0
}

// extensions checks that what follows the entries is well-formed, and looks for the link to a shared index.
func (r *parser) extensions() (shared string, ok bool) {
	for b := r.data; len(b) > 0; {
		if len(b) < 8 {
			return "", false
		}
		size := int(binary.BigEndian.Uint32(b[4:]))
		if size > len(b)-8 {
			return "", false
		}
		if string(b[:4]) == "link" && size >= r.hash {
			shared = hexOf(b[8 : 8+r.hash])
		}
		b = b[8+size:]
	}
	return shared, true
}

// hexOf returns "" for a null hash, which stands for no shared index.
func hexOf(hash []byte) string {
	const digits = "0123456789abcdef"
	var s strings.Builder
	zero := true
	for _, c := range hash {
		zero = zero && c == 0
		s.WriteByte(digits[c>>4])
		s.WriteByte(digits[c&15])
	}
	if zero {
		return ""
	}
	return s.String()
}
