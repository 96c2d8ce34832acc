package session

import (
	"os/exec"
	"syscall"
)

// ownGroup makes the process the head of its own group, so that all that it starts can be ended, and has it die with tow.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

func killGroup(cmd *exec.Cmd) {
	// An error says that the group is gone already.
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
}
