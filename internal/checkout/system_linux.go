package checkout

import (
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"
)

// bootID names this start of the machine.
func bootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b)), err
}

// accessed returns the access time of a file.
func accessed(info fs.FileInfo) time.Time {
	return time.Unix(info.Sys().(*syscall.Stat_t).Atim.Unix())
}
