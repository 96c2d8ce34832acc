package source

import (
	"io/fs"
	"os"
	slashpath "path"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/towpath/towpath/internal/source/gitignore"
)

// Ignorer tells of one path after the other whether a Snapshot would leave it out since git ignores it. It remembers what it has read of git, and is safe
// for concurrent use.
type Ignorer struct {
	top  string // as paths begin
	real string

	mu      sync.Mutex
	folders map[string]entered
	indexes map[*repository]stamp
}

// entered is a folder, with what holds in it.
type entered struct {
	*visit
	left bool // everything in it is left out
}

// stamp tells one state of a file from another; zero where it is not there.
type stamp struct {
	size     int64
	modified time.Time
}

// NewIgnorer returns an Ignorer of the work tree that has its top there, which is what Config.Repository says.
func NewIgnorer(repository string) *Ignorer {
	g := &Ignorer{top: repository, real: repository}
	if real, err := filepath.EvalSymlinks(repository); err == nil {
		g.real = real
	}
	g.Forget()
	return g
}

// Forget makes the Ignorer read again what git says. That a .gitignore has changed is for the caller to notice; what git tracks it looks after itself.
func (g *Ignorer) Forget() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.forget()
}

func (g *Ignorer) forget() { g.folders, g.indexes = map[string]entered{}, map[*repository]stamp{} }

// Ignored tells whether the file or folder is left out, which need not be there. The path is absolute; what is outside of the work tree is not ignored.
func (g *Ignorer) Ignored(path string, folder bool) bool {
	name, err := filepath.Rel(g.top, path)
	name = filepath.ToSlash(name)
	if err != nil || name == "." || name == ".." || strings.HasPrefix(name, "../") {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	p, ignored := g.ask(name, folder)
	if ignored && g.indexes[p.repo] != stampOf(p.repo) { // git may track it by now
		g.forget()
		_, ignored = g.ask(name, folder)
	}
	return ignored
}

func (g *Ignorer) ask(name string, folder bool) (entered, bool) {
	p := g.folder(above(name))
	if p.left {
		return p, true
	}
	return p, p.ignores(name, folder) != nil && !p.keeps(name, folder)
}

// above returns the folder that a name is in; "" is the top.
func above(name string) string {
	if dir := slashpath.Dir(name); dir != "." {
		return dir
	}
	return ""
}

func (g *Ignorer) folder(name string) entered {
	if p, ok := g.folders[name]; ok {
		return p
	}
	p := g.enter(name)
	if p.left {
		g.folders[name] = p
		return p
	}
	dir, err := openFolder(filepath.Join(g.real, filepath.FromSlash(name)))
	if err != nil {
		return p // it is not remembered: the folder may come
	}
	defer dir.close()
	p.dir = dir
	if _, err := dir.lstat(".git"); err == nil {
		p.ownRepository()
	}
	p.ownPatterns(true)
	if _, ok := g.indexes[p.repo]; !ok {
		g.indexes[p.repo] = stampOf(p.repo)
	}
	g.folders[name] = p
	return p
}

// enter returns what holds in a folder before anything in it is looked at.
func (g *Ignorer) enter(name string) entered {
	v := &visit{task: task{node: &node{path: name}}}
	if name == "" {
		v.repo = findRepository(g.real, func(error) {}) // a Snapshot says what is wrong with it
		v.chain = (*gitignore.Chain)(nil).With("", v.repo.exclude())
		return entered{visit: v}
	}
	p := g.folder(above(name))
	v.repo, v.chain = p.repo, p.chain
	if p.left {
		return entered{visit: v, left: true}
	}
	rule := p.ignores(name, true)
	if rule != nil && !p.keeps(name, true) {
		return entered{visit: v, left: true}
	}
	v.rule = p.inside(name, rule)
	return entered{visit: v}
}

// stampOf is that of the repository's index.
func stampOf(r *repository) stamp {
	var info fs.FileInfo
	err := fs.ErrNotExist
	if r.folder != "" {
		info, err = os.Stat(filepath.Join(r.folder, "index"))
	}
	if err != nil {
		return stamp{}
	}
	return stamp{size: info.Size(), modified: info.ModTime()}
}
