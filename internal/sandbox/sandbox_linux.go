//go:build linux && (amd64 || arm64)

package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Sandbox runs commands. Its methods are safe for concurrent use. The helper is started when it is needed first, and once more when it
// has died.
type Sandbox struct {
	mu     sync.Mutex
	conn   *conn // nil while there is no helper
	closed bool
}

// New returns a Sandbox. Nothing is started yet.
func New() *Sandbox { return &Sandbox{} }

// conn is the connection to one helper.
type conn struct {
	socket *socket
	ended  chan struct{} // closed when the helper is gone and err is set
	err    error
	failed error // why the helper was given up, or has given up itself

	mu      sync.Mutex
	last    uint64
	waiting map[uint64]chan answer
}

type answer struct {
	reply
	workspace *os.File
}

// What makes namespaces.
const (
	helperOp   = "start the helper of the sandbox"
	templateOp = "make a mount namespace"
	networkOp  = "make a network"
	initOp     = "start the sandbox"
)

var errHelperDied = errors.New("the helper of the sandbox has died")

// helper returns a connection to a helper that is alive as far as is known.
func (s *Sandbox) helper() (*conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errors.New("the sandbox is closed")
	}
	if s.conn != nil {
		select {
		case <-s.conn.ended:
		default:
			return s.conn, nil
		}
	}
	c, err := startHelper()
	if err != nil {
		return nil, err
	}
	s.conn = c
	return c, nil
}

// Close ends the helper, and with it every command.
func (s *Sandbox) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.conn == nil {
		return nil
	}
	err := s.conn.socket.Close()
	<-s.conn.ended
	s.conn = nil
	return err
}

func startHelper() (*conn, error) {
	if isHelper() {
		// It would start itself, and that itself, and so on.
		return nil, &SetupError{helperOp, errors.New("this program does not begin with MainIfHelper")}
	}
	if isMachinesRoot() {
		return nil, rootAlone()
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, &SetupError{"make a socket", err}
	}
	theirs := os.NewFile(uintptr(pair[1]), "socket")
	defer theirs.Close()
	socket, err := newSocket(os.NewFile(uintptr(pair[0]), "socket"))
	if err != nil {
		return nil, &SetupError{"make a socket", err}
	}
	c := &conn{socket: socket, ended: make(chan struct{}), waiting: map[uint64]chan answer{}}
	cmd := helperCommand(theirs)
	stderr := &bytes.Buffer{}
	cmd.Stderr = stderr
	started := make(chan error)
	go func() {
		// The system kills the helper when the thread ends that has started it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		received := make(chan struct{})
		go func() { c.receive(); close(received) }()
		err = cmd.Wait()
		<-received
		c.end(err, stderr.String())
	}()
	if err := <-started; err != nil {
		socket.Close()
		return nil, refused(&SetupError{helperOp, err})
	}
	return c, nil
}

func helperCommand(socket *os.File) *exec.Cmd {
	cmd := &exec.Cmd{
		Path: "/proc/self/exe", Args: []string{helperName}, Env: []string{}, Dir: "/", ExtraFiles: []*os.File{socket},
		SysProcAttr: &syscall.SysProcAttr{
			Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS, Pdeathsig: syscall.SIGKILL, Setpgid: true,
		},
	}
	attr := cmd.SysProcAttr
	if actsAsRoot() {
		both := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}, {ContainerID: UID, HostID: Nobody, Size: 1}}
		attr.UidMappings, attr.GidMappings, attr.GidMappingsEnableSetgroups = both, both, true
		return cmd
	}
	attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: UID, HostID: os.Geteuid(), Size: 1}}
	attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: UID, HostID: os.Getegid(), Size: 1}}
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		attr.AmbientCaps = append(attr.AmbientCaps, c)
	}
	return cmd
}

// receive gives every answer to who waits for it, until the helper is gone or cannot be understood, and then lets it go.
func (c *conn) receive() {
	defer c.socket.Close()
	buf := make([]byte, messageMax+1)
	for {
		var a answer
		fds, err := c.socket.receive(buf, &a.reply)
		if err == nil && a.ID == 0 && a.Failure != nil {
			err = a.Failure.error()
		}
		if err != nil {
			closeAll(fds)
			if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) && !errors.Is(err, unix.ECONNRESET) {
				c.failed = err
			}
			return
		}
		if len(fds) > 0 {
			a.workspace = os.NewFile(uintptr(fds[0]), "workspace")
			closeAll(fds[1:])
		}
		c.mu.Lock()
		to := c.waiting[a.ID]
		delete(c.waiting, a.ID)
		c.mu.Unlock()
		if to == nil {
			if a.workspace != nil {
				a.workspace.Close()
			}
			continue
		}
		to <- a
	}
}

func (c *conn) end(err error, stderr string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = errHelperDied
	if c.failed != nil {
		c.err = fmt.Errorf("%w: %w", errHelperDied, c.failed)
	} else if err != nil {
		c.err = fmt.Errorf("%w: %w", errHelperDied, err)
	}
	if stderr != "" {
		c.err = fmt.Errorf("%w: %s", c.err, stderr)
	}
	c.socket.Close()
	close(c.ended)
}

// Process is a command that was started, or is about to be.
type Process struct {
	conn   *conn
	id     uint64
	answer chan answer
}

// Start begins to run a command with the standard files, and the open lists of processes of the control groups that it is to be in. It
// does not wait for the command to be there; the files may be closed when Start has returned.
func (s *Sandbox) Start(spec *Spec, stdio [3]*os.File, groups []*os.File) (*Process, error) {
	return s.start(&request{Spec: spec}, stdio, groups)
}

// Check makes the sandbox of spec and runs nothing in it. The error is a *RefusedError where the machine does not allow it.
func (s *Sandbox) Check(spec *Spec) error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	p, err := s.start(&request{Spec: spec, Check: true}, [3]*os.File{null, null, null}, nil)
	if err != nil {
		return err
	}
	o, err := p.Wait()
	if err != nil {
		return refused(err)
	}
	return o.Workspace.Close()
}

func (s *Sandbox) start(r *request, stdio [3]*os.File, groups []*os.File) (*Process, error) {
	c, err := s.helper()
	if err != nil {
		return nil, err
	}
	p := &Process{conn: c, answer: make(chan answer, 1)}
	c.mu.Lock()
	c.last++
	p.id = c.last
	c.waiting[p.id] = p.answer
	c.mu.Unlock()
	r.ID = p.id
	fds := make([]int, 0, filesMax)
	for _, f := range append(stdio[:], groups...) {
		fds = append(fds, int(f.Fd()))
	}
	if err := c.socket.send(r, fds...); err != nil {
		c.mu.Lock()
		delete(c.waiting, p.id)
		c.mu.Unlock()
		return nil, &SetupError{"ask the helper of the sandbox", err}
	}
	return p, nil
}

// Terminate asks the command's process group to end.
func (p *Process) Terminate() { p.signal(unix.SIGTERM) }

// Kill ends the command and all that it has started.
func (p *Process) Kill() { p.signal(unix.SIGKILL) }

func (p *Process) signal(signal syscall.Signal) {
	_ = p.conn.socket.send(&request{ID: p.id, Signal: int(signal)}) // who is not there any more needs none
}

// Wait waits until the command and all that it has started are gone. The error is a *CwdError, *ExecError or *SetupError where it did not run.
func (p *Process) Wait() (*Outcome, error) {
	var a answer
	select {
	case a = <-p.answer:
	case <-p.conn.ended:
		select {
		case a = <-p.answer:
		default:
			return nil, &SetupError{"run the command", p.conn.err}
		}
	}
	if a.Failure != nil {
		if a.workspace != nil {
			a.workspace.Close()
		}
		return nil, a.Failure.error()
	}
	return &Outcome{
		Status: syscall.WaitStatus(a.Status), Duration: time.Duration(a.Duration), UserTime: time.Duration(a.User),
		SystemTime: time.Duration(a.System), MaxRSSBytes: a.MaxRSS, Workspace: a.workspace,
	}, nil
}

func (f *failure) error() error {
	err := error(unix.Errno(f.Errno))
	if f.Errno == 0 {
		err = errors.New(f.Text)
	}
	switch f.Kind {
	case "cwd":
		return &CwdError{err}
	case "exec":
		return &ExecError{err}
	}
	return &SetupError{f.Op, err}
}
