//go:build linux && (amd64 || arm64)

package sandbox

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

func itoa(n int) string { return strconv.Itoa(n) }

// hostFiles are what is taken from the machine's /etc. They are looked up while its root is the root, where links lead to the right places.
type hostFiles struct {
	folders []tool
	files   map[string][]byte
	resolv  []byte
}

// readHost finds those files of the machine that its programs need, unless there are none of its programs. What is secret there cannot be read by
// a command, whose user is nobody special.
func readHost(programs bool) (hostFiles, error) {
	h := hostFiles{files: map[string][]byte{}}
	h.resolv, _ = os.ReadFile("/etc/resolv.conf") // not every machine has a network
	if !programs {
		return h, nil
	}
	for _, name := range []string{"ld.so.cache", "ld.so.conf", "mime.types", "services", "protocols"} {
		if content, err := os.ReadFile("/etc/" + name); err == nil {
			h.files[name] = content
		}
	}
	for _, name := range []string{"ssl", "ca-certificates", "pki", "crypto-policies", "alternatives", "ld.so.conf.d"} {
		path := "/etc/" + name
		info, err := os.Stat(path)
		if err != nil {
			continue
		}
		fd, err := bindOf(path, private|unix.MOUNT_ATTR_RDONLY)
		if err != nil {
			return h, err
		}
		h.folders = append(h.folders, tool{path: path, dir: info.IsDir(), fd: fd})
	}
	return h, nil
}

// writeEtc shows what is the machine's, and makes the files of /etc that say who and where a command is. An image keeps its users, beside whom a
// command's is added.
func writeEtc(r root, h hostFiles, network, all bool) error {
	for _, t := range h.folders {
		if err := r.show(t); err != nil {
			return err
		}
	}
	for name, content := range h.files {
		if err := r.replace("/etc/"+name, content); err != nil {
			return err
		}
	}
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
		files["passwd"], files["group"] = user+r.read("/etc/passwd"), group+r.read("/etc/group")
	}
	files["resolv.conf"] = ""
	if network {
		files["resolv.conf"] = string(h.resolv)
	}
	for name, content := range files {
		if err := r.replace("/etc/"+name, []byte(content)); err != nil {
			return err
		}
	}
	return nil
}
