//go:build linux && (amd64 || arm64)

package sandbox

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// actsAsRoot tells whether the program is root's, and can have commands run by Nobody. Root of a container that knows of no other user is like an
// ordinary user.
func actsAsRoot() bool {
	return os.Geteuid() == 0 && outside("/proc/self/uid_map", Nobody) >= 0 && outside("/proc/self/gid_map", Nobody) >= 0
}

// isMachinesRoot tells whether commands that run as the program's own user would own the files of the machine.
func isMachinesRoot() bool {
	return !actsAsRoot() && outside("/proc/self/uid_map", os.Geteuid()) == 0
}

var errRootAlone = errors.New("user 65534 is not there")

func rootAlone() error {
	return &RefusedError{
		Why:    "tow is the machine's root in a user namespace that has no other users, and steps must not be",
		Remedy: "run tow as an ordinary user, or map user and group 65534 into the namespace", Err: errRootAlone,
	}
}

// outside returns who the user or group id is in the namespace around that of this process, by the list in the file; -1 is nobody.
func outside(file string, id int) int64 {
	content, err := os.ReadFile(file)
	if err != nil {
		return int64(id) // a system without user namespaces
	}
	for line := range strings.Lines(string(content)) {
		var first, there, n int64
		if _, err := fmt.Sscan(line, &first, &there, &n); err == nil && int64(id) >= first && int64(id) < first+n {
			return there + int64(id) - first
		}
	}
	return -1
}
