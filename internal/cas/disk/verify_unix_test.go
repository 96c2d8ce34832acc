//go:build unix

package disk_test

import (
	"errors"
	"fmt"
	"sync"
	"syscall"
	"testing"

	"github.com/towpath/towpath/internal/digest"
)

// A blob that cannot be opened, for want of descriptors say, is not damaged for that.
func TestVerifyWithoutDescriptors(t *testing.T) {
	s := open(t, t.TempDir())
	var all []digest.Digest
	for i := range 300 {
		all = append(all, put(t, s, fmt.Append(nil, i)))
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	none := limit
	none.Cur = 3
	var once sync.Once
	// All names are known when the first blob has been read.
	v, err := s.Verify(t.Context(), func(int64, int64) {
		once.Do(func() {
			if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none); err != nil {
				t.Error(err)
			}
		})
	})
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(err, syscall.EMFILE) {
		t.Errorf("Verify = %+v, %v, want that there are too many open files", v, err)
	}
	if missing, err := s.Missing(t.Context(), all); err != nil || len(missing) > 0 {
		t.Errorf("%d blobs are gone, %v", len(missing), err)
	}
}
