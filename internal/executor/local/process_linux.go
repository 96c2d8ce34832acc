package local

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// canFindProcesses tells whether killMarked does anything.
const canFindProcesses = true

const (
	// killRounds bounds how often the processes are gone through, as long as some are found: they may have started others
	// meanwhile.
	killRounds = 16
	// killWait is how long a killed process gets to be gone. Only one that hangs in the kernel needs more than a moment.
	killWait = time.Second
)

// killMarked kills every process whose environment has the variable marker, given as NAME=VALUE or the beginning of that.
// Only processes that are younger than the process first are looked at, which mostly there are none of; 0 looks at all of
// them.
func killMarked(first int, marker string) {
	for range killRounds {
		switch last := lastPid(); {
		case last == first:
			return
		case last < first:
			first = 0 // the numbers have begun anew, or cannot be seen
		}
		found := false
		for _, pid := range pids() {
			if pid > first && pid != os.Getpid() && isMarked(pid, marker) && killIfMarked(pid, marker) {
				found = true
			}
		}
		if !found {
			return
		}
	}
}

func pids() []int {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	var pids []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// lastPid returns the number of the process that was started last, as far as it can be seen.
func lastPid() int {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	b = bytes.TrimSpace(b)
	pid, _ := strconv.Atoi(string(b[bytes.LastIndexByte(b, ' ')+1:]))
	return pid
}

// isMarked reads the environment that a process was started with. That of another user's process, or of one that is gone,
// cannot be read.
func isMarked(pid int, marker string) bool {
	env, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "environ"))
	if err != nil {
		return false
	}
	return bytes.HasPrefix(env, []byte(marker)) || bytes.Contains(env, []byte("\x00"+marker))
}

// killIfMarked kills the process through a descriptor of it, so that no other process is hit that has got its number
// meanwhile, and waits for it to be gone.
func killIfMarked(pid int, marker string) bool {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	if !isMarked(pid, marker) || unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) != nil {
		return false
	}
	_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(killWait.Milliseconds()))
	return true
}
