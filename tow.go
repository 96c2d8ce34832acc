package towpath

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// runTow replaces the process with `tow` on the program in a folder. Where that
// is not possible, it says why and returns the exit code.
func runTow(program string) int {
	err := errors.New("this program does not know where its source is, since it was built with -trimpath; run tow --file instead")
	if filepath.IsAbs(program) {
		err = execTow(program)
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "towpath: %v\n", err)
		return exitViolation
	}
	return 0
}

func execTow(program string) error {
	tow := os.Getenv("TOW")
	if tow == "" {
		var err error
		if tow, err = exec.LookPath("tow"); err != nil {
			return fmt.Errorf("a pipeline is run by tow, which was not found: %w; install it, or set TOW to its path", err)
		}
	}
	args := append([]string{tow, "--file", program}, os.Args[1:]...)
	if len(os.Args) == 1 {
		args = append(args, "run")
	}
	return replaceProcess(tow, args)
}
