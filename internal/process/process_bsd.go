//go:build !windows && !linux

package process

import (
	"os"
	"os/exec"
	"syscall"
)

func prepare(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// awaitEnd cannot wait without reaping here.
func awaitEnd(*os.Process) bool { return false }
