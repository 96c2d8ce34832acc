package durable_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/cas/durable"
)

const fullVariable = "TOWPATH_TEST_DURABLE_FULL"

// A full disk is simulated by a small one, which the test mounts in a namespace of its own.
func TestFullDisk(t *testing.T) {
	if dir := os.Getenv(fullVariable); dir != "" {
		if err := syscall.Mount("tow", dir, "tmpfs", 0, "size=1m,nr_inodes=100"); err != nil {
			t.Skipf("mount: %v", err)
		}
		t.Run("session", func(t *testing.T) { testSessionOnFullDisk(t, dir) })
		t.Run("discard", func(t *testing.T) { testDiscardOnFullDisk(t, dir) })
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestFullDisk$", "-test.v")
	cmd.Env = append(os.Environ(), fullVariable+"="+t.TempDir())
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

// fill makes files in dir until there is no room for another.
func fill(t *testing.T, dir string) (files []string) {
	t.Helper()
	for i := 0; ; i++ {
		path := filepath.Join(dir, fmt.Sprint("fill", i))
		err := os.WriteFile(path, nil, 0o644)
		if cas.IsFull(err) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, path)
	}
}

func remove(t *testing.T, files ...string) {
	t.Helper()
	for _, f := range files {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
}

// Who begins on a full disk can make room there, and has a session, from when it began, before it stores anything.
func testSessionOnFullDisk(t *testing.T, dir string) {
	sessions := filepath.Join(dir, "sessions")
	files := fill(t, dir)
	start := time.Now()
	s := begin(t, sessions)
	between := time.Now()
	if err := s.Hold(); !cas.IsFull(err) {
		t.Errorf("Hold on a full disk = %v", err)
	}
	remove(t, files...)
	if err := s.Hold(); err != nil {
		t.Fatalf("Hold when there is room: %v", err)
	}
	if at := oldest(t, sessions); at.Before(start) || at.After(between) {
		t.Errorf("the session counts from %v, want between %v and %v", at, start, between)
	}
	if err := errors.Join(s.Hold(), s.Close()); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(sessions); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// What is used while it is being discarded stays on a full disk, too.
func testDiscardOnFullDisk(t *testing.T, dir string) {
	tmp := filepath.Join(dir, "tmp")
	first, err := durable.OpenTemp(tmp)
	if err != nil {
		t.Fatal(err)
	}
	f, err := first.Create(0o600) // the gate is made with the first file
	if err := errors.Join(err, f.Close(), first.Close()); err != nil {
		t.Fatal(err)
	}
	temp, err := durable.OpenTemp(tmp)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "file")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	files := fill(t, dir)
	discardWhileUsed(t, path, temp)
	if dropped, err := temp.Discard(path+"-gone", time.Now()); dropped || err != nil {
		t.Errorf("what is not there: dropped %v, %v", dropped, err)
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) != 1 {
		t.Errorf("left: %v, %v, want the gate", left, err)
	}
	// What somebody who was killed had moved aside goes.
	aside := filepath.Join(tmp, "aside-OFTHEDEAD")
	remove(t, files...)
	if err := os.WriteFile(aside, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := durable.OpenTemp(tmp); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(aside); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what a dead process moved aside is still there: %v", err)
	}
	if err := temp.Close(); err != nil {
		t.Fatal(err)
	}
}

// Only where nobody may write is it fine to have no session.
func TestSessionThatCannotBegin(t *testing.T) {
	dir := t.TempDir()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	none := limit
	none.Cur = 3
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	_, err := durable.Begin(dir)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(err, syscall.EMFILE) {
		t.Errorf("Begin without descriptors = %v", err)
	}
	s, err := durable.Begin("/sys/towpath-sessions")
	if err != nil {
		t.Fatalf("Begin where nobody can write: %v", err)
	}
	if err := errors.Join(s.Hold(), s.Close()); err != nil {
		t.Errorf("a session where nobody can write: %v", err)
	}
}
