//go:build !windows

package local

import (
	"errors"
	"os"
	"runtime"
	"syscall"

	"github.com/towpath/towpath/internal/executor"
	"golang.org/x/sys/unix"
)

func isTextBusy(err error) bool { return errors.Is(err, unix.ETXTBSY) }

// isStepsFault tells whether an error of exec is due to what was to be executed, and not to the state of the machine.
func isStepsFault(err error) bool {
	return errors.Is(err, unix.ENOEXEC) || errors.Is(err, unix.E2BIG) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.EISDIR) ||
		errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENAMETOOLONG)
}

func resultOf(state *os.ProcessState) executor.Result {
	r := executor.Result{ExitCode: state.ExitCode(), UserTime: state.UserTime(), SystemTime: state.SystemTime()}
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		r.Signal = unix.SignalName(status.Signal())
		r.ExitCode = 128 + int(status.Signal())
	}
	if usage, ok := state.SysUsage().(*syscall.Rusage); ok {
		r.MaxRSSBytes = int64(usage.Maxrss) //nolint:unconvert // it is narrower on other systems
		if runtime.GOOS != "darwin" {
			r.MaxRSSBytes *= 1024 // all others count kilobytes
		}
	}
	return r
}
