package disk_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/cas/disk"
	"github.com/towpath/towpath/internal/digest"
)

const fullVariable = "TOWPATH_TEST_CAS_FULL"

// A full disk is simulated by a small one, which the test mounts in a namespace of its own.
func TestFullDisk(t *testing.T) {
	if dir := os.Getenv(fullVariable); dir != "" {
		testFullDisk(t, dir)
		return
	}
	cmd := child(t, "", "-test.run=^TestFullDisk$", "-test.v")
	cmd.Env = append(cmd.Env, fullVariable+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.Output()
	switch {
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.ENOSPC), strings.Contains(string(out), "--- SKIP"):
		t.Skipf("this system lets nobody mount: %v", err)
	case err != nil:
		t.Errorf("%v\n%s", err, out)
	}
}

func testFullDisk(t *testing.T, dir string) {
	if err := syscall.Mount("tow", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("mount: %v", err)
	}
	s, err := disk.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	var full error
	var stored []digest.Digest
	for i := 0; full == nil; i++ {
		var d digest.Digest
		if d, full = cas.PutBytes(t.Context(), s, []byte(fmt.Sprint(i, strings.Repeat("x", 10_000*(1+i%20))))); full == nil {
			stored = append(stored, d)
		}
	}
	var known *cas.DiskError
	if !errors.Is(full, syscall.ENOSPC) || !errors.As(full, &known) || !known.Full || !strings.Contains(full.Error(), "cas: put: the disk of "+dir+" is full: write ") {
		t.Errorf("the error of a full disk is %v", full)
	}
	if left := leftovers(t, dir); len(left) > 0 {
		t.Errorf("left in tmp: %v", left)
	}
	if n := verifyAll(t, dir); n != len(stored) || n == 0 {
		t.Errorf("%d blobs are visible, want %d", n, len(stored))
	}
	if err := s.Delete(t.Context(), stored[0]); err != nil {
		t.Error(err)
	}
	if _, err := cas.PutBytes(t.Context(), s, []byte("room again")); err != nil {
		t.Errorf("Put after room was made: %v", err)
	}
}
