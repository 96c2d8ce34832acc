package local

import (
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/towpath/towpath/internal/executor"
)

// lookUp returns the path of the program of a, which starts in the folder cwd. A name without a slash is looked up in the
// PATH of the action, whose relative folders are relative to cwd, as they are for what the command itself looks up.
func lookUp(a executor.Action, cwd string) (string, error) {
	name := a.Args[0]
	if strings.Contains(name, "/") {
		return absolute(cwd, filepath.FromSlash(name)), nil
	}
	path, _ := a.Lookup("PATH")
	notFound := &executor.CommandNotFoundError{Name: name, Path: path, Err: fs.ErrNotExist}
	for _, dir := range filepath.SplitList(path) {
		candidate := filepath.Join(absolute(cwd, dir), name)
		if runtime.GOOS == "windows" && filepath.Ext(name) == "" {
			candidate += ".exe"
		}
		info, err := os.Stat(candidate)
		switch {
		case err != nil || info.IsDir():
		case runtime.GOOS != "windows" && info.Mode()&0o111 == 0:
			notFound.Err = fs.ErrPermission
		default:
			return candidate, nil
		}
	}
	return "", notFound
}

func absolute(cwd, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(cwd, path)
}
