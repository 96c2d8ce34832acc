package disk_test

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/cas/disk"
	"github.com/towpath/towpath/internal/cas/durable"
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

// A blob that no process has made durable may have lost its content in a power cut, and has kept its size and times: it counts only when it was read.
func TestPendingBlobsOfTheDeadAreRead(t *testing.T) {
	if !durable.SyncsLate {
		t.Skip("blobs are durable as soon as they have a name")
	}
	dir := t.TempDir()
	dead := open(t, dir)
	var all []digest.Digest
	for i := range 5 {
		all = append(all, put(t, dead, fmt.Appendf(nil, "pending %d", i)))
	}
	zeroed, whole := all[2], all[3]
	flip(t, path(t, dead, zeroed), 3)
	before, err := os.Lstat(path(t, dead, whole))
	if err != nil {
		t.Fatal(err)
	}
	if missing, err := dead.Missing(t.Context(), all); err != nil || len(missing) != 0 {
		t.Errorf("who has written them lacks %v, %v", missing, err)
	}
	for _, ds := range [][]digest.Digest{all, {zeroed}} {
		if missing, err := open(t, dir).Missing(t.Context(), ds); err != nil || !slices.Equal(missing, []digest.Digest{zeroed}) {
			t.Errorf("missing %v, %v, want %v", missing, err, zeroed)
		}
	}
	next := open(t, dir)
	if missing, err := next.Missing(t.Context(), all); err != nil || len(missing) != 1 {
		t.Fatalf("missing %v, %v", missing, err)
	}
	// It is read once. What would show in a second reading is found when the blob is used.
	flip(t, path(t, next, whole), 3)
	if missing, err := next.Missing(t.Context(), []digest.Digest{whole}); err != nil || len(missing) != 0 {
		t.Errorf("a blob was read twice: missing %v, %v", missing, err)
	}
	flip(t, path(t, next, whole), 3)
	flush(t, next)
	if got := mode(t, next, whole); got != 0o444 {
		t.Errorf("after Flush a blob that was read has mode %v", got)
	}
	if got := mode(t, next, zeroed); got != before.Mode() {
		t.Errorf("after Flush a blob that is not whole has mode %v, and passes for durable", got)
	}
	if put(t, next, []byte("pending 2")) != zeroed {
		t.Fatal("the blob has another digest")
	}
	if missing, err := open(t, dir).Missing(t.Context(), all); err != nil || len(missing) != 0 {
		t.Errorf("once it has been put again, missing are %v, %v", missing, err)
	}
}
