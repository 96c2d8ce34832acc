//go:build linux && (amd64 || arm64)

package sandbox

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

const (
	// messageMax is the most that a message holds by itself. What is longer is in a file that goes with it.
	messageMax = 32 << 10
	// filesMax is how many files can go with a message.
	filesMax = 16
)

// request is what the program asks the helper for.
type request struct {
	// ID is that of the command; Signal is sent to it, or where that is 0 it is to be started.
	ID     uint64
	Signal int `json:",omitempty"`
	// Spec is what to start. The files of the message are the standard ones, and then the lists of processes of control groups.
	Spec *Spec `json:",omitempty"`
	// Check makes the sandbox and runs nothing in it.
	Check bool `json:",omitempty"`
}

// reply tells how a command ended. A file that goes with it is the workspace.
type reply struct {
	ID      uint64
	Failure *failure `json:",omitempty"`
	Status  uint32
	// Times in nanoseconds.
	Duration, User, System int64
	MaxRSS                 int64
}

// failure is why nothing was run.
type failure struct {
	Kind  string // "setup", "cwd", "exec"
	Op    string
	Errno int
	Text  string // where there is no number
}

// socket takes and gives whole messages with open files.
type socket struct {
	*net.UnixConn
}

func newSocket(f *os.File) (*socket, error) {
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, fmt.Errorf("%s is not a socket of this machine", f.Name())
	}
	return &socket{u}, nil
}

// send sends m, which fits into JSON, with files.
func (s *socket) send(m any, fds ...int) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if len(b) > messageMax {
		f, err := longMessage(b)
		if err != nil {
			return err
		}
		defer f.Close()
		b, fds = nil, append(fds, int(f.Fd()))
	}
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	if len(b) == 0 {
		b = []byte{'F'}
	}
	_, _, err = s.WriteMsgUnix(b, rights, nil)
	return err
}

func longMessage(b []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("message", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a file in memory: %w", err)
	}
	f := os.NewFile(uintptr(fd), "message")
	if _, err := f.WriteAt(b, 0); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// receive waits for a message and reads it into m. The error is io.EOF when the other end is closed.
func (s *socket) receive(buf []byte, m any) (fds []int, err error) {
	oob := make([]byte, unix.CmsgSpace(4*filesMax))
	n, oobn, flags, _, err := s.ReadMsgUnix(buf, oob)
	if err != nil {
		return nil, err
	}
	if oobn > 0 {
		if fds, err = rights(oob[:oobn]); err != nil {
			return fds, err
		}
	}
	if flags&unix.MSG_CTRUNC != 0 {
		return fds, fmt.Errorf("take the files of a message: %w", unix.EMFILE)
	}
	b := buf[:n]
	if n == 0 {
		return nil, io.EOF
	}
	if n == 1 && len(fds) > 0 {
		last := os.NewFile(uintptr(fds[len(fds)-1]), "message")
		fds = fds[:len(fds)-1]
		b, err = io.ReadAll(io.NewSectionReader(last, 0, 1<<40))
		last.Close()
		if err != nil {
			return fds, err
		}
	}
	return fds, json.Unmarshal(b, m)
}

func rights(oob []byte) ([]int, error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	var fds []int
	for _, m := range messages {
		some, err := unix.ParseUnixRights(&m)
		if err != nil {
			return fds, err
		}
		fds = append(fds, some...)
	}
	return fds, nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}
