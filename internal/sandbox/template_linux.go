//go:build linux && (amd64 || arm64)

package sandbox

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// template is a mount namespace with the root of commands, but for what is a command's own.
type template struct {
	once sync.Once
	fd   int
	err  error

	// Guarded by the helper's mutex.
	users int    // who need fd
	last  uint64 // use
}

// templatesMax is how many templates are kept, beyond those in use.
const templatesMax = 64

// template returns the template for a command, which it makes where there is none yet. Who has it leaves it.
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
	t := h.enter(string(key))
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
	if t.err != nil {
		// The next may have more luck.
		h.mu.Lock()
		if h.templates[string(key)] == t {
			delete(h.templates, string(key))
		}
		h.mu.Unlock()
		return nil, t.err
	}
	return t, nil
}

func (h *helper) enter(key string) *template {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.templates[key]
	if t == nil {
		h.forget()
		t = &template{fd: -1}
		h.templates[key] = t
	}
	h.uses++
	t.users, t.last = t.users+1, h.uses
	return t
}

func (h *helper) leave(t *template) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t.users--
}

// forget makes room for a template where there are many: that goes which nobody has used for longest.
func (h *helper) forget() {
	if len(h.templates) < templatesMax {
		return
	}
	oldest := ""
	for key, t := range h.templates {
		if t.users == 0 && (oldest == "" || t.last < h.templates[oldest].last) {
			oldest = key
		}
	}
	if oldest != "" {
		_ = unix.Close(h.templates[oldest].fd)
		delete(h.templates, oldest)
	}
}

// makeTemplate puts a root together. An image is not to be trusted: what is wanted of the machine is picked up before the machine's root is left for
// good, and only then is anything of the image looked at.
func makeTemplate(s *Spec) (int, error) {
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return -1, &SetupError{templateOp, err}
	}
	m, err := openMachine(s)
	defer m.close()
	if err != nil {
		return -1, err
	}
	fd, err := unix.Openat(m.proc, "thread-self/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &SetupError{"open the mount namespace", err}
	}
	if err = enterRoot(s.Root); err == nil {
		err = fill(s, m)
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// fill puts into the new root what every command has there, and makes it unchangeable.
func fill(s *Spec, m *parts) error {
	r, err := openRoot()
	if err != nil {
		return err
	}
	defer r.close()
	for _, t := range m.toolchain {
		if err := r.show(t); err != nil {
			return err
		}
	}
	if err := writeEtc(r, m.etc, s.Network, s.Root == ""); err != nil {
		return err
	}
	for _, dir := range []string{Workspace, Home, Tmp, "/proc", "/dev"} {
		fd, err := r.point(dir, true)
		if err != nil {
			return err
		}
		_ = unix.Close(fd)
	}
	if err := devices(r, m.devices); err != nil {
		return wrapped("make /dev", err)
	}
	for _, t := range m.tools {
		if s.Root != "" && r.has(t.path) {
			continue // the image takes the place of the machine
		}
		if err := r.show(t); err != nil {
			return err
		}
	}
	// The file system of processes is needed until a command's own is mounted over it: the system gives nobody more than he has.
	if err := r.mount(m.proc, "/proc", true); err != nil {
		return err
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | private}
	if err := unix.MountSetattr(unix.AT_FDCWD, "/", 0, &attr); err != nil {
		return &SetupError{"make the root unchangeable", err}
	}
	return nil
}

// parts are what a root shows of the machine: mounts that are nowhere yet, and links.
type parts struct {
	toolchain, devices, tools []tool
	etc                       hostFiles
	proc                      int
}

// openMachine finds the parts, where this thread sees the machine. They have to be closed in any case.
func openMachine(s *Spec) (*parts, error) {
	m := &parts{proc: -1}
	var err error
	if m.proc, err = newProc(); err != nil {
		return m, err
	}
	if m.etc, err = readHost(s.Root == ""); err != nil {
		return m, err
	}
	if s.Root == "" {
		if m.toolchain, err = openToolchain(); err != nil {
			return m, err
		}
	}
	for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		// They can be written to all the same, but not be changed: anybody may set the times of /dev/null.
		fd, err := bindOf("/dev/"+name, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC|unix.MOUNT_ATTR_RDONLY)
		if err != nil {
			return m, err
		}
		m.devices = append(m.devices, tool{path: "/dev/" + name, fd: fd})
	}
	m.tools, err = openTools(sharedTools(s.Tools))
	return m, err
}

func (m *parts) close() {
	if m.proc >= 0 {
		_ = unix.Close(m.proc)
	}
	for _, tools := range [][]tool{m.toolchain, m.devices, m.tools, m.etc.folders} {
		closeTools(tools)
	}
}

// newProc makes a file system of processes.
func newProc() (int, error) {
	fs, err := unix.Fsopen("proc", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, &SetupError{"mount /proc", err}
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, &SetupError{"mount /proc", err}
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, private|unix.MOUNT_ATTR_NOEXEC)
	if err != nil {
		return -1, &SetupError{"mount /proc", err}
	}
	return fd, nil
}

func wrapped(op string, err error) error {
	if _, ok := errors.AsType[*SetupError](err); ok {
		return err
	}
	return &SetupError{op, err}
}

// enterRoot changes to a new root: an empty one, or what is in the folder image with room for changes. The old one is
// out of reach then.
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
	if err := unix.Chdir(base); err != nil {
		return &SetupError{"enter the root", err}
	}
	// The old root comes to lie over the new one, from where it is taken away.
	if err := unix.PivotRoot(".", "."); err != nil {
		return &SetupError{"change the root", err}
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return &SetupError{"part with the machine's root", err}
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

// openToolchain finds the machine's programs and libraries.
func openToolchain() ([]tool, error) {
	var out []tool
	for _, name := range []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"} {
		info, err := os.Lstat(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		t := tool{path: name, dir: true, fd: -1}
		switch {
		case err != nil:
		case info.Mode()&fs.ModeSymlink != 0:
			t.link, err = os.Readlink(name)
		default:
			t.fd, err = bindOf(name, private|unix.MOUNT_ATTR_RDONLY)
		}
		if err != nil {
			return out, wrapped("look at "+name, err)
		}
		out = append(out, t)
	}
	return out, nil
}

// devices mounts a folder of devices, whatever an image has there.
func devices(r root, all []tool) error {
	if err := unix.Mount("dev", "/dev", "tmpfs", unix.MS_NOSUID|unix.MS_NOEXEC, "mode=755,size=1m"); err != nil {
		return &SetupError{"mount /dev", err}
	}
	for _, t := range all {
		if err := r.show(t); err != nil {
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
