package local

import (
	"os"
	"os/exec"
)

// controlTerminal does nothing where commands have none.
func controlTerminal(*exec.Cmd) {}

// wireTerminal gives the shell the terminal itself.
func wireTerminal(in, out *os.File) (*wires, error) {
	return &wires{stdio: [3]*os.File{in, out, out}}, nil
}
