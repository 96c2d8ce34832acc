package statindex

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"os"
	"slices"
)

// The file: magic, the length and the checksum of the table, the table, and then one section for each of its folders. The table has, for
// each folder, sorted: uvarint length and bytes of its path, uvarint number of entries, uvarint length and 4 bytes checksum of its
// section. Numbers are little-endian, checksums CRC-32C. A change of the format changes the magic.
const (
	magic      = "towstat\x02"
	headerSize = len(magic) + 8
	maxName    = 1 << 16
)

func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// Open reads the index in the file at path; "" is an index that is never saved. One that cannot be read is empty.
func Open(path string) *Index {
	x := &Index{path: path, folders: map[string]*Folder{}}
	if path == "" {
		return x
	}
	sweep(path)
	data, err := os.ReadFile(path)
	if err != nil {
		return x
	}
	if folders, ok := decodeTable(data); ok {
		for _, f := range folders {
			f.index = x
		}
		x.folders = folders
	}
	return x
}

// decoder reads values off the front of a slice; ok turns false at the first that is not whole.
type decoder struct {
	b  []byte
	ok bool
}

func (d *decoder) take(n int) []byte {
	if !d.ok || n < 0 || n > len(d.b) {
		d.ok = false
		return nil
	}
	t := d.b[:n]
	d.b = d.b[n:]
	return t
}

func (d *decoder) number(limit int) int {
	v, n := binary.Uvarint(d.b)
	if !d.ok || n <= 0 || v > uint64(limit) {
		d.ok = false
		return 0
	}
	d.b = d.b[n:]
	return int(v)
}

func decodeTable(data []byte) (map[string]*Folder, bool) {
	d := decoder{b: data, ok: true}
	if string(d.take(len(magic))) != magic {
		return nil, false
	}
	head := d.take(8)
	if !d.ok {
		return nil, false
	}
	table := d.take(int(binary.LittleEndian.Uint32(head)))
	if !d.ok || checksum(table) != binary.LittleEndian.Uint32(head[4:]) {
		return nil, false
	}
	sections := decoder{b: d.b, ok: true}
	folders := make(map[string]*Folder)
	for t := (decoder{b: table, ok: true}); len(t.b) > 0; {
		path := string(t.take(t.number(maxName)))
		f := &Folder{count: t.number(len(data))}
		size := t.number(len(data))
		sum := t.take(4)
		if f.raw = sections.take(size); !t.ok || !sections.ok {
			return nil, false
		}
		f.sum = binary.LittleEndian.Uint32(sum)
		folders[path] = f
	}
	return folders, true
}

// save returns the bytes to save for the folder, none where there is nothing to remember.
func (f *Folder) save(path string) (raw []byte, sum uint32, count int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.used {
		// Nobody asked for it this time; another pipeline may. It goes when its folder goes.
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			return nil, 0, 0
		}
		return f.raw, f.sum, f.count
	}
	f.merge()
	s := f.section
	if s != nil && f.listed != nil && !s.each(f.listed) {
		s = encode(slices.DeleteFunc(s.entries(), func(e entry) bool { return !f.listed(e.name) }))
	}
	if s == nil {
		return nil, 0, 0
	}
	return s.raw, checksum(s.raw), s.count
}

// Save writes the index to its file if it has learnt anything. The file is replaced in one step, so that another process
// reads either the old one or the new one.
func (x *Index) Save() (err error) {
	if x.path == "" || !x.dirty.Swap(false) {
		return nil
	}
	x.mu.Lock()
	paths := slices.Sorted(maps.Keys(x.folders))
	x.mu.Unlock()
	var table []byte
	var sections [][]byte
	for _, path := range paths {
		x.mu.Lock()
		f := x.folders[path]
		x.mu.Unlock()
		raw, sum, count := f.save(path)
		if count == 0 || len(path) > maxName {
			continue
		}
		table = binary.AppendUvarint(table, uint64(len(path)))
		table = append(table, path...)
		table = binary.AppendUvarint(table, uint64(count))
		table = binary.AppendUvarint(table, uint64(len(raw)))
		table = binary.LittleEndian.AppendUint32(table, sum)
		sections = append(sections, raw)
	}
	if err := x.write(table, sections); err != nil {
		x.dirty.Store(true)
		return fmt.Errorf("save the stat index: %w", err)
	}
	return nil
}

func (x *Index) write(table []byte, sections [][]byte) error {
	// It is not synced: what a crash leaves behind does not fit its checksums and is taken for an empty index.
	tmp, err := createTemp(x.path)
	if err != nil || tmp == nil {
		return err
	}
	head := append(make([]byte, 0, headerSize), magic...)
	head = binary.LittleEndian.AppendUint32(head, uint32(len(table)))
	head = binary.LittleEndian.AppendUint32(head, checksum(table))
	w := bufio.NewWriterSize(tmp, 1<<20)
	for _, b := range append([][]byte{head, table}, sections...) {
		if _, err := w.Write(b); err != nil {
			return errors.Join(err, tmp.Close(), os.Remove(tmp.Name()))
		}
	}
	if err := errors.Join(w.Flush(), publish(tmp, x.path)); err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return nil
}

// tempName names the file in which the index at path is written before it gets its name. There is one, so that what a killed process has
// left of it is found.
func tempName(path string) string { return path + ".tmp" }
