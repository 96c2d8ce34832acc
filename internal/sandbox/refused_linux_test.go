//go:build linux && (amd64 || arm64)

package sandbox

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestTheCacheFolderIsBlamed holds that a system is not blamed for what the place of the folders is the cause of.
func TestTheCacheFolderIsBlamed(t *testing.T) {
	err := refused(&SetupError{overlayOnOverlay, unix.EINVAL})
	if r, ok := errors.AsType[*RefusedError](err); !ok || !strings.HasPrefix(r.Why, "the cache folder is on an overlay") {
		t.Errorf("the error is %v", err)
	}
}
