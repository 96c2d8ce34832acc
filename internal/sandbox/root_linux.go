//go:build linux && (amd64 || arm64)

package sandbox

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// root is the root of commands while a template is made. The machine's own is out of reach by then. What an image has there is not to be trusted
// all the same: its links are followed within it, but for those that the system makes up.
type root struct{ fd int }

func openRoot() (root, error) {
	fd, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return root{-1}, &SetupError{"open the root", err}
	}
	return root{fd}, nil
}

func (r root) close() { _ = unix.Close(r.fd) }

func (r root) open(path string, flags uint64) (int, error) {
	return unix.Openat2(r.fd, path, &unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS})
}

// folder opens a folder, which it makes where there is none, with those above it.
func (r root) folder(path string) (int, error) {
	fd, err := r.open(path, unix.O_PATH|unix.O_DIRECTORY)
	if err != unix.ENOENT || path == "/" {
		return fd, err
	}
	above, err := r.folder(filepath.Dir(path))
	if err != nil {
		return -1, err
	}
	defer unix.Close(above)
	if err := unix.Mkdirat(above, filepath.Base(path), 0o755); err != nil {
		return -1, err
	}
	return r.open(path, unix.O_PATH|unix.O_DIRECTORY)
}

// point opens a folder or a file, over which something is to be mounted. It is made where there is none, and in the place of a link.
func (r root) point(path string, dir bool) (int, error) {
	fail := func(err error) (int, error) { return -1, &SetupError{"make " + path + " in the root", err} }
	above, err := r.folder(filepath.Dir(path))
	if err != nil {
		return fail(err)
	}
	defer unix.Close(above)
	name, kind := filepath.Base(path), uint32(unix.S_IFREG)
	if dir {
		kind = unix.S_IFDIR
	}
	var st unix.Stat_t
	err = unix.Fstatat(above, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if err != nil && err != unix.ENOENT {
		return fail(err)
	}
	if err == unix.ENOENT || st.Mode&unix.S_IFMT != kind {
		if err := makeAnew(above, name, dir); err != nil {
			return fail(err)
		}
	}
	fd, err := unix.Openat(above, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fail(err)
	}
	return fd, nil
}

// makeAnew makes a folder or an empty file in a folder, in the place of whatever is there.
func makeAnew(above int, name string, dir bool) error {
	if err := remove(above, name); err != nil {
		return err
	}
	if dir {
		return unix.Mkdirat(above, name, 0o755)
	}
	fd, err := unix.Openat(above, name, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// remove removes a file or an empty folder, if it is there.
func remove(above int, name string) error {
	err := unix.Unlinkat(above, name, 0)
	if err == unix.EISDIR {
		err = unix.Unlinkat(above, name, unix.AT_REMOVEDIR)
	}
	if err == unix.ENOENT {
		return nil
	}
	return err
}

// replace makes a file, in the place of whatever is there.
func (r root) replace(path string, content []byte) error {
	above, err := r.folder(filepath.Dir(path))
	if err != nil {
		return &SetupError{"make " + path + " in the root", err}
	}
	defer unix.Close(above)
	name := filepath.Base(path)
	if err := remove(above, name); err != nil {
		return &SetupError{"replace " + path + " in the root", err}
	}
	fd, err := unix.Openat(above, name, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return &SetupError{"make " + path + " in the root", err}
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	if _, err := f.Write(content); err != nil {
		return &SetupError{"write " + path + " in the root", err}
	}
	return nil
}

// readMax bounds what is taken from a file of an image.
const readMax = 4 << 20

// read returns what a file holds, if there is one.
func (r root) read(path string) string {
	fd, err := r.open(path, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return ""
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() > readMax {
		return ""
	}
	content := make([]byte, info.Size())
	n, _ := f.ReadAt(content, 0) // what can be read
	return string(content[:n])
}

// mount attaches a mount that is nowhere yet.
func (r root) mount(mount int, path string, dir bool) error {
	fd, err := r.point(path, dir)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.MoveMount(mount, "", fd, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH); err != nil {
		return &SetupError{"mount " + path, err}
	}
	return nil
}

// show shows something of the machine.
func (r root) show(t tool) error {
	if t.fd >= 0 {
		return r.mount(t.fd, t.path, t.dir)
	}
	above, err := r.folder(filepath.Dir(t.path))
	if err != nil {
		return &SetupError{"show " + t.path, err}
	}
	defer unix.Close(above)
	if err := unix.Symlinkat(t.link, above, filepath.Base(t.path)); err != nil {
		return &SetupError{"show " + t.path, err}
	}
	return nil
}

// has tells whether something is at a path.
func (r root) has(path string) bool {
	fd, err := r.open(path, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return false
	}
	_ = unix.Close(fd)
	return true
}
