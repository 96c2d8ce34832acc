package disk_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/towpath/towpath/internal/actioncache"
	"github.com/towpath/towpath/internal/digest"
)

func TestVerify(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir)
	for _, v := range []string{"whole", "dangling", "strange", "flipped"} {
		if err := c.Put(t.Context(), actioncache.Stage, digest.OfBytes([]byte(v)), []byte(v)); err != nil {
			t.Fatal(err)
		}
	}
	long := time.Now().Add(-50 * time.Hour).Truncate(time.Second)
	flipped := digest.OfBytes([]byte("flipped")).Hex()
	for _, f := range entries(t, dir) {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(filepath.Base(f), flipped) {
			b[len(b)-1] ^= 1
			overwrite(t, f, b)
		}
		if err := os.Chtimes(f, long, time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Put(t.Context(), actioncache.Step, digest.OfBytes(nil), nil); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "step", "no-result"), nil, 0o444); err != nil {
		t.Fatal(err)
	}
	check := func(e actioncache.Entry) (bool, error) {
		switch {
		case e.Kind == actioncache.Step && e.Key == digest.OfBytes(nil) && len(e.Value) == 0:
			return true, nil
		case e.Kind != actioncache.Stage || e.Key != digest.OfBytes(e.Value):
			t.Errorf("check is asked about %+v", e)
		case string(e.Value) == "strange":
			return false, fmt.Errorf("look at it: %w", &actioncache.DamagedError{Err: errors.New("it cannot be read")})
		}
		return string(e.Value) == "whole", nil
	}
	v, err := c.Verify(t.Context(), check)
	if err != nil || v.Checked != 6 || v.Damaged != 3 || v.Dangling != 1 {
		t.Errorf("Verify = %+v, %v, want 6 checked, 3 damaged, 1 dangling", v, err)
	}
	if v, err := c.Verify(t.Context(), check); err != nil || v.Checked != 2 || v.Damaged+v.Dangling != 0 {
		t.Errorf("the second time: %+v, %v", v, err)
	}
	items, err := c.Items(t.Context())
	if err != nil || len(items) != 2 || !items[0].Used.Equal(long) {
		t.Fatalf("verifying counts as a use: %+v, %v", items, err)
	}
	if dropped, err := c.Drop(t.Context(), items[0].Name, long); dropped || err != nil {
		t.Errorf("Drop of what was used then: %v, %v", dropped, err)
	}
	if _, ok, err := c.Get(t.Context(), actioncache.Stage, digest.OfBytes([]byte("whole"))); !ok || err != nil {
		t.Errorf("Get: %v, %v", ok, err)
	}
	if dropped, err := c.Drop(t.Context(), items[0].Name, long.Add(time.Hour)); dropped || err != nil {
		t.Errorf("Drop of what Get has just returned: %v, %v", dropped, err)
	}
	if dropped, err := c.Drop(t.Context(), items[0].Name, time.Now().Add(time.Hour)); !dropped || err != nil {
		t.Errorf("Drop: %v, %v", dropped, err)
	}
}

// TestVerifyOfAStoreThatFails holds that what cannot be looked at for now is not taken for damaged.
func TestVerifyOfAStoreThatFails(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir)
	if err := c.Put(t.Context(), actioncache.Stage, digest.OfBytes(nil), []byte("whole")); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("too many open files")
	v, err := c.Verify(t.Context(), func(actioncache.Entry) (bool, error) { return false, broken })
	if !errors.Is(err, broken) || v.Damaged+v.Dangling > 0 || len(entries(t, dir)) != 1 {
		t.Errorf("Verify = %+v, %v", v, err)
	}
}
