//go:build unix

package proc

import (
	"os"
	"runtime"
	"syscall"
)

// maxRSS returns what the kernel kept of a process and of those that it waited for. Linux tells it in KiB.
func maxRSS(s *os.ProcessState) int64 {
	usage, ok := s.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0
	}
	if runtime.GOOS == "darwin" || runtime.GOOS == "ios" {
		return int64(usage.Maxrss)
	}
	return int64(usage.Maxrss) << 10
}
