//go:build linux && (amd64 || arm64)

package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	// helperName is by what a process knows that it is to be the helper.
	helperName = "tow-sandbox"
	// helperSocket is the number of the helper's socket.
	helperSocket = 3
)

// MainIfHelper makes this process the helper, or a command with limits, where it was started as that, and does not return then. Every program that
// uses this package calls it first in main, and tests do in TestMain.
func MainIfHelper() {
	mainIfLimited()
	if !isHelper() {
		return
	}
	if err := helperMain(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		unix.Exit(1)
	}
	unix.Exit(0) // at once: with os.Exit the race detector waits for a second
}

func isHelper() bool { return os.Args[0] == helperName && os.Getpid() == 1 }

// helper serves the requests of one program.
type helper struct {
	socket   *socket
	machine  machine
	spawners chan spawnJob
	// networked is for commands in the machine's network: who has left that cannot go back.
	networked chan spawnJob

	mu        sync.Mutex
	running   map[uint64]*running
	templates map[string]*template
	uses      uint64     // of templates
	networks  []*network // that nobody uses
}

// machine is what the helper has learned about where it is.
type machine struct {
	root    bool // the program is root's
	lastCap uintptr
	files   uint64 // how many files a process may have open, at most
}

// running is a command that has been started, or will be.
type running struct {
	mu     sync.Mutex
	pid    int // of its init, 0 before it is started and after it has ended
	signal int // to be sent once it is started
}

func helperMain() error {
	// The first thread is nobody's: when a thread ends that has left for other namespaces, it must not be this one.
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("hide the helper: %w", err)
	}
	s, err := newSocket(os.NewFile(helperSocket, "socket"))
	if err != nil {
		return fmt.Errorf("open the socket: %w", err)
	}
	h := &helper{socket: s, spawners: make(chan spawnJob), networked: make(chan spawnJob), running: map[uint64]*running{}, templates: map[string]*template{}}
	if err := h.prepare(); err != nil {
		return h.giveUp("prepare the helper of the sandbox", err)
	}
	for range runtime.GOMAXPROCS(0) {
		go spawner(h.spawners)
		go spawner(h.networked)
	}
	return h.serve()
}

// prepare does what is done once.
func (h *helper) prepare() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return &SetupError{"part with the mounts of the machine", err}
	}
	if err := unix.Sethostname([]byte(Hostname)); err != nil {
		return &SetupError{"set the host name", err}
	}
	var err error
	if h.machine, err = learn(); err != nil {
		return err
	}
	return filter()
}

// giveUp tells the program why the helper ends.
func (h *helper) giveUp(op string, err error) error {
	return errors.Join(err, h.socket.send(reply{Failure: failureOf(op, err)}))
}

func learn() (machine, error) {
	m := machine{root: os.Getuid() == 0}
	b, err := os.ReadFile("/proc/sys/kernel/cap_last_cap")
	if err != nil {
		return m, err
	}
	last, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return m, fmt.Errorf("read the number of capabilities: %w", err)
	}
	m.lastCap = uintptr(last)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return m, fmt.Errorf("read the limit of open files: %w", err)
	}
	m.files = limit.Max
	return m, nil
}

// serve answers requests until the program is gone.
func (h *helper) serve() error {
	buf := make([]byte, messageMax+1)
	for {
		var r request
		fds, err := h.socket.receive(buf, &r)
		if err != nil {
			closeAll(fds)
			if _, ok := errors.AsType[*json.SyntaxError](err); ok || errors.Is(err, unix.EMFILE) {
				return h.giveUp("read what to start", err)
			}
			return nil // the program is gone, and all that is below this process goes with it
		}
		if r.Signal != 0 {
			h.signal(r.ID, r.Signal)
			continue
		}
		running := &running{}
		h.mu.Lock()
		h.running[r.ID] = running
		h.mu.Unlock()
		go func() {
			h.run(&r, fds, running)
			h.mu.Lock()
			delete(h.running, r.ID)
			h.mu.Unlock()
		}()
	}
}

// signal sends a signal to a command, unless it has ended. It cannot come before the command.
func (h *helper) signal(id uint64, signal int) {
	h.mu.Lock()
	r := h.running[id]
	h.mu.Unlock()
	if r != nil {
		r.send(signal)
	}
}

func (r *running) send(signal int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.signal = signal
	if r.pid != 0 {
		_ = unix.Kill(r.pid, unix.Signal(signal))
	}
}

// started tells the number of the process, and passes on what has come before.
func (r *running) started(pid int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pid = pid
	if r.signal != 0 {
		_ = unix.Kill(pid, unix.Signal(r.signal))
	}
}

// wait waits for the process, whose number is nobody's from then on, and returns what it and all that has ended in the sandbox have used.
func (r *running) wait() (usage unix.Rusage) {
	var info unix.Siginfo
	for {
		err := unix.Waitid(unix.P_PID, r.pid, &info, unix.WEXITED|unix.WNOWAIT|unix.WALL, nil)
		if err != unix.EINTR {
			break
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		if _, err := unix.Wait4(r.pid, nil, unix.WALL, &usage); err != unix.EINTR {
			break
		}
	}
	r.pid = 0
	return usage
}

// run runs a command and replies. It closes the files.
func (h *helper) run(r *request, fds []int, running *running) {
	answer, workspace := h.execute(r, fds, running)
	answer.ID = r.ID
	if workspace >= 0 {
		_ = h.socket.send(answer, workspace) // where it fails the program is gone
		_ = unix.Close(workspace)
		return
	}
	_ = h.socket.send(answer)
}

func (h *helper) execute(r *request, fds []int, running *running) (answer reply, workspace int) {
	if len(fds) < 3 {
		closeAll(fds)
		return reply{Failure: failureOf("take the files of the command", unix.EBADF)}, -1
	}
	t, err := h.template(r.Spec)
	if err != nil {
		closeAll(fds)
		return reply{Failure: failureOf("", err)}, -1
	}
	defer h.leave(t)
	m, err := mountsOf(r.Spec)
	if err != nil {
		closeAll(fds)
		m.close()
		return reply{Failure: failureOf("", err)}, -1
	}
	var n *network
	if !r.Spec.Network {
		if n, err = h.takeNetwork(); err != nil {
			closeAll(fds)
			m.close()
			return reply{Failure: failureOf("", err)}, -1
		}
		defer h.giveNetwork(n)
	}
	p := h.machine.prepare(r, m, fds)
	pid, err := h.spawn(t, n, p)
	closeAll(fds)
	_ = unix.Close(m.home)
	_ = unix.Close(m.tmp)
	closeTools(m.tools)
	if err != nil {
		_ = unix.Close(m.workspace)
		return reply{Failure: failureOf(initOp, err)}, -1
	}
	running.started(pid)
	answer = p.answer(running.wait())
	p.free()
	return answer, m.workspace
}

func failureOf(op string, err error) *failure {
	if setup, ok := errors.AsType[*SetupError](err); ok {
		op, err = setup.Op, setup.Err
	}
	f := &failure{Kind: "setup", Op: op}
	if errno, ok := errors.AsType[unix.Errno](err); ok {
		f.Errno = int(errno)
	}
	f.Text = err.Error()
	return f
}

// answer tells how it ended, once it has and all has used so much.
func (p *program) answer(all unix.Rusage) reply {
	if c := p.command; c != nil && c.failed != 0 {
		f := &failure{Kind: "exec", Op: "execute the program", Errno: int(c.errno)}
		if c.failed <= c.ncalls {
			f.Kind, f.Op = "setup", p.commandCalls[c.failed-1].name
		}
		return reply{Failure: f}
	}
	if p.init.failed != 0 {
		f := &failure{Kind: "setup", Op: "start the command", Errno: int(p.init.errno)}
		if p.init.failed <= p.init.ncalls {
			f.Op = p.initCalls[p.init.failed-1].name
		}
		if f.Op == cwdOp {
			f.Kind = "cwd"
		}
		return reply{Failure: f}
	}
	if p.command != nil && !p.init.done {
		// It was killed by the program, and everything with it.
		p.init.status, p.init.usage = int32(unix.SIGKILL), all
		_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &p.init.end) // it is there
	}
	r := reply{
		Status: uint32(p.init.status), User: p.init.usage.Utime.Nano(), System: p.init.usage.Stime.Nano(), MaxRSS: p.init.usage.Maxrss * 1024,
	}
	if p.init.begin != (unix.Timespec{}) {
		r.Duration = p.init.end.Nano() - p.init.begin.Nano()
	}
	return r
}
