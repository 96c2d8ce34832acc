package escapetest

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// mountsOf makes one mount after another, and succeeds where one of them does and what it was for works.
func mounts(tries ...func() error) func([]string) error {
	return func([]string) error {
		var errs []error
		for _, try := range tries {
			err := try()
			if err == nil {
				return nil
			}
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	}
}

func mountOf(kind, at string, flags uintptr, options string) func() error {
	return func() error {
		if err := os.MkdirAll(at, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(kind, at, kind, flags, options); err != nil {
			return fmt.Errorf("mount %s: %w", kind, err)
		}
		return nil
	}
}

func unmount(path string) func() error {
	return func() error { return unix.Unmount(path, unix.MNT_DETACH) }
}

func remount(path string) func() error {
	return func() error {
		if err := unix.Mount("", path, "", unix.MS_REMOUNT|unix.MS_BIND, ""); err != nil {
			return err
		}
		f, err := os.CreateTemp(path, "tow-test-")
		if err != nil {
			return err
		}
		return f.Close()
	}
}

func setAttr(path string) func() error {
	return func() error {
		return unix.MountSetattr(unix.AT_FDCWD, path, unix.AT_RECURSIVE, &unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV})
	}
}

// bare shows a folder without what is mounted in it.
func bare(path string) func() error {
	return func() error {
		if err := os.MkdirAll("/tmp/bare", 0o755); err != nil {
			return err
		}
		if err := unix.Mount(path, "/tmp/bare", "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("bind %s: %w", path, err)
		}
		return nil
	}
}

func bareTree(path string) func() error {
	return func() error {
		_, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE)
		return err
	}
}

// pivoted makes an empty folder the root, lets go of the old one, and looks for the machine behind it.
func pivoted([]string) error {
	if err := mountOf("tmpfs", "/tmp/root", 0, "")(); err != nil {
		return err
	}
	if err := errors.Join(os.Mkdir("/tmp/root/old", 0o755), unix.PivotRoot("/tmp/root", "/tmp/root/old"), os.Chdir("/")); err != nil {
		return err
	}
	if err := unix.Unmount("/old", unix.MNT_DETACH); err != nil {
		return err
	}
	return read([]string{"/etc/shadow", "/old/etc/shadow", "/proc", "/usr", "/old/usr", "/../usr"})
}

// unrooted leaves the root by the way of a folder that was open before.
func unrooted([]string) error {
	if err := errors.Join(os.Mkdir("/tmp/jail", 0o755), unix.Chroot("/tmp/jail")); err != nil {
		return err
	}
	for range 64 {
		if err := os.Chdir(".."); err != nil {
			return err
		}
	}
	if err := unix.Chroot("."); err != nil {
		return err
	}
	if _, err := os.Stat("/usr/bin"); err != nil {
		return nil //nolint:nilerr // it has not come back to where it was, which it should
	}
	return read([]string{"/etc/shadow", "/var", "/sys", "/root"})
}

// namespaces are attempts with mounts, roots and namespaces, also of a step that makes namespaces of its own and is the superuser there.
func namespaces() []attempt {
	const ns, denied = unix.CLONE_NEWNS, "not permitted|[Pp]ermission denied|[Ii]nvalid argument"
	plain := []attempt{
		{name: "mount something", probe: mounts(
			mountOf("tmpfs", "/tmp/a", 0, ""), mountOf("proc", "/tmp/b", 0, ""), bare("/usr"), mountOf("overlay", "/tmp/c", 0, "lowerdir=/usr,upperdir=/tmp/a,workdir=/tmp/b"),
		), says: denied},
		{name: "remount the toolchain", probe: mounts(remount("/usr"), remount("/"), remount("/dev"), setAttr("/usr"), setAttr("/")), says: denied},
		{name: "unmount what hides something", probe: mounts(unmount("/proc"), unmount("/usr"), unmount("/dev"), unmount("/workspace"), unmount("/")), says: denied},
		{name: "change the root", probe: func([]string) error {
			return mounts(func() error { return unix.Chroot("/tmp") }, func() error { return unix.PivotRoot("/tmp", "/tmp") })(nil)
		}, says: denied},
		{name: "open a detached tree", probe: mounts(bareTree("/"), bareTree("/usr"), func() error { _, err := unix.Fsopen("tmpfs", 0); return err }), says: denied},
		{name: "enter namespaces of the first process", probe: mounts(enter("mnt"), enter("user"), enter("pid"), enter("net"), enter("ipc"), enter("uts")), says: denied},
		{name: "make namespaces without a user namespace", probe: mounts(
			func() error { return unix.Unshare(unix.CLONE_NEWNS) }, func() error { return unix.Unshare(unix.CLONE_NEWNET) }, func() error { return unix.Unshare(unix.CLONE_NEWPID) },
		), says: denied},
		{name: "write the numbers of users anew", probe: func([]string) error {
			return os.WriteFile("/proc/self/uid_map", []byte("0 0 65536\n"), 0)
		}, says: denied},
	}
	nested := []attempt{
		{name: "remount the toolchain as a nested superuser", probe: mounts(remount("/usr"), remount("/"), remount("/dev"), remount("/bin"), setAttr("/usr"), setAttr("/")), says: denied},
		{name: "unmount what hides something as a nested superuser", probe: mounts(
			unmount("/proc"), unmount("/usr"), unmount("/dev"), unmount("/dev/shm"), unmount("/workspace"), unmount("/tmp"), unmount("/home/step"), unmount("/dev/null"),
		), says: denied},
		{name: "look under mounts as a nested superuser", probe: mounts(bare("/"), bare("/dev"), bareTree("/"), bareTree("/dev")), says: denied},
		{name: "mount the processes of the machine as a nested superuser", probe: mounts(mountOf("proc", "/tmp/p", 0, "")), says: denied},
		{name: "mount what the system tells as a nested superuser", probe: mounts(
			mountOf("sysfs", "/tmp/s", 0, ""), mountOf("cgroup2", "/tmp/c", 0, ""), mountOf("debugfs", "/tmp/d", 0, ""), mountOf("securityfs", "/tmp/e", 0, ""),
			mountOf("tracefs", "/tmp/t", 0, ""), mountOf("devtmpfs", "/tmp/v", 0, ""),
		), says: denied + "|no such device"},
		{name: "make a device as a nested superuser", probe: mounts(func() error {
			if err := mountOf("tmpfs", "/tmp/dev", 0, "")(); err != nil {
				return err
			}
			return unix.Mknod("/tmp/dev/mem", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 1)))
		}), says: denied},
		{name: "change the root as a nested superuser", probe: pivoted, says: absent},
		{name: "leave a root as a nested superuser", probe: unrooted, says: absent},
		{name: "write over the toolchain as a nested superuser", probe: func([]string) error {
			if err := mountOf("tmpfs", "/usr/lib", 0, "")(); err != nil {
				return err
			}
			return os.WriteFile("/usr/lib/tow-test", []byte("only here"), 0o644)
		}, outside: toolchainIsIntact},
		{name: "write over the toolchain by an overlay as a nested superuser", probe: func([]string) error {
			if err := mountOf("tmpfs", "/tmp/o", 0, "")(); err != nil {
				return err
			}
			if err := errors.Join(os.Mkdir("/tmp/o/upper", 0o755), os.Mkdir("/tmp/o/work", 0o755)); err != nil {
				return err
			}
			if err := unix.Mount("overlay", "/usr/lib", "overlay", 0, "userxattr,lowerdir=/usr/lib,upperdir=/tmp/o/upper,workdir=/tmp/o/work"); err != nil {
				return err
			}
			return os.WriteFile("/usr/lib/tow-test", []byte("only here"), 0o644)
		}, outside: toolchainIsIntact},
		{name: "mount in the workspace as a nested superuser", probe: func([]string) error {
			if err := mountOf("tmpfs", "/workspace/in", 0, "")(); err != nil {
				return err
			}
			return os.WriteFile("/workspace/in/data", []byte("only here"), 0o644)
		}, outputs: []string{"in/data"}, outside: func(t *testing.T, m *machine, o outcome) {
			if len(o.Entries) != 1 || m.content(t, o.Entries[0]) != "original" {
				t.Errorf("captured was %v", o.Entries)
			}
		}},
		{name: "enter namespaces of the first process as a nested superuser", probe: mounts(enter("mnt"), enter("user"), enter("pid"), enter("net")), says: denied},
		{name: "find other processes in a nested namespace", nested: unix.CLONE_NEWPID, probe: func([]string) error {
			if err := mountOf("proc", "/tmp/p", 0, "")(); err != nil {
				return err
			}
			found, err := os.ReadDir("/tmp/p")
			for _, f := range found {
				if name := f.Name(); strings.Trim(name, "0123456789") == "" && name != "1" {
					return nil
				}
			}
			return errors.Join(err, errors.New("there are none"))
		}, says: "there are none"},
		{name: "keep processes in nested namespaces", nested: unix.CLONE_NEWPID, probe: func([]string) error {
			p, err := os.StartProcess("/usr/bin/sleep", []string{"sleep", "1000000"}, &os.ProcAttr{Env: os.Environ()})
			if err != nil {
				return err
			}
			return p.Release()
		}},
	}
	for i := range nested {
		nested[i].nested |= ns
	}
	return append(plain, nested...)
}

func enter(name string) func() error {
	return func() error {
		fd, err := unix.Open("/proc/1/ns/"+name, unix.O_RDONLY, 0)
		if err != nil {
			return err
		}
		return unix.Setns(fd, 0)
	}
}

func toolchainIsIntact(t *testing.T, m *machine, _ outcome) {
	for _, path := range []string{"/usr/lib/tow-test"} {
		if _, err := os.Lstat(path); err == nil {
			t.Errorf("%s is there", path)
		}
	}
	m.shell(t, m.inputs, "! test -e /usr/lib/tow-test && test -e /usr/bin/env")
}
