package source

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/towpath/towpath/internal/source/gitignore"
	"github.com/towpath/towpath/internal/source/gitindex"
)

// repository is what git knows about the work tree during one Snapshot. A work tree without git has no folder.
type repository struct {
	folder  string // .git, or where the file of that name points
	common  string // the same, but shared by all worktrees
	below   string // where it is in the work tree, ending in "/"; "" at the top
	warn    func(error)
	once    sync.Once
	tracked *gitindex.Paths
}

// findRepository looks for the .git in the folder top.
func findRepository(top string, warn func(error)) *repository {
	r := &repository{warn: warn}
	dot := filepath.Join(top, ".git")
	info, err := os.Lstat(dot)
	switch {
	case err != nil:
		return r
	case info.IsDir():
		r.folder = dot
	case info.Mode().IsRegular():
		data, err := os.ReadFile(dot)
		target, ok := bytes.CutPrefix(bytes.TrimRight(data, "\r\n"), []byte("gitdir: "))
		if err != nil || !ok {
			warn(fmt.Errorf("the file .git at the top of the work tree does not say where its repository is; it is left out of account"))
			return r
		}
		r.folder = resolve(top, string(target))
	default: // a symlink, which git follows
		r.folder = dot
	}
	r.common = r.folder
	if data, err := os.ReadFile(filepath.Join(r.folder, "commondir")); err == nil {
		r.common = resolve(r.folder, strings.TrimRight(string(data), "\r\n"))
	}
	return r
}

// valid tells whether git would take it for a repository.
func (r *repository) valid() bool {
	if r.folder == "" {
		return false
	}
	for _, path := range []string{filepath.Join(r.folder, "HEAD"), filepath.Join(r.common, "objects"), filepath.Join(r.common, "refs")} {
		if _, err := os.Lstat(path); err != nil {
			return false
		}
	}
	return true
}

// relative returns path, which is relative to the top of the work tree, as the index of the repository has it.
func (r *repository) relative(path string) string { return strings.TrimPrefix(path, r.below) }

func resolve(base, path string) string {
	path = filepath.FromSlash(path)
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(base, path)
}

// exclude returns the patterns of info/exclude.
func (r *repository) exclude() *gitignore.Patterns {
	if r.common == "" {
		return &gitignore.Patterns{}
	}
	data, err := os.ReadFile(filepath.Join(r.common, "info", "exclude"))
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			r.warn(fmt.Errorf("read git's list of excluded files: %w", err))
		}
		return &gitignore.Patterns{}
	}
	return gitignore.Parse(r.below+".git/info/exclude", data)
}

// index returns the paths that git tracks. It is read the first time that something ignored is met.
func (r *repository) index() *gitindex.Paths {
	r.once.Do(func() {
		if r.folder == "" {
			return
		}
		paths, err := readIndex(r.folder, "index")
		if err == nil && paths.SharedIndex() != "" {
			var shared *gitindex.Paths
			if shared, err = readIndex(r.folder, paths.SharedIndex()); err == nil {
				paths.Merge(shared)
			}
		}
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				r.warn(fmt.Errorf("git's index cannot be read, so files that are tracked although they are ignored are left out: %w", err))
			}
			return
		}
		r.tracked = paths
	})
	return r.tracked
}

func readIndex(folder, name string) (*gitindex.Paths, error) {
	data, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil {
		return nil, err
	}
	return gitindex.Parse(data)
}
