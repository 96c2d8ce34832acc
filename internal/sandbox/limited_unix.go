//go:build linux || darwin

package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// limitedName is by what a process knows that it is to limit itself and then become a command.
	limitedName = "tow-limited"
	// limitedSocket is the number of its socket. The lists of processes of control groups follow.
	limitedSocket = 3
	// textBusyTries bounds how often a program is executed that somebody holds open for writing, for an instant.
	textBusyTries = 1000
)

// limitedRequest is what such a process is to become.
type limitedRequest struct {
	Path      string
	Args, Env []string
	Limits    Limits
	Groups    int
}

// limitedReply is why it did not. Op is empty where the program cannot be executed.
type limitedReply struct {
	Op    string
	Errno int
}

// Limited is a command that begins as this program, which holds itself to limits and then executes it.
type Limited struct {
	request      limitedRequest
	ours, theirs *os.File
}

// Limit changes a command that is not to run in a sandbox so that it is held to limits and is in the control groups whose open lists of
// processes are given. Once it is started, or could not be, Started or Close is called.
func Limit(cmd *exec.Cmd, l Limits, groups []*os.File) (*Limited, error) {
	if os.Args[0] == limitedName {
		return nil, &SetupError{"limit a command", errors.New("this program does not begin with MainIfHelper")}
	}
	self, err := thisProgram()
	if err != nil {
		return nil, &SetupError{"find this program", err}
	}
	ours, theirs, err := pair()
	if err != nil {
		return nil, &SetupError{"make a socket", err}
	}
	c := &Limited{request: limitedRequest{Path: cmd.Path, Args: cmd.Args, Env: cmd.Env, Limits: l, Groups: len(groups)}, ours: ours, theirs: theirs}
	cmd.Path, cmd.Args, cmd.Env = self, []string{limitedName}, []string{}
	cmd.ExtraFiles = append([]*os.File{theirs}, groups...)
	return c, nil
}

// pair makes two sockets that are connected.
func pair() (*os.File, *os.File, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return nil, nil, err
	}
	unix.CloseOnExec(fds[0])
	unix.CloseOnExec(fds[1])
	return os.NewFile(uintptr(fds[0]), "socket"), os.NewFile(uintptr(fds[1]), "socket"), nil
}

// Close gives up a command that could not be started.
func (c *Limited) Close() { _ = errors.Join(c.ours.Close(), c.theirs.Close()) } // nobody is at the other end

// Started returns when the command is executed. The error is a *SetupError, or that of the system where the program cannot be executed.
func (c *Limited) Started() error {
	defer c.ours.Close()
	_ = c.theirs.Close() // the process has its own
	err := json.NewEncoder(c.ours).Encode(c.request)
	if err == nil {
		err = unix.Shutdown(int(c.ours.Fd()), unix.SHUT_WR)
	}
	if err != nil {
		return &SetupError{"tell a process what to become", err}
	}
	answer, err := io.ReadAll(c.ours)
	if err != nil {
		return &SetupError{"wait for the command", err}
	}
	if len(answer) == 0 {
		return nil
	}
	var r limitedReply
	if err := json.Unmarshal(answer, &r); err != nil {
		return &SetupError{"wait for the command", err}
	}
	if r.Op != "" {
		return &SetupError{r.Op, syscall.Errno(r.Errno)}
	}
	return syscall.Errno(r.Errno)
}

// mainIfLimited makes this process the command where it was started for that, and does not return then.
func mainIfLimited() {
	if os.Args[0] != limitedName {
		return
	}
	// Limits hold for a thread, on some systems, and it is this one that executes.
	runtime.LockOSThread()
	socket := os.NewFile(limitedSocket, "socket")
	unix.CloseOnExec(limitedSocket)
	var r limitedRequest
	request, err := io.ReadAll(socket) // what is not read resets the connection, and the answer is lost
	if err == nil {
		err = json.Unmarshal(request, &r)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "read what to become:", err)
		os.Exit(1)
	}
	op, err := r.become()
	reply := limitedReply{Op: op, Errno: int(unix.EIO)}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		reply.Errno = int(errno)
	}
	_ = json.NewEncoder(socket).Encode(reply) // where it fails nobody wants to know
	unix.Exit(1)
}

// become executes the command, and returns what failed.
func (r *limitedRequest) become() (op string, err error) {
	for i := range r.Groups {
		fd := limitedSocket + 1 + i
		unix.CloseOnExec(fd)
		if _, err := unix.Write(fd, []byte("0")); err != nil {
			return "enter a control group", err
		}
	}
	if r.Limits.CPUs > 0 {
		if err := chooseCPUs(r.Limits.CPUs); err != nil {
			return "choose processors", err
		}
	}
	for _, l := range r.Limits.ofProcesses() {
		limit := lowered(l.resource, l.max)
		if err := unix.Setrlimit(l.resource, &limit); err != nil {
			return "set limit " + strconv.Itoa(l.resource), err
		}
	}
	for range textBusyTries {
		err = syscall.Exec(r.Path, r.Args, r.Env)
		if err != unix.ETXTBSY {
			break
		}
		time.Sleep(time.Millisecond) // no event tells that another process has let go of the program
	}
	return "", err
}

// resourceLimit is one of the system's.
type resourceLimit struct {
	resource int
	max      int64
}

// ofProcesses returns those limits that the system holds for each process by that name.
func (l Limits) ofProcesses() []resourceLimit {
	var out []resourceLimit
	for _, r := range []resourceLimit{{unix.RLIMIT_AS, l.MemoryBytes}, {unix.RLIMIT_NPROC, l.Processes}} {
		if r.max > 0 {
			out = append(out, r)
		}
	}
	return out
}

// lowered returns the limit to set, which is not above what this process may have.
func lowered(resource int, most int64) unix.Rlimit {
	limit := uint64(most)
	var now unix.Rlimit
	if err := unix.Getrlimit(resource, &now); err == nil {
		limit = min(limit, now.Max)
	}
	return unix.Rlimit{Cur: limit, Max: limit}
}
