//go:build !unix

package towpath

import (
	"os"
	"os/exec"
)

// closeOnExec does nothing: on this system, no handle is inherited unless it is
// passed on by name.
func closeOnExec(...int) error { return nil }

// replaceProcess runs the command to its end: this system cannot do better.
func replaceProcess(path string, args []string) error {
	cmd := exec.Command(path, args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd.Run()
}
