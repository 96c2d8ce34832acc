//go:build linux && (amd64 || arm64)

package sandbox

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// tool is a file or folder of the machine that a command sees at a path, its own in most cases.
type tool struct {
	path string
	link string // where it leads, if it is a link
	dir  bool
	fd   int // a mount of it that is nowhere yet, -1 of a link
}

// isBelow tells whether path is in the folder dir.
func isBelow(dir, path string) bool { return strings.HasPrefix(path, dir+"/") }

// sharedTools returns those tools that every command can have at the same place.
func sharedTools(tools []string) []string {
	var out []string
	for _, path := range tools {
		if !isBelow(Workspace, path) && !isBelow(Home, path) && !isBelow(Tmp, path) {
			out = append(out, path)
		}
	}
	return out
}

// openTools finds tools where this thread sees the machine, so that links lead where they lead there. Those that were found have to be closed in any
// case.
func openTools(paths []string) ([]tool, error) {
	var out []tool
	for _, path := range paths {
		info, err := os.Lstat(path)
		if err != nil {
			return out, wrapped("look at "+path, err)
		}
		t := tool{path: path, dir: info.IsDir(), fd: -1}
		if info.Mode()&fs.ModeSymlink != 0 {
			t.link, err = filepath.EvalSymlinks(path)
		} else {
			t.fd, err = bindOf(path, private|unix.MOUNT_ATTR_RDONLY)
		}
		if err != nil {
			return out, wrapped("look at "+path, err)
		}
		out = append(out, t)
	}
	return out, nil
}

func closeTools(tools []tool) {
	for _, t := range tools {
		if t.fd >= 0 {
			_ = unix.Close(t.fd)
		}
	}
}

// place makes what the tool is to be mounted over at the path at, or the link. Nobody else has been there.
func (t tool) place(at string) error {
	if t.dir {
		return os.MkdirAll(at, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		return err
	}
	if t.link != "" {
		return os.Symlink(t.link, at)
	}
	f, err := os.OpenFile(at, os.O_CREATE|os.O_RDONLY|unix.O_NOFOLLOW, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}

// ownTools finds the tools that are below the home and temporary folders of s, and makes places for them there.
func ownTools(s *Spec) ([]tool, error) {
	var out []tool
	for _, own := range []struct{ inside, folder string }{{Home, s.Home}, {Tmp, s.Tmp}} {
		var paths []string
		for _, path := range s.Tools {
			if isBelow(own.inside, path) {
				paths = append(paths, path)
			}
		}
		found, err := openTools(paths)
		out = append(out, found...)
		if err != nil {
			return out, err
		}
		for _, t := range found {
			if err := t.place(own.folder + strings.TrimPrefix(t.path, own.inside)); err != nil {
				return out, wrapped("show "+t.path, err)
			}
		}
	}
	return out, nil
}
