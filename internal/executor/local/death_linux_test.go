package local_test

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/towpath/towpath/internal/cas/mem"
	"github.com/towpath/towpath/internal/checkout"
	"github.com/towpath/towpath/internal/executor"
	"github.com/towpath/towpath/internal/executor/local"
	"github.com/towpath/towpath/internal/nobody"
	"github.com/towpath/towpath/internal/sandbox"
	"github.com/towpath/towpath/internal/tree"
)

// dieVariable asks a test binary to be a tow that runs a step below the folder that it names, until it is killed.
const dieVariable = "TOWPATH_TEST_DIE_IN"

// dieIfAsked runs a step, which is the shell script in the first argument, and does not return where the variable asks for
// that.
func dieIfAsked() {
	dir := os.Getenv(dieVariable)
	if dir == "" {
		return
	}
	ctx, store := context.Background(), mem.New()
	isolation := local.Workspace
	if strings.HasPrefix(os.Args[1], ": sandboxed;") {
		isolation = local.Sandbox
	}
	err := func() error {
		root, err := tree.NewBuilder(store).Build(ctx)
		if err != nil {
			return err
		}
		a, err := executor.NewAction(executor.Command{Args: []string{"sh", "-c", os.Args[1]}, Limits: executor.Limits{PIDs: 100}}, root, executor.Platform(isolation))
		if err != nil {
			return err
		}
		owner := sandbox.Owner()
		folders, err := checkout.Open(checkout.Config{Store: store, Dir: dir + "-trees", UID: owner, GID: owner})
		if err != nil {
			return err
		}
		e, err := local.New(local.Config{Store: store, Dir: dir, Isolation: isolation, Checkouts: folders})
		if err != nil {
			return err
		}
		_, err = e.Execute(ctx, a, executor.Options{Stdout: os.Stdout, Stderr: os.Stderr})
		return err
	}()
	fmt.Fprintln(os.Stderr, "the step ended:", err)
	os.Exit(1)
}

// TestTowIsKilled holds that a step's command dies with tow, whatever kills that, and that the next New ends what the
// command has started and removes its workspace.
func TestTowIsKilled(t *testing.T) {
	dir := t.TempDir()
	command, child := newPulse(t), newPulse(t)
	tow, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf("touch f; (setsid sleep 1000 >%q 2>&1 &); exec sleep 1000 >%q", child.path, command.path)
	cmd := exec.Command(tow, script)
	cmd.Env = append(os.Environ(), dieVariable+"="+dir)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	childAlive, commandAlive := child.open(), command.open()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	stops(t, commandAlive)
	if left := workspaces(t, dir); len(left) != 1 || !strings.HasSuffix(left[0], "/work/f") {
		t.Errorf("the workspaces hold %v, want what the step has made", left)
	}
	newLocal(t, mem.New(), dir, time.Minute)
	stops(t, childAlive)
	if left := workspaces(t, dir); len(left) > 0 {
		t.Errorf("left of the dead are %v", left)
	}
}

// TestTowIsKilledWithSandboxes holds that everything in a sandbox dies with tow, and that the next New removes what it has left. The command has the
// socket to its helper only through that, so what tells of its end is that nobody has its processes any more.
func TestTowIsKilledWithSandboxes(t *testing.T) {
	nobody.Run(t)
	dir := filepath.Join(t.TempDir(), "work")
	tow, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// The names tell the processes of this test from all others.
	unique := strconv.Itoa(1_000_000 + os.Getpid())
	cmd := exec.Command(tow, ": sandboxed; touch f; (setsid sleep "+unique+" &); echo there; exec sleep "+unique)
	cmd.Env = append(os.Environ(), dieVariable+"="+dir)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(stdout, make([]byte, len("there"))); err != nil {
		t.Fatal(err)
	}
	fds := sleepers(t, unique)
	if len(fds) == 0 {
		t.Fatal("no process of the step is to be seen")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	for _, fd := range fds {
		if n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 30_000); n != 1 {
			t.Errorf("a process of the step is still alive: %v", err)
		}
		unix.Close(fd)
	}
	if left := groupsOf(t, cmd.Process.Pid); len(left) == 0 && len(sandbox.OpenGroups().Missing()) == 0 {
		t.Error("the dead have left no control group")
	}
	newLocal(t, mem.New(), dir, time.Minute)
	if left := append(workspaces(t, dir), groupsOf(t, cmd.Process.Pid)...); len(left) > 0 {
		t.Errorf("left of the dead are %v", left)
	}
}

// groupsOf returns the control groups that a process has made.
func groupsOf(t *testing.T, pid int) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir("/sys/fs/cgroup", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && strings.HasPrefix(entry.Name(), "tow-") && strings.Contains(entry.Name(), "-"+strconv.Itoa(pid)+"-") {
			out = append(out, path)
		}
		return nil // others' groups come and go
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// sleepers returns descriptors of the processes that sleep for so many seconds.
func sleepers(t *testing.T, seconds string) []int {
	t.Helper()
	lists, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var out []int
	for _, list := range lists {
		content, err := os.ReadFile(list)
		if err != nil || string(content) != "sleep\x00"+seconds+"\x00" {
			continue // one that has ended, or another
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(list)))
		if fd, err := unix.PidfdOpen(pid, 0); err == nil {
			out = append(out, fd)
		}
	}
	return out
}
