//go:build unix

package source_test

import (
	"testing"

	"golang.org/x/sys/unix"
)

func makeFifo(t *testing.T, path string) {
	t.Helper()
	must(t, unix.Mkfifo(path, 0o644))
}
