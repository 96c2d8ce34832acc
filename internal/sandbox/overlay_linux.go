//go:build linux && (amd64 || arm64)

package sandbox

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// mounts are those of one command, which are nowhere yet. Negative numbers are none.
type mounts struct {
	workspace, home, tmp int
	tools                []tool // below home and tmp
}

func (m mounts) close() { closeAll(m.fds()) }

// fds are the numbers of those that are there.
func (m mounts) fds() []int {
	var out []int
	for _, fd := range []int{m.workspace, m.home, m.tmp} {
		if fd >= 0 {
			out = append(out, fd)
		}
	}
	for _, t := range m.tools {
		if t.fd >= 0 {
			out = append(out, t.fd)
		}
	}
	return out
}

const private = unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV

func mountsOf(s *Spec) (mounts, error) {
	m := mounts{workspace: -1, home: -1, tmp: -1}
	var err error
	if m.tools, err = ownTools(s); err != nil {
		return m, err
	}
	if m.home, err = bindOf(s.Home, private); err != nil {
		return m, err
	}
	if m.tmp, err = bindOf(s.Tmp, private); err != nil {
		return m, err
	}
	if err := clean(s.Work); err != nil {
		return m, &SetupError{"empty the overlay's folder", err}
	}
	m.workspace, err = overlay(s.Lower, s.Upper, s.Work)
	return m, err
}

// bindOf returns a mount of a folder or file, with all that is mounted below it.
func bindOf(path string, attributes uint64) (int, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return -1, &SetupError{"bind " + path, err}
	}
	attr := unix.MountAttr{Attr_set: attributes}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attr); err != nil {
		_ = unix.Close(fd)
		return -1, &SetupError{"restrict the mount of " + path, err}
	}
	return fd, nil
}

// clean removes what a volatile overlay leaves in its folder so that it is not used again by mistake. Making and removing it is cheaper
// than what an overlay does otherwise at its end: it writes out the whole file system.
func clean(work string) error {
	for _, name := range []string{"work/incompat/volatile/dirty", "work/incompat/volatile", "work/incompat"} {
		flags := unix.AT_REMOVEDIR
		if strings.HasSuffix(name, "dirty") {
			flags = 0
		}
		err := unix.Unlinkat(unix.AT_FDCWD, work+"/"+name, flags)
		if err == unix.ENOENT {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// overlay returns a mount of lower with the changes in upper. Folders are handed over by number: their names may be too long, and mean
// something to the overlay.
func overlay(lower, upper, work string) (int, error) {
	fail := func(what string, err error) (int, error) {
		if strings.HasPrefix(what, "make an overlay") && isOverlay(upper) {
			what = overlayOnOverlay
		}
		return -1, &SetupError{what, err}
	}
	fs, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return fail("make an overlay", err)
	}
	defer unix.Close(fs)
	for _, folder := range []struct{ key, path string }{{"lowerdir", lower}, {"upperdir", upper}, {"workdir", work}} {
		fd, err := unix.Open(folder.path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fail("open "+folder.path, err)
		}
		err = unix.FsconfigSetString(fs, folder.key, fmt.Sprintf("/proc/self/fd/%d", fd))
		// Older systems look at the folders only when the overlay is made.
		defer unix.Close(fd)
		if err != nil {
			return fail("make an overlay of "+folder.path, err)
		}
	}
	for _, flag := range []string{"userxattr", "volatile"} {
		if err := unix.FsconfigSetFlag(fs, flag); err != nil {
			return fail("make an overlay that is "+flag, err)
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return fail("make an overlay"+told(fs), err)
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, private)
	if err != nil {
		return fail("mount an overlay", err)
	}
	return fd, nil
}

// overlayOnOverlay is what cannot be done in most cases.
const overlayOnOverlay = "make an overlay on an overlay"

// isOverlay tells whether a folder is on a file system that is an overlay itself.
func isOverlay(dir string) bool {
	var s unix.Statfs_t
	return unix.Statfs(dir, &s) == nil && s.Type == unix.OVERLAYFS_SUPER_MAGIC
}

// told returns what the system has to say about a file system that it does not make.
func told(fs int) string {
	buf := make([]byte, 512)
	n, err := unix.Read(fs, buf)
	if err != nil || n < 3 {
		return ""
	}
	return " (" + strings.TrimSpace(string(buf[2:n])) + ")"
}

func attach(fd int, path string) error {
	return unix.MoveMount(fd, "", unix.AT_FDCWD, path, unix.MOVE_MOUNT_F_EMPTY_PATH)
}
