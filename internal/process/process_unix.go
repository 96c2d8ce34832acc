//go:build !windows

package process

import (
	"os"

	"golang.org/x/sys/unix"
)

// An error says that the group is gone already.

func terminate(p *os.Process) { _ = unix.Kill(-p.Pid, unix.SIGTERM) }

func kill(p *os.Process) { _ = unix.Kill(-p.Pid, unix.SIGKILL) }
