package local

import (
	"errors"
	"os"

	"github.com/towpath/towpath/internal/executor"
	"golang.org/x/sys/windows"
)

// canFindProcesses tells whether killMarked does anything.
const canFindProcesses = false

func killMarked(int, string) {}

func isTextBusy(error) bool { return false }

func isStepsFault(err error) bool { return errors.Is(err, windows.ERROR_BAD_EXE_FORMAT) }

func resultOf(state *os.ProcessState) executor.Result {
	return executor.Result{ExitCode: state.ExitCode(), UserTime: state.UserTime(), SystemTime: state.SystemTime()}
}
