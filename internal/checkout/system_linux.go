package checkout

import (
	"crypto/rand"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// bootFile holds the name of this start of the machine.
const bootFile = "/proc/sys/kernel/random/boot_id"

// bootID returns what the file path says of this start of the machine. Where it says nothing the name is that of this process: no other trusts what it made.
func bootID(path string) string {
	b, err := os.ReadFile(path)
	if id := strings.TrimSpace(string(b)); err == nil && id != "" {
		return id
	}
	return rand.Text()
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
