//go:build unix

package disk_test

import (
	"errors"
	"syscall"
	"testing"

	"github.com/towpath/towpath/internal/actioncache"
	"github.com/towpath/towpath/internal/digest"
)

// An entry that cannot be opened, for want of descriptors say, is not damaged for that.
func TestVerifyWithoutDescriptors(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir)
	for _, v := range []string{"one", "two", "three"} {
		if err := c.Put(t.Context(), actioncache.Stage, digest.OfBytes([]byte(v)), []byte(v)); err != nil {
			t.Fatal(err)
		}
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	none := limit
	none.Cur = 3
	v, err := c.Verify(t.Context(), func(actioncache.Entry) (bool, error) { // of the first, when all names are known
		return true, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none)
	})
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(err, syscall.EMFILE) || v.Damaged+v.Dangling > 0 || len(entries(t, dir)) != 3 {
		t.Errorf("Verify = %+v, %v, want that there are too many open files, and %d of 3 entries are left", v, err, len(entries(t, dir)))
	}
}
