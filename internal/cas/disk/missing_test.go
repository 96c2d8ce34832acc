package disk_test

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/cas/disk"
	"github.com/towpath/towpath/internal/digest"
)

// TestMissingOfMany asks for so many blobs that whole shards are looked through, with one of each kind of damage among them.
func TestMissingOfMany(t *testing.T) {
	dir := t.TempDir()
	s, err := disk.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var all []digest.Digest
	for i := range 3000 {
		d, err := cas.PutBytes(t.Context(), s, fmt.Appendf(nil, "blob %d", i))
		ok(err)
		all = append(all, d)
	}
	ok(s.Flush(t.Context()))
	path := func(d digest.Digest) string { p, _ := s.Path(d); return p }
	if missing, err := s.Missing(t.Context(), all); err != nil || len(missing) != 0 {
		t.Fatalf("%d of the blobs are missing, %v", len(missing), err)
	}
	absent, cut, written, touched, unused := all[2500], all[1700], all[900], all[30], all[31]
	ok(os.Remove(path(absent)))
	ok(os.Chmod(path(cut), 0o644))
	ok(os.Truncate(path(cut), 1))
	ok(os.Chmod(path(written), 0o644))
	ok(os.WriteFile(path(written), make([]byte, written.Size), 0o644))
	now := time.Now()
	ok(os.Chtimes(path(touched), now, now))
	info, err := os.Stat(path(unused))
	ok(err)
	long := now.Add(-48 * time.Hour)
	ok(os.Chtimes(path(unused), long, info.ModTime()))
	never := digest.OfBytes([]byte("never put"))
	wrongSize := all[5]
	wrongSize.Size++
	missing, err := s.Missing(t.Context(), append(slices.Clone(all), never, wrongSize))
	ok(err)
	if want := []digest.Digest{written, cut, absent, never, wrongSize}; !slices.Equal(missing, want) {
		t.Errorf("missing %v, want %v", missing, want)
	}
	items, err := os.Stat(path(touched))
	ok(err)
	if !items.ModTime().Equal(info.ModTime()) {
		t.Error("a blob that was only touched is not marked as whole again")
	}
}
