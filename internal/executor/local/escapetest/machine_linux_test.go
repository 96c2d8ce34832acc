package escapetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/towpath/towpath/internal/cas/disk"
	"github.com/towpath/towpath/internal/checkout"
	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/executor"
	"github.com/towpath/towpath/internal/executor/local"
	"github.com/towpath/towpath/internal/sandbox"
	"github.com/towpath/towpath/internal/tree"
)

// secret is in everything that no step may see.
const secret = "tow-test-secret"

// machine is what there is around the steps.
type machine struct {
	*local.Executor
	store  *disk.Store
	inputs digest.Digest

	top, cache, home string // folders: of the test, of tow, of a file in the user's home
	beside, blob     string // files: beside the work tree, of the store
	tool             string // a program that is set-user-ID, in an installation of its own
	shared           string // in /dev/shm
	queue            string // of messages
	key              int    // of the shared memory, semaphores and messages of System V
	victim           *exec.Cmd
	neighbour        int    // the number of a process of another step
	workspace        string // of the other step, as the machine sees it

	listeners []net.Listener
	accepted  atomic.Int64
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{top: t.TempDir()}
	m.cache = filepath.Join(m.top, "cache")
	for dir := m.top; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		_ = os.Chmod(dir, 0o755) // so that it is not for want of permissions that nothing is seen
	}
	m.open(t)
	m.addFiles(t)
	m.addTool(t)
	m.addKeys(t)
	m.addInputs(t)
	m.addVictim(t)
	m.addSharedMemory(t)
	m.listen(t)
	m.addNeighbour(t)
	return m
}

// open opens the stores and the executor, where tow has them.
func (m *machine) open(t *testing.T) {
	t.Helper()
	var err error
	if m.store, err = disk.Open(filepath.Join(m.cache, "cas")); err != nil {
		t.Fatal(err)
	}
	owner := sandbox.Owner()
	folders, err := checkout.Open(checkout.Config{Store: m.store, Dir: filepath.Join(m.cache, "checkouts"), UID: owner, GID: owner})
	if err != nil {
		t.Fatal(err)
	}
	m.Executor, err = local.New(local.Config{
		Store: m.store, Dir: filepath.Join(m.cache, "work"), Isolation: local.Sandbox, Checkouts: folders, Grace: time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(m.Close(), folders.Close(), m.store.Close()); err != nil {
			t.Error(err)
		}
	})
}

func (m *machine) addFiles(t *testing.T) {
	t.Helper()
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.CreateTemp(home, ".tow-test-")
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	m.home = f.Name()
	m.beside = filepath.Join(m.top, "project", "beside")
	shm, err := os.CreateTemp("/dev/shm", "tow-test-")
	if err != nil {
		t.Fatal(err)
	}
	shm.Close()
	m.shared = shm.Name()
	t.Cleanup(func() { os.Remove(m.home); os.Remove(m.shared) })
	if err := os.MkdirAll(filepath.Join(m.top, "project", "tree"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{m.home, m.beside, m.shared} {
		if err := errors.Join(os.WriteFile(path, []byte(secret), 0o666), os.Chmod(path, 0o666)); err != nil {
			t.Fatal(err)
		}
	}
}

// addTool installs a program that tells who runs it.
func (m *machine) addTool(t *testing.T) {
	t.Helper()
	prefix, err := os.MkdirTemp("/var/tmp", "tow-test-") //nolint:usetesting // a step has a /tmp of its own
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(prefix) })
	m.tool = filepath.Join(prefix, "bin", "tool")
	id, err := os.ReadFile("/usr/bin/id")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(
		os.Chmod(prefix, 0o777), os.Mkdir(filepath.Join(prefix, "bin"), 0o755), os.Mkdir(filepath.Join(prefix, "lib"), 0o755),
		os.WriteFile(m.tool, id, 0o755), os.Chmod(m.tool, 0o755|fs.ModeSetuid|fs.ModeSetgid), os.Chmod(filepath.Join(prefix, "lib"), 0o777),
	); err != nil {
		t.Fatal(err)
	}
}

// addKeys gives the user and the session keys, where the system has any.
func (m *machine) addKeys(t *testing.T) {
	t.Helper()
	for _, ring := range []int{unix.KEY_SPEC_USER_KEYRING, unix.KEY_SPEC_SESSION_KEYRING} {
		id, err := unix.AddKey("user", secret, []byte(secret), ring)
		if err != nil {
			t.Logf("the system keeps no keys: %v", err)
			continue
		}
		t.Cleanup(func() { _, _ = unix.KeyctlInt(unix.KEYCTL_UNLINK, id, ring, 0, 0) })
	}
}

// addInputs makes the inputs that all attempts have.
func (m *machine) addInputs(t *testing.T) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	probe, err := os.Open(self)
	if err != nil {
		t.Fatal(err)
	}
	defer probe.Close()
	b := tree.NewBuilder(m.store)
	for name, content := range map[string]io.Reader{
		"probe": probe, "in/data": strings.NewReader("original"), "in/sub/more": strings.NewReader("original too"),
	} {
		d, err := m.store.Put(t.Context(), content)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.File(name, d, name == "probe"); err != nil {
			t.Fatal(err)
		}
		if name == "in/data" {
			path, ok := m.store.Path(d)
			if !ok {
				t.Fatal("the store has no file of a blob")
			}
			m.blob = path
		}
	}
	if m.inputs, err = b.Build(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// stepUser is who steps are for the machine.
func stepUser() uint32 {
	if owner := sandbox.Owner(); owner >= 0 {
		return uint32(owner)
	}
	return uint32(os.Getuid())
}

// addVictim starts a process of the user that steps are for the machine, so that it is not the user that protects it.
func (m *machine) addVictim(t *testing.T) {
	t.Helper()
	m.victim = exec.Command("sleep", "1000000")
	m.victim.Env = []string{"SECRET=" + secret}
	m.victim.Dir = "/"
	if os.Getuid() == 0 {
		m.victim.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: stepUser(), Gid: stepUser()}}
	}
	if err := m.victim.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = m.victim.Process.Kill()
		_ = m.victim.Wait()
	})
}

const ipcCreate, ipcRemove = 0o1666, 0

func (m *machine) addSharedMemory(t *testing.T) {
	t.Helper()
	m.key = 0x70770000 | os.Getpid()&0xffff
	remove := func(nr, id, arg uintptr) {
		t.Cleanup(func() { _, _, _ = unix.Syscall6(nr, id, 0, arg, 0, 0, 0) })
	}
	shm, err := unix.SysvShmGet(m.key, 4096, ipcCreate)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = unix.SysvShmCtl(shm, unix.IPC_RMID, nil) })
	sem, _, errno := unix.Syscall(unix.SYS_SEMGET, uintptr(m.key), 1, ipcCreate)
	if errno != 0 {
		t.Fatal(errno)
	}
	remove(unix.SYS_SEMCTL, sem, ipcRemove)
	msg, _, errno := unix.Syscall(unix.SYS_MSGGET, uintptr(m.key), ipcCreate, 0)
	if errno != 0 {
		t.Fatal(errno)
	}
	t.Cleanup(func() { _, _, _ = unix.Syscall(unix.SYS_MSGCTL, msg, ipcRemove, 0) })
	m.queue = filepath.Base(m.shared)
	fd, errno := openQueue(m.queue, unix.O_CREAT|unix.O_RDWR)
	if errno != 0 {
		t.Fatal(errno)
	}
	_ = unix.Close(fd)
	name, err := unix.BytePtrFromString(m.queue)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _, _ = unix.Syscall(unix.SYS_MQ_UNLINK, uintptr(unsafe.Pointer(name)), 0, 0) })
}

func openQueue(name string, flags int) (int, syscall.Errno) {
	p, err := unix.BytePtrFromString(name)
	if err != nil {
		return -1, unix.EINVAL
	}
	fd, _, errno := unix.Syscall6(unix.SYS_MQ_OPEN, uintptr(unsafe.Pointer(p)), uintptr(flags), 0o666, 0, 0, 0)
	return int(fd), errno
}

// listen accepts whoever connects, and counts them: on both loopback addresses, by an abstract name and at a path.
func (m *machine) listen(t *testing.T) {
	t.Helper()
	for _, at := range [][2]string{{"tcp4", "127.0.0.1:0"}, {"tcp6", "[::1]:0"}, {"unix", "@" + filepath.Base(m.shared)}, {"unix", filepath.Join(m.top, "socket")}} {
		l, err := net.Listen(at[0], at[1])
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		m.listeners = append(m.listeners, l)
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				m.accepted.Add(1)
				c.Close()
			}
		}()
	}
}

// addNeighbour starts a step that runs as long as the test, with something of its own everywhere.
func (m *machine) addNeighbour(t *testing.T) {
	t.Helper()
	script := `for d in . /tmp "$HOME" /dev/shm; do echo "$NEIGHBOUR" >$d/neighbour; chmod 666 $d/neighbour; done; echo ready; exec sleep 2000000`
	a, err := executor.NewAction(executor.Command{
		Args: []string{"sh", "-c", script}, Env: []executor.EnvVar{{Name: "NEIGHBOUR", Value: secret}, {Name: testVariable, Value: thisTest()}},
	}, m.inputs, executor.Platform(local.Sandbox))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	r, w := io.Pipe()
	go func() {
		_, err := m.Execute(ctx, a, executor.Options{Stdout: w})
		w.CloseWithError(errors.New("the other step has ended"))
		ended <- err
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the other step: %v", err)
		}
	})
	if _, err := io.ReadFull(r, make([]byte, len("ready\n"))); err != nil {
		t.Fatal(err)
	}
	for m.neighbour == 0 { // until the shell is the command that it executes
		for _, pid := range allProcesses(t) {
			if has(pid, "NEIGHBOUR="+secret) {
				m.neighbour = pid
			}
		}
	}
	found, err := filepath.Glob(filepath.Join(m.cache, "work", "*", "*", "tmp", "neighbour"))
	if err != nil || len(found) != 1 {
		t.Fatalf("the other step has its folders at %v, %v", found, err)
	}
	m.workspace = filepath.Dir(filepath.Dir(found[0]))
}

func allProcesses(t *testing.T) []int {
	t.Helper()
	names, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	var out []int
	for _, name := range names {
		if pid, err := strconv.Atoi(filepath.Base(name)); err == nil {
			out = append(out, pid)
		}
	}
	return out
}

// look returns what a step could have changed, as lines by name.
func (m *machine) look(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{"connections": fmt.Sprint(m.accepted.Load())}
	for _, path := range []string{m.home, m.beside, m.shared, "/proc/sys/kernel/hostname", "/proc/sys/kernel/core_pattern", "/proc/self/mountinfo"} {
		b, err := os.ReadFile(path)
		out[path] = fmt.Sprint(string(b), err)
	}
	for _, path := range []string{"/dev/null", "/dev/zero", "/usr", "/etc", "/etc/passwd", "/usr/bin", "/usr/bin/su", "/"} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		out["state of "+path] = info.Mode().String()
		if info.Mode()&fs.ModeCharDevice == 0 {
			out["state of "+path] += info.ModTime().String()
		}
	}
	for name, pid := range map[string]int{"the victim": m.victim.Process.Pid, "the other step": m.neighbour} {
		out[name] = state(pid)
	}
	m.lookAtFolder(t, filepath.Join(m.cache, "checkouts"), out)
	m.lookAtFolder(t, m.workspace, out)
	return out
}

// state tells whether a process is alive, and how important it is.
func state(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return err.Error()
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if fields[0] == "R" {
		fields[0] = "S"
	}
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, tracer, _ := strings.Cut(string(status), "TracerPid:")
	tracer, _, _ = strings.Cut(tracer, "\n")
	return fmt.Sprintf("%s, nice %s, traced by %s", fields[0], fields[16], strings.TrimSpace(tracer))
}

// lookAtFolder adds everything in a folder: what it is, and what is in it unless that is long.
func (m *machine) lookAtFolder(t *testing.T, dir string, out map[string]string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || strings.Contains(path, "/overlay/") {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		line := info.Mode().String()
		if info.Mode().IsRegular() {
			line += fmt.Sprint(" ", info.Size(), " ", info.ModTime())
			if info.Size() < 4096 {
				b, _ := os.ReadFile(path)
				line += " " + string(b)
			}
		}
		out[path] = line
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (m *machine) compare(t *testing.T, before, after map[string]string) {
	t.Helper()
	for name, was := range before {
		if is, ok := after[name]; is != was {
			t.Errorf("%s was %q and is %q (%v)", name, was, is, ok)
		}
	}
}

// has tells whether a process is of a step of this test and has a variable.
func has(pid int, variable string) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return false
	}
	all := strings.Split(string(b), "\x00")
	return slices.Contains(all, variable) && slices.Contains(all, testVariable+"="+thisTest())
}

// nothingRuns looks for processes of an attempt.
func (m *machine) nothingRuns(t *testing.T, name string) {
	t.Helper()
	for _, pid := range allProcesses(t) {
		if has(pid, attemptVariable+"="+name) {
			t.Errorf("process %d of the step is still there", pid)
		}
	}
}

// inputsAreIntact compares every input with its digest, in the store and as the next step sees it.
func (m *machine) inputsAreIntact(t *testing.T) {
	t.Helper()
	if got := m.shell(t, m.inputs, "cat in/data in/sub/more; ls in"); got != "originaloriginal toodata\nsub\n" {
		t.Errorf("the next step sees %q", got)
	}
	looked := 0
	err := filepath.WalkDir(filepath.Join(m.cache, "cas", "blobs"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		got, err := digest.OfReader(f)
		if err == nil && d.Name() != got.Hex() {
			t.Errorf("blob %s has the content of %v", path, got)
		}
		looked++
		return err
	})
	if err != nil || looked < 3 {
		t.Errorf("%d blobs were looked at: %v", looked, err)
	}
}

// locked writes for one at a time.
type locked struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}
