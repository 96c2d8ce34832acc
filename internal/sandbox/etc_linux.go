//go:build linux && (amd64 || arm64)

package sandbox

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

func itoa(n int) string { return strconv.Itoa(n) }

// hostFiles are what is taken from the machine's /etc. They are looked up while its root is the root, where links lead to the right places.
type hostFiles struct {
	folders map[string]string // where they are
	files   map[string][]byte
	resolv  []byte
}

// readHost finds those files of the machine that its programs need. What is secret there cannot be read by a command, whose user is
// nobody special.
func readHost() hostFiles {
	h := hostFiles{folders: map[string]string{}, files: map[string][]byte{}}
	for _, name := range []string{"ssl", "ca-certificates", "pki", "crypto-policies", "alternatives", "ld.so.conf.d"} {
		if path, err := filepath.EvalSymlinks("/etc/" + name); err == nil {
			h.folders[name] = path
		}
	}
	for _, name := range []string{"ld.so.cache", "ld.so.conf", "mime.types", "services", "protocols"} {
		if content, err := os.ReadFile("/etc/" + name); err == nil {
			h.files[name] = content
		}
	}
	h.resolv, _ = os.ReadFile("/etc/resolv.conf") // not every machine has a network
	return h
}

func (h hostFiles) write() error {
	if err := os.MkdirAll("/etc", 0o755); err != nil {
		return err
	}
	for name, path := range h.folders {
		if err := bind(oldRoot+path, "/etc/"+name, private|unix.MOUNT_ATTR_RDONLY); err != nil {
			return err
		}
	}
	for name, content := range h.files {
		if err := replaceFile("/etc/"+name, content); err != nil {
			return err
		}
	}
	return nil
}

// replaceFile makes a file, in the place of whatever is there: a link of an image could lead anywhere.
func replaceFile(path string, content []byte) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o644)
}

// writeEtc makes the files of /etc that say who and where a command is. An image keeps its users, beside whom a command's is added.
func writeEtc(h hostFiles, network, all bool) error {
	files := map[string]string{
		"hostname": Hostname + "\n",
		"hosts":    "127.0.0.1 localhost " + Hostname + "\n::1 localhost\n",
	}
	user := "step:x:1000:1000:step:" + Home + ":/bin/sh\n"
	group := "step:x:1000:\n"
	if all {
		files["nsswitch.conf"] = "passwd: files\ngroup: files\nhosts: files dns\n"
		files["passwd"] = "root:x:0:0:root:/root:/bin/sh\n" + user + "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
		files["group"] = "root:x:0:\ntty:x:5:\n" + group + "nogroup:x:65534:\n"
	} else {
		files["passwd"], files["group"] = user+there("/etc/passwd"), group+there("/etc/group")
	}
	files["resolv.conf"] = ""
	if network {
		files["resolv.conf"] = string(h.resolv)
	}
	for name, content := range files {
		if err := replaceFile("/etc/"+name, []byte(content)); err != nil {
			return err
		}
	}
	return nil
}

// there returns what a file holds, if anything.
func there(path string) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return string(content)
}
