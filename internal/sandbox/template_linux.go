//go:build linux && (amd64 || arm64)

package sandbox

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// template is a mount namespace with the root of commands, but for what is a command's own.
type template struct {
	once sync.Once
	fd   int
	err  error
}

// oldRoot is where the machine's root is while a template is made.
const oldRoot = "/.tow-machine"

// template returns the template for a command, which it makes where there is none yet.
func (h *helper) template(s *Spec) (*template, error) {
	what := struct {
		Root    string
		Tools   []string
		Network bool
	}{s.Root, sharedTools(s.Tools), s.Network}
	key, err := json.Marshal(what)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	t := h.templates[string(key)]
	if t == nil {
		t = &template{fd: -1}
		h.templates[string(key)] = t
	}
	h.mu.Unlock()
	t.once.Do(func() {
		done := make(chan struct{})
		go func() {
			defer close(done)
			// The thread is in other namespaces from here on, and ends with the goroutine.
			runtime.LockOSThread()
			t.fd, t.err = makeTemplate(s)
		}()
		<-done
	})
	return t, t.err
}

func makeTemplate(s *Spec) (int, error) {
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return -1, &SetupError{"make a mount namespace", err}
	}
	host := readHost()
	tools, err := openTools(sharedTools(s.Tools))
	defer closeTools(tools)
	if err != nil {
		return -1, err
	}
	if err := enterRoot(s.Root); err != nil {
		return -1, err
	}
	if s.Root == "" {
		if err := toolchain(host); err != nil {
			return -1, wrapped("make the root", err)
		}
	}
	if err := common(s, host); err != nil {
		return -1, wrapped("make the root", err)
	}
	for _, t := range tools {
		if err := t.place(t.path); err != nil {
			return -1, wrapped("show "+t.path, err)
		}
		if err := t.attach(); err != nil {
			return -1, wrapped("show "+t.path, err)
		}
	}
	// The file system of processes is needed until a command's own is mounted over it: the system gives nobody more than he has.
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return -1, &SetupError{"mount /proc", err}
	}
	fd, err := unix.Open("/proc/thread-self/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &SetupError{"open the mount namespace", err}
	}
	if err := finish(); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// finish takes the machine's root away and makes the new one unchangeable.
func finish() error {
	if err := unix.Unmount(oldRoot, unix.MNT_DETACH); err != nil {
		return &SetupError{"part with the machine's root", err}
	}
	if err := os.Remove(oldRoot); err != nil {
		return &SetupError{"part with the machine's root", err}
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | private}
	if err := unix.MountSetattr(unix.AT_FDCWD, "/", 0, &attr); err != nil {
		return &SetupError{"make the root unchangeable", err}
	}
	return nil
}

func wrapped(op string, err error) error {
	if _, ok := errors.AsType[*SetupError](err); ok {
		return err
	}
	return &SetupError{op, err}
}

// enterRoot changes to a new root: an empty one, or what is in the folder image with room for changes. The old one is at oldRoot.
func enterRoot(image string) error {
	// It is put over a folder that is on every machine, and does not hide it in the end.
	const base = "/usr"
	var lower int
	if image != "" {
		fd, err := unix.Open(image, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return &SetupError{"open the image " + image, err}
		}
		defer unix.Close(fd)
		lower = fd
	}
	if err := unix.Mount("root", base, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755,size=64m"); err != nil {
		return &SetupError{"mount a root", err}
	}
	if image != "" {
		if err := overlayRoot(base, lower); err != nil {
			return err
		}
	}
	if err := os.Mkdir(base+oldRoot, 0o755); err != nil {
		return &SetupError{"make a root", err}
	}
	if err := unix.PivotRoot(base, base+oldRoot); err != nil {
		return &SetupError{"change the root", err}
	}
	if err := unix.Chdir("/"); err != nil {
		return &SetupError{"enter the root", err}
	}
	return nil
}

func overlayRoot(base string, lower int) error {
	upper, work := base+"/upper", base+"/work"
	for _, dir := range []string{upper, work} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return &SetupError{"make a root", err}
		}
	}
	fd, err := overlay("/proc/self/fd/"+itoa(lower), upper, work)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := attach(fd, base); err != nil {
		return &SetupError{"mount the image", err}
	}
	return nil
}

// toolchain shows the machine's programs and libraries.
func toolchain(host hostFiles) error {
	for _, name := range []string{"usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32"} {
		from, to := oldRoot+"/"+name, "/"+name
		info, err := os.Lstat(from)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return err
		case info.Mode()&fs.ModeSymlink != 0:
			err = copyLink(from, to)
		default:
			err = bind(from, to, private|unix.MOUNT_ATTR_RDONLY)
		}
		if err != nil {
			return err
		}
	}
	return host.write()
}

func copyLink(from, to string) error {
	target, err := os.Readlink(from)
	if err != nil {
		return err
	}
	return os.Symlink(target, to)
}

// common adds what every root has.
func common(s *Spec, host hostFiles) error {
	if err := writeEtc(host, s.Network, s.Root == ""); err != nil {
		return err
	}
	for _, dir := range []string{Workspace, Home, Tmp, "/proc", "/dev"} {
		if err := mountPoint(dir, true); err != nil {
			return err
		}
	}
	return devices()
}

// devices mounts a folder of devices, whatever an image has there.
func devices() error {
	if err := unix.Mount("dev", "/dev", "tmpfs", unix.MS_NOSUID|unix.MS_NOEXEC, "mode=755,size=1m"); err != nil {
		return &SetupError{"mount /dev", err}
	}
	for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		// They can be written to all the same, but not be changed: anybody may set the times of /dev/null.
		if err := bind(oldRoot+"/dev/"+name, "/dev/"+name, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC|unix.MOUNT_ATTR_RDONLY); err != nil {
			return err
		}
	}
	for _, dir := range []string{"/dev/shm", "/dev/pts"} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	for name, target := range map[string]string{
		"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2", "ptmx": "pts/ptmx",
	} {
		if err := os.Symlink(target, "/dev/"+name); err != nil {
			return err
		}
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	if err := unix.MountSetattr(unix.AT_FDCWD, "/dev", 0, &attr); err != nil {
		return &SetupError{"make /dev unchangeable", err}
	}
	return nil
}

// mountPoint makes a folder or an empty file at a path, with the folders above it, unless something is there.
func mountPoint(path string, dir bool) error {
	if dir {
		return os.MkdirAll(path, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY|unix.O_NOFOLLOW, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}
