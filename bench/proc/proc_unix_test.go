//go:build unix

package proc_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/towpath/towpath/bench/proc"
)

func newRunner(t *testing.T) *proc.Runner {
	t.Helper()
	if _, err := os.Stat("/bin/sh"); err != nil {
		t.Skip("needs /bin/sh")
	}
	r, err := proc.NewRunner(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func shell(script string) proc.Cmd {
	return proc.Cmd{Path: "/bin/sh", Args: []string{"-c", script}}
}

func TestRunCapturesAndTimes(t *testing.T) {
	r := newRunner(t)
	for i := range 3 { // the files are used again: a shorter output must not show the rest of a longer one
		got, err := r.Run(t.Context(), shell(fmt.Sprintf("sleep 0.05; printf %%s %s; echo error %d >&2", strings.Repeat("x", 3-i), i)))
		if err != nil {
			t.Fatal(err)
		}
		if want := strings.Repeat("x", 3-i); string(got.Stdout) != want {
			t.Errorf("stdout %q, want %q", got.Stdout, want)
		}
		if want := fmt.Sprintf("error %d\n", i); string(got.Stderr) != want {
			t.Errorf("stderr %q, want %q", got.Stderr, want)
		}
		if got.Elapsed < 50*time.Millisecond {
			t.Errorf("slept 50 ms, measured %v", got.Elapsed)
		}
	}
}

func TestRunCountsCPU(t *testing.T) {
	r := newRunner(t)
	got, err := r.Run(t.Context(), shell("sleep 0.2; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done"))
	if err != nil {
		t.Fatal(err)
	}
	if got.CPU <= 0 || got.CPU > got.Elapsed-200*time.Millisecond {
		t.Errorf("CPU time %v of %v, of which 200 ms were slept", got.CPU, got.Elapsed)
	}
}

func TestRunReportsFailure(t *testing.T) {
	r := newRunner(t)
	_, err := r.Run(t.Context(), shell("echo fine; echo it broke >&2; exit 7"))
	exit, ok := errors.AsType[*proc.ExitError](err)
	if !ok {
		t.Fatalf("error %v, want an ExitError", err)
	}
	if got, want := exit.Error(), "sh: exit status 7: it broke"; got != want {
		t.Errorf("error %q, want %q", got, want)
	}
	if string(exit.Stdout) != "fine\n" {
		t.Errorf("stdout %q", exit.Stdout)
	}
	if _, err := r.Run(t.Context(), proc.Cmd{Path: filepath.Join(t.TempDir(), "missing")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v, want one that says that the file does not exist", err)
	}
}

func TestRunEnvironmentAndFolder(t *testing.T) {
	r := newRunner(t)
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c := shell("echo $A $B; pwd -P")
	c.Env, c.Dir = []string{"A=1"}, dir
	t.Setenv("B", "2")
	got, err := r.Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if want := "1\n" + dir + "\n"; string(got.Stdout) != want {
		t.Errorf("stdout %q, want %q", got.Stdout, want)
	}
}

// The child ignores the polite signal, and has a child of its own that would outlive it.
func TestCancelKillsTheGroup(t *testing.T) {
	r := newRunner(t)
	pidFile := filepath.Join(t.TempDir(), "pid")
	ctx, cancel := context.WithCancelCause(t.Context())
	interrupted := errors.New("interrupted")
	go func() {
		for {
			if b, err := os.ReadFile(pidFile); err == nil && strings.HasSuffix(string(b), "\n") {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		cancel(interrupted)
	}()
	_, err := r.Run(ctx, shell(fmt.Sprintf("trap '' TERM; sleep 60 & echo $! >%s; wait; sleep 60", pidFile)))
	if !errors.Is(err, interrupted) {
		t.Errorf("error %v, want the cause of the cancellation", err)
	}
	waitGone(t, readPID(t, pidFile))
}

func readPID(t *testing.T, file string) int {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func waitGone(t *testing.T, pid int) {
	t.Helper()
	for range 200 {
		if stopped(pid) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("process %d is still there", pid)
}

// stopped tells whether a process is gone, or is only waiting to be collected by a parent that does not.
func stopped(pid int) bool {
	if err := syscall.Kill(pid, 0); err != nil {
		return true
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(stat), ") Z ")
}
