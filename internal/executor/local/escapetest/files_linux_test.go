package escapetest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const absent = "[Nn]o such file"

// read succeeds where one of the paths is there.
func read(paths []string) error {
	if len(paths) == 0 {
		return fmt.Errorf("nothing was asked for")
	}
	var said []string
	for _, path := range paths {
		if _, err := os.Lstat(path); err == nil {
			return nil
		} else if !os.IsNotExist(err) {
			return fmt.Errorf("%s is there: %w", path, err)
		}
		_, err := os.ReadFile(path)
		said = append(said, fmt.Sprint(err))
	}
	return fmt.Errorf("%s", strings.Join(said, "; "))
}

func paths(paths ...string) func(*machine) []string {
	return func(*machine) []string { return paths }
}

// reads are attempts to read what was not declared.
func reads() []attempt {
	all := []attempt{
		{name: "read the home directory", args: func(m *machine) []string { return []string{m.home, filepath.Dir(m.home) + "/.profile"} }},
		{name: "read a file beside the work tree", args: func(m *machine) []string { return []string{m.beside} }},
		{name: "read the passwords", args: paths("/etc/shadow", "/etc/gshadow", "/etc/sudoers")},
		{name: "read the home of root", args: paths("/root", "/root/.ssh")},
		{name: "read /var", args: paths("/var", "/var/lib", "/var/log")},
		{name: "read /run", args: paths("/run", "/run/docker.sock", "/var/run/docker.sock", "/run/containerd/containerd.sock")},
		{name: "read /sys", args: paths("/sys", "/sys/fs/cgroup", "/sys/kernel/debug")},
		{name: "read the configuration of the machine", args: paths("/etc/machine-id", "/etc/fstab", "/etc/ssh", "/boot", "/opt", "/srv", "/mnt", "/media")},
		{name: "read another step's workspace", args: func(m *machine) []string { return []string{m.workspace + "/work/neighbour"} }},
		{name: "read another step's /tmp", args: func(m *machine) []string { return []string{m.workspace + "/tmp/neighbour", "/tmp/neighbour"} }},
		{name: "read another step's home", args: func(m *machine) []string { return []string{m.workspace + "/home/neighbour", "/home/step/neighbour"} }},
		{name: "read another step's shared memory", args: paths("/dev/shm/neighbour")},
		{name: "read the store", args: func(m *machine) []string { return []string{m.blob, filepath.Join(m.cache, "cas")} }},
		{name: "read the checkouts", args: func(m *machine) []string { return []string{filepath.Join(m.cache, "checkouts")} }},
		{name: "read the cache folder", args: func(m *machine) []string { return []string{m.cache, filepath.Join(m.cache, "work")} }},
		{name: "read the shared memory of the machine", args: func(m *machine) []string { return []string{m.shared} }},
		{name: "open a disk or the memory", args: paths("/dev/sda", "/dev/vda", "/dev/nvme0n1", "/dev/mem", "/dev/kmem", "/dev/port", "/dev/kmsg")},
		{name: "open the devices of the machine", args: paths("/dev/fuse", "/dev/kvm", "/dev/net/tun", "/dev/console", "/dev/tty0", "/dev/loop-control", "/dev/vsock", "/dev/mapper/control")},
		{name: "read the old root", args: paths("/.tow-machine", "/oldroot", "/.old")},
	}
	for i := range all {
		all[i].probe, all[i].says = read, absent
	}
	handle := func(m *machine) []string {
		h, _, err := unix.NameToHandleAt(unix.AT_FDCWD, m.beside, 0)
		if err != nil {
			return []string{"0", ""}
		}
		return []string{fmt.Sprint(h.Type()), fmt.Sprintf("%x", h.Bytes())}
	}
	return append(all,
		attempt{name: "open a file by its handle", probe: openHandle, args: handle, says: "not permitted"},
		attempt{name: "open a file by its handle as a nested superuser", probe: openHandle, args: handle, nested: unix.CLONE_NEWNS, says: "not permitted|stale"},
		attempt{name: "go up from the workspace", probe: func([]string) error { return read([]string{"/workspace/../../../etc/shadow", "../../../../root"}) }, says: absent},
		attempt{name: "follow a link out of the workspace", sh: `ln -s /etc/shadow l; ln -s ../../../root k; cat l k/.profile`, says: absent},
	)
}

// openHandle opens a file of the machine through a folder that is on the same file system.
func openHandle(args []string) error {
	var kind int32
	var b []byte
	if _, err := fmt.Sscan(args[0], &kind); err != nil {
		return err
	}
	if _, err := fmt.Sscanf(args[1], "%x", &b); err != nil {
		return err
	}
	dir, err := unix.Open("/tmp", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	fd, err := unix.OpenByHandleAt(dir, unix.NewFileHandle(kind, b), unix.O_RDONLY)
	if err != nil {
		return fmt.Errorf("open a handle: %w", err)
	}
	return unix.Close(fd)
}

// inputWrites change inputs where they are, which the step may do for itself. The store and what the next step gets are looked at after each.
func inputWrites() []attempt {
	all := []attempt{
		{name: "write to an input", sh: `echo changed >in/data; cat in/data`},
		{name: "append to an input", sh: `echo changed >>in/data`},
		{name: "remove inputs", sh: `rm -r in; ! test -e in`},
		{name: "change the mode of inputs", sh: `chmod 777 in/data in; chmod 0 in/sub`},
		{name: "truncate an input", sh: `truncate -s 0 in/data`},
		{name: "change the times of inputs", sh: `touch -d 2001-01-01 in/data in`},
		{name: "rename inputs", sh: `mv in/data in/other; mv in there`},
		{name: "write to an input through a hard link", sh: `ln in/data link; echo changed >link; cat in/data`},
		{name: "write to an input that is mapped", probe: writeMapped},
		{name: "write to an input that was opened before", sh: `exec 3<in/data 4<>in/data; rm in/data; echo changed >&4; cat <&3`},
		{name: "mark inputs with attributes", probe: func([]string) error {
			_ = unix.Setxattr("in/data", "user.mark", []byte("x"), 0) // whether that may be done is the file system's affair
			return nil
		}},
		{name: "link an input into the home", sh: `ln in/data "$HOME/data"`, says: "cross-device"},
	}
	for i := range all {
		all[i].outside = func(t *testing.T, m *machine, _ outcome) { m.inputsAreIntact(t) }
	}
	return all
}

func writeMapped([]string) error {
	f, err := os.OpenFile("in/data", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	b, err := unix.Mmap(int(f.Fd()), 0, len("original"), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	copy(b, "changed!")
	return unix.Msync(b, unix.MS_SYNC)
}

const unchangeable = "[Rr]ead-only file system|[Pp]ermission denied|not permitted"

// toolchainWrites are attempts to change what all steps share.
func toolchainWrites() []attempt {
	return []attempt{
		{name: "write into the toolchain", sh: `touch /usr/bin/tow-test || touch /usr/lib/tow-test || touch /bin/tow-test || touch /lib/tow-test`, says: unchangeable},
		{name: "remove from the toolchain", sh: `rm -f /usr/bin/env`, says: unchangeable},
		{name: "change the mode of a program", sh: `chmod 777 /usr/bin/env || touch /usr/bin/env`, says: unchangeable},
		{name: "link a program out", sh: `ln /usr/bin/su out`, says: "cross-device|not permitted"},
		{name: "write into the installation of a tool", tool: true, args: func(m *machine) []string { return []string{filepath.Dir(filepath.Dir(m.tool))} },
			sh: `touch "$1/f" || touch "$1/lib/f" || chmod 777 "$1/bin" || rm "$1/bin/tool"`, says: unchangeable},
		{name: "see a tool that was not declared", probe: read, args: func(m *machine) []string { return []string{m.tool, filepath.Dir(m.tool)} }, says: absent},
		{name: "see what is beside a tool", tool: true, probe: read, says: absent, args: func(m *machine) []string {
			return []string{filepath.Join(filepath.Dir(m.tool), "../..", filepath.Base(m.shared)), "/var/lib", "/var/log"}
		}},
		{name: "find a mount of the machine that can be written to", tool: true, probe: findWritable, says: "there is none"},
		{name: "write into /etc", sh: `touch /etc/tow-test || echo x >>/etc/passwd || rm /etc/hosts`, says: unchangeable},
		{name: "write into the root", sh: `touch /tow-test || mkdir /run || mkdir /home/other`, says: unchangeable},
		{name: "write into /dev", sh: `touch /dev/tow-test || rm /dev/null || ln -sf /tmp /dev/fd`, says: unchangeable},
		{name: "change the mode of a device", sh: `chmod 600 /dev/null || chmod 600 /dev/zero`, says: unchangeable},
		{name: "change the times of a device", sh: `touch -d 2001-01-01 /dev/null || touch /dev/null || touch /dev/zero`, says: unchangeable},
		{name: "change the times of the standard input", probe: func([]string) error {
			now := []unix.Timespec{{Sec: 1}, {Sec: 1}}
			if err := unix.UtimesNanoAt(unix.AT_FDCWD, "/proc/self/fd/0", now, 0); err == nil {
				return nil
			}
			return unix.UtimesNanoAt(unix.AT_FDCWD, "/proc/self/fd/0", nil, 0)
		}, says: unchangeable},
		{name: "go out through the standard input", probe: func([]string) error {
			return read([]string{"/proc/self/fd/0/../shm", "/proc/self/cwd/../root"})
		}, says: "not a directory|" + absent},
		{name: "make a device", sh: `mknod null c 1 3 || mknod mem c 1 1 || mknod disk b 253 0`, says: "not permitted"},
		{name: "use a device that is a whiteout", sh: `mknod gone c 0 0 && cat gone`, says: "not permitted"},
	}
}

// findWritable looks for a mount that is not the step's own and can be written to, or honours set-user-ID bits.
func findWritable([]string) error {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(b)) {
		fields := strings.Fields(line)
		at, flags := fields[4], ","+fields[5]+","
		if !strings.Contains(flags, ",nosuid,") {
			return nil
		}
		switch at {
		case "/workspace", "/home/step", "/tmp", "/dev/shm", "/dev/pts", "/proc":
			continue
		}
		if !strings.Contains(flags, ",ro,") {
			return nil
		}
	}
	return fmt.Errorf("there is none")
}

// leftovers are attempts to leave something to the next step, or to find something of the one before.
func leftovers() []attempt {
	const unmarkedName = "find attributes of the step before"
	mark := func(name string) func([]string) error {
		return func([]string) error {
			for _, dir := range []string{"/home/step", "/tmp", "/workspace"} {
				_ = unix.Setxattr(dir, name, []byte("x"), 0) // whether that may be done is the file system's affair
			}
			return nil
		}
	}
	unmarked := func(t *testing.T, m *machine, _ outcome) {
		if o := m.make(t, attempt{name: unmarkedName}); o.err != nil || o.ExitCode != 0 {
			t.Errorf("the next step: %v %s", o.err, o.printed)
		}
	}
	clean := func(t *testing.T, m *machine, _ outcome) {
		if got := m.shell(t, m.inputs, `ls -A "$HOME"; ls -A /tmp; ls -A /dev/shm; ls -A; stat -c %a "$HOME" /tmp .`); got != "in\nprobe\n755\n755\n755\n" {
			t.Errorf("the next step finds %q", got)
		}
	}
	return []attempt{
		{name: "leave files to the next step", sh: `touch "$HOME/a" /tmp/b /dev/shm/c d; mkdir -p "$HOME/x/y"; chmod 0 "$HOME/x/y" "$HOME/x"`, outside: clean},
		{name: "leave permissions to the next step", sh: `chmod 777 "$HOME" /tmp . || true`, outside: clean},
		{name: "leave attributes to the next step", probe: mark("user.tow-test"), outside: unmarked},
		{name: "leave attributes of an overlay to the next step", probe: mark("user.overlay.tow-test"), outside: unmarked},
		{name: unmarkedName, probe: func([]string) error {
			buf := make([]byte, 4096)
			for _, dir := range []string{"/home/step", "/tmp", "/workspace"} {
				if n, err := unix.Llistxattr(dir, buf); err == nil && strings.Contains(string(buf[:n]), "tow-test") {
					return fmt.Errorf("%s has %q", dir, buf[:n])
				}
			}
			return nil
		}},
		{name: "leave a daemon", sh: `(setsid sh -c 'exec >/dev/null 2>&1 </dev/null; trap "" TERM HUP; sleep 1000000 & sleep 1000000' &) ; exit 0`},
		{name: "leave a stopped daemon", sh: `(setsid sh -c 'kill -STOP $$' &) ; exit 0`},
		{name: "see variables of who runs it", probe: func([]string) error {
			for _, v := range os.Environ() {
				name, _, _ := strings.Cut(v, "=")
				switch name {
				case attemptVariable, testVariable, "PATH", "HOME", "TMPDIR", "LANG", "TZ", "SOURCE_DATE_EPOCH":
				default:
					return nil
				}
			}
			return fmt.Errorf("there are none")
		}, says: "there are none"},
		{name: "see open files of who runs it", sh: `exec ls /proc/self/fd`, outside: func(t *testing.T, _ *machine, o outcome) {
			if o.printed != "0\n1\n2\n3\n" { // the last is that of ls
				t.Errorf("open are %q", o.printed)
			}
		}},
		{name: "keep the clock", probe: func([]string) error {
			if time.Now().Year() < 2001 {
				return fmt.Errorf("the clock is another")
			}
			return nil
		}},
	}
}
