//go:build !windows

package local

import (
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// controlTerminal makes the standard input of a command the terminal that controls it.
func controlTerminal(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
}

// wireTerminal gives a shell a terminal of its own, which shows what in and out, a person's terminal, are given. That terminal is left
// as it was found.
func wireTerminal(in, out *os.File) (*wires, error) {
	master, slave, err := pty.Open()
	if err != nil {
		return nil, err
	}
	w := &wires{stdio: [3]*os.File{slave, slave, slave}, terminal: true, close1: func() { slave.Close() }}
	_ = pty.InheritSize(in, master) // it has some size otherwise
	before, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		w.started()
		master.Close()
		return nil, err
	}
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, unix.SIGWINCH)
	go func() {
		for range resized {
			_ = pty.InheritSize(in, master)
		}
	}()
	shown := make(chan struct{})
	go func() {
		defer close(shown)
		_, _ = io.Copy(out, master) // it fails when nobody has the other end any more
	}()
	stopTyping, err := typing(in, master)
	w.undo = append(w.undo,
		func() { signal.Stop(resized); close(resized) },
		func() { <-shown },
		func() { _ = term.Restore(int(in.Fd()), before) },
		func() { master.Close() },
	)
	if err != nil {
		w.close()
		return nil, err
	}
	w.undo = append([]func(){stopTyping}, w.undo...)
	return w, nil
}

// typing passes on what is typed, until the function that it returns is called: what is typed then is for somebody else.
func typing(in, master *os.File) (stop func(), err error) {
	r, wake, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		buf := make([]byte, 4096)
		for {
			fds := []unix.PollFd{{Fd: int32(in.Fd()), Events: unix.POLLIN}, {Fd: int32(r.Fd()), Events: unix.POLLIN}}
			if _, err := unix.Poll(fds, -1); err == unix.EINTR {
				continue
			}
			if fds[1].Revents != 0 || fds[0].Revents == 0 {
				return
			}
			n, err := in.Read(buf)
			if err != nil {
				return
			}
			if _, err := master.Write(buf[:n]); err != nil {
				return
			}
		}
	}()
	return func() {
		wake.Close()
		<-ended
		r.Close()
	}, nil
}
