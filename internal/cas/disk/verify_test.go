package disk_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/cas/disk"
	"github.com/towpath/towpath/internal/cas/durable"
	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/nobody"
)

func verify(t *testing.T, s *disk.Store) cas.Verified {
	t.Helper()
	v, err := s.Verify(t.Context(), func(int64, int64) {})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func path(t *testing.T, s *disk.Store, d digest.Digest) string {
	t.Helper()
	p, ok := s.Path(d)
	if !ok {
		t.Fatalf("blob %s is not there", d.Short())
	}
	return p
}

// flip changes one bit of a file and leaves no other trace of that.
func flip(t *testing.T, path string, bit int) {
	t.Helper()
	st, err := durable.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[bit/8] ^= 1 << (bit % 8)
	for _, err := range []error{os.Chmod(path, 0o644), os.WriteFile(path, b, 0), os.Chmod(path, st.Perm), os.Chtimes(path, st.Used, st.Modified)} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestVerifyFindsEveryFlippedBit(t *testing.T) {
	s := open(t, t.TempDir())
	content := []byte("the content")
	other := put(t, s, bytes.Repeat([]byte("other"), 100_000))
	for bit := range 8 * len(content) {
		d := put(t, s, content)
		flip(t, path(t, s, d), bit)
		if v := verify(t, s); v.Damaged != 1 || v.Checked != 2 || v.Marked != 0 {
			t.Fatalf("bit %d: %+v", bit, v)
		}
		if _, ok := s.Path(d); ok {
			t.Fatalf("bit %d: the damaged blob is still there", bit)
		}
	}
	flip(t, path(t, s, other), 8*499_999)
	if v := verify(t, s); v.Damaged != 1 {
		t.Errorf("the last byte of a large blob: %+v", v)
	}
	if v := verify(t, s); v != (cas.Verified{}) {
		t.Errorf("an empty store: %+v", v)
	}
}

// What has another size, name or kind than a blob goes; what was only touched stays and is marked again; and nothing counts as used.
func TestVerifyRepairs(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	good, touched, cut := put(t, s, []byte("good")), put(t, s, []byte("touched")), put(t, s, []byte("cut"))
	flush(t, s)
	long := time.Now().Add(-50 * time.Hour).Truncate(time.Second)
	if err := os.Chtimes(path(t, s, good), long, time.Time{}); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	goodPath, touchedPath, cutPath := path(t, s, good), path(t, s, touched), path(t, s, cut)
	strange, folder := filepath.Join(filepath.Dir(goodPath), "strange"), filepath.Join(filepath.Dir(goodPath), good.Hex()[:40])
	misplaced := filepath.Join(filepath.Dir(goodPath), touched.Hex())
	for _, err := range []error{
		os.Chtimes(touchedPath, now, now), os.Chmod(cutPath, 0o644), os.Truncate(cutPath, 2),
		os.WriteFile(strange, nil, 0o444), os.WriteFile(misplaced, []byte("touched"), 0o444), os.MkdirAll(filepath.Join(folder, "below"), 0o755),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if v := verify(t, s); v.Checked != 6 || v.Damaged != 4 || v.Marked != 1 {
		t.Errorf("%+v, want 6 checked, 4 damaged, 1 marked", v)
	}
	for _, p := range []string{cutPath, strange, misplaced, folder} {
		if _, err := os.Lstat(p); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there: %v", p, err)
		}
	}
	if v := verify(t, s); v.Checked != 2 || v.Damaged != 0 || v.Marked != 0 {
		t.Errorf("the second time: %+v", v)
	}
	if st, err := durable.Lstat(goodPath); err != nil || !st.Used.Equal(long) {
		t.Errorf("verifying counts as a use: %v, %v", st.Used, err)
	}
}

func TestVerifyAsNobody(t *testing.T) {
	if nobody.Run(t) {
		return
	}
	s := open(t, t.TempDir())
	hidden, bad := put(t, s, []byte("hidden")), put(t, s, []byte("bad"))
	flip(t, path(t, s, bad), 3)
	if err := os.Chmod(path(t, s, hidden), 0); err != nil {
		t.Fatal(err)
	}
	if v := verify(t, s); v.Unreadable != 1 || v.Damaged != 1 {
		t.Errorf("%+v, want one that cannot be read and one that is damaged", v)
	}
}

// Every way to find a blob notes its use, and the view for who looks after the store does not.
func TestUsesAreNoted(t *testing.T) {
	s := open(t, t.TempDir())
	content := []byte("content")
	d := put(t, s, content)
	flush(t, s)
	long := time.Now().Add(-50 * time.Hour).Truncate(time.Second)
	for name, c := range map[string]struct {
		use   func() error
		noted bool
	}{
		"Put": {func() error { _, err := cas.PutBytes(t.Context(), s, content); return err }, true},
		"Missing": {func() error {
			if missing, err := s.Missing(t.Context(), []digest.Digest{d}); err != nil || len(missing) > 0 {
				return fmt.Errorf("missing %v, %w", missing, err)
			}
			return nil
		}, true},
		"Open": {func() error { _, err := cas.ReadAll(t.Context(), s, d, 100); return err }, true},
		"Missing of the view": {func() error {
			missing, err := s.Unnoted().Missing(t.Context(), []digest.Digest{d, digest.OfBytes([]byte("absent"))})
			if len(missing) != 1 {
				return fmt.Errorf("missing %v", missing)
			}
			return err
		}, false},
		"Open of the view": {func() error { _, err := cas.ReadAll(t.Context(), s.Unnoted(), d, 100); return err }, false},
		"Path":             {func() error { _, _ = s.Path(d); return nil }, false},
	} {
		if err := os.Chtimes(path(t, s, d), long, time.Time{}); err != nil {
			t.Fatal(err)
		}
		if err := c.use(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		items, err := s.Items(t.Context())
		if err != nil || len(items) != 1 || items[0].Used.After(long) != c.noted {
			t.Errorf("%s: %+v, %v; noted should be %v", name, items, err, c.noted)
		}
	}
}

func TestDrop(t *testing.T) {
	s := open(t, t.TempDir())
	d := put(t, s, []byte("content"))
	items, err := s.Items(t.Context())
	if err != nil || len(items) != 1 || items[0].Bytes != 7 {
		t.Fatalf("Items = %+v, %v", items, err)
	}
	unneeded, err := s.Unneeded()
	if err != nil || time.Since(unneeded) < time.Hour {
		t.Fatalf("Unneeded = %v, %v: less than an hour ago", unneeded, err)
	}
	if dropped, err := s.Drop(t.Context(), items[0].Name, unneeded); dropped || err != nil {
		t.Errorf("Drop of what was put now: %v, %v", dropped, err)
	}
	if err := os.Chtimes(path(t, s, d), unneeded.Add(-time.Second), time.Time{}); err != nil {
		t.Fatal(err)
	}
	if dropped, err := s.Drop(t.Context(), items[0].Name, unneeded); !dropped || err != nil {
		t.Errorf("Drop: %v, %v", dropped, err)
	}
	if _, ok := s.Path(d); ok {
		t.Error("the blob is still there")
	}
}
