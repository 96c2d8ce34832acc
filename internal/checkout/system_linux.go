package checkout

import (
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
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

// openQuietly opens the folder at path such that reading it leaves its access time alone, where that is allowed.
func openQuietly(path string) (*os.File, error) {
	if f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOATIME, 0); err == nil {
		return f, nil
	}
	return os.Open(path)
}
