package source

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"unicode/utf8"

	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/source/gitignore"
	"github.com/towpath/towpath/internal/source/statindex"
)

// Kinds of a child besides the types of statindex.
const (
	kindUnknown uint32 = 0
	kindSpecial uint32 = 1 // a socket, a pipe, a device
)

// child is what a folder's list says about a name.
type child struct {
	name string
	kind uint32
}

// node is a folder of the work tree, with what some request selects in it.
type node struct {
	name    string
	path    string // relative to the top, with "/"
	files   []file // sorted by name
	folders []*node
	ignored []ignored
	// links are symlinks that no request selects but some would go through if they were folders.
	links []string
	// fault is why the folder could not be read; err stops every request that goes into it.
	fault *Error
	// all tells that everything in the folder was looked at, so that whole is its digest for whoever selects everything in it.
	all   bool
	once  sync.Once
	whole built
	// known is set where the folder holds nothing but files that are all in the stat index, and nothing more is in there.
	known *statindex.Cursor
}

// file is a file or symlink.
type file struct {
	name   string
	stat   statindex.Stat
	digest digest.Digest
	known  bool   // digest comes from the stat index
	target string // of a symlink
	fault  *Error // stops every request that selects it
}

// ignored is a name that was left out.
type ignored struct {
	name   string
	folder bool
	rule   *gitignore.Rule
}

// task is a folder that waits to be scanned.
type task struct {
	node   *node
	states []*state // empty where node.all
	chain  *gitignore.Chain
	// rule ignores the folder: only tracked files count in it.
	rule *gitignore.Rule
	repo *repository
}

// scanner walks the work tree once for all requests.
type scanner struct {
	top   string
	index *statindex.Index
	clock *statindex.Clock

	mu      sync.Mutex
	wake    sync.Cond
	queue   []task
	busy    int
	stopped bool
}

// scan fills the tree below root. The queue is a stack, which keeps it short.
func (s *scanner) scan(ctx context.Context, first task, workers int) error {
	s.wake.L = &s.mu
	s.queue = []task{first}
	stop := context.AfterFunc(ctx, func() {
		s.mu.Lock()
		s.stopped = true
		s.mu.Unlock()
		s.wake.Broadcast()
	})
	defer stop()
	var group sync.WaitGroup
	for range workers {
		group.Go(s.work)
	}
	group.Wait()
	return ctx.Err()
}

func (s *scanner) work() {
	own := &scratch{buf: make([]byte, 32<<10)}
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		for len(s.queue) == 0 && s.busy > 0 && !s.stopped {
			s.wake.Wait()
		}
		if len(s.queue) == 0 || s.stopped {
			s.wake.Broadcast()
			return
		}
		last := len(s.queue) - 1
		t := s.queue[last]
		s.queue[last] = task{}
		s.queue = s.queue[:last]
		s.busy++
		s.mu.Unlock()
		more := s.visit(t, own)
		s.mu.Lock()
		s.busy--
		s.queue = append(s.queue, more...)
		if len(more) > 0 || s.busy == 0 {
			s.wake.Broadcast()
		}
	}
}

// scratch is memory that a goroutine uses for one folder after the other.
type scratch struct {
	buf      []byte
	children []child
}

// visit is the scan of one folder.
type visit struct {
	*scanner
	task
	dir    *folder
	known  statindex.Cursor
	newest statindex.Stat
	more   []task
	// exact are the states that ask for nothing but certain names, by those; rest are the others. A run may have thousands of requests for one file each,
	// and comparing all of them with every name would take longer than all else.
	exact map[string][]*state
	rest  []*state
}

func (s *scanner) visit(t task, own *scratch) []task {
	full := filepath.Join(s.top, filepath.FromSlash(t.node.path))
	dir, err := openFolder(full)
	if err != nil {
		if !gone(err) {
			t.node.fault = &Error{Path: orTop(t.node.path), Reason: "cannot be read", Err: cause(err)}
		}
		return nil
	}
	defer dir.close()
	remembered := s.index.Folder(full)
	v := visit{scanner: s, task: t, dir: dir, known: remembered.Cursor()}
	v.sortStates()
	if names, ok := v.literalNames(); ok {
		if _, err := dir.lstat(".git"); err == nil {
			v.ownRepository()
		}
		v.ownPatterns(true)
		for _, name := range names {
			v.child(child{name: name})
		}
	} else {
		children, err := dir.list(own.buf, own.children[:0])
		own.children = children
		if err != nil {
			t.node.fault = &Error{Path: orTop(t.node.path), Reason: "cannot be read", Err: cause(err)}
			return nil
		}
		slices.SortFunc(children, func(a, b child) int { return strings.Compare(a.name, b.name) })
		if has(children, ".git") {
			v.ownRepository()
		}
		v.ownPatterns(has(children, ".gitignore"))
		t.node.files = make([]file, 0, len(children))
		for _, c := range children {
			v.child(c)
		}
		v.compare(remembered, children)
	}
	if v.newest.Ctime != 0 {
		s.clock.Observe(v.newest)
	}
	return v.more
}

// compare sees whether the folder is as it is remembered.
func (v *visit) compare(remembered *statindex.Folder, children []child) {
	if !v.known.All() {
		all := slices.Clone(children)
		remembered.Listed(func(name string) bool { return has(all, name) })
		return
	}
	remembered.Listed(nil) // everything that is remembered is there
	if v.node.all && len(v.node.folders) == 0 && v.known.Hits() == len(v.node.files) {
		known := v.known
		v.node.known = &known
	}
}

// has tells whether the name is among the children, which are sorted.
func has(children []child, name string) bool {
	_, ok := slices.BinarySearchFunc(children, name, func(c child, name string) int { return strings.Compare(c.name, name) })
	return ok
}

func orTop(path string) string {
	if path == "" {
		return "."
	}
	return path
}

// sortStates fills exact and rest.
func (v *visit) sortStates() {
	v.exact = make(map[string][]*state)
	for _, st := range v.states {
		names, ok := st.literals()
		if !ok {
			v.rest = append(v.rest, st)
			continue
		}
		for _, name := range names {
			v.exact[name] = append(v.exact[name], st)
		}
	}
}

// literalNames returns the only names that the requests ask for in the folder, sorted; false where they ask for others.
func (v *visit) literalNames() ([]string, bool) {
	if v.node.all || len(v.rest) > 0 {
		return nil, false
	}
	return slices.Sorted(maps.Keys(v.exact)), true
}

// ownRepository turns to the repository in the folder, that of a submodule for example: like git, it goes by what is tracked and ignored there and
// by nothing above it.
func (v *visit) ownRepository() {
	if v.node.path == "" || v.rule != nil {
		return
	}
	repo := findRepository(v.dir.path, func(error) {})
	if !repo.valid() {
		return
	}
	repo.warn, repo.below = v.repo.warn, v.node.path+"/"
	v.repo, v.chain = repo, (*gitignore.Chain)(nil).With(v.node.path, repo.exclude())
}

// ownPatterns reads the folder's .gitignore. Like git, it does not follow a symlink there.
func (v *visit) ownPatterns(present bool) {
	if !present || v.rule != nil {
		return
	}
	st, err := v.dir.lstat(".gitignore")
	if err != nil || st.Type() != statindex.TypeRegular {
		return
	}
	data, err := os.ReadFile(filepath.Join(v.dir.path, ".gitignore"))
	if err != nil {
		v.node.fault = &Error{Path: join(v.node.path, ".gitignore"), Reason: "cannot be read", Err: cause(err)}
		return
	}
	v.chain = v.chain.With(v.node.path, gitignore.Parse(join(v.node.path, ".gitignore"), data))
}

func join(folder, name string) string {
	if folder == "" {
		return name
	}
	return folder + "/" + name
}

// child looks at one name. Only what some request wants is looked at with lstat.
func (v *visit) child(c child) {
	if c.name == ".git" {
		return
	}
	next, wanted := v.wanted(c)
	if !wanted && next == nil {
		return
	}
	f := file{name: c.name}
	if c.kind != statindex.TypeFolder {
		var err error
		if f.stat, err = v.dir.lstat(c.name); err != nil {
			if gone(err) {
				return
			}
			f.fault = &Error{Path: join(v.node.path, c.name), Reason: "cannot be read", Err: cause(err)}
		} else if c.kind = f.stat.Type(); c.kind == kindUnknown {
			c.kind = kindSpecial
		}
	}
	folder := c.kind == statindex.TypeFolder
	if folder && next == nil || !folder && !wanted {
		if c.kind == statindex.TypeSymlink {
			v.node.links = append(v.node.links, c.name)
		}
		return
	}
	path := join(v.node.path, c.name)
	rule := v.ignores(path, folder)
	if rule != nil && !v.keeps(path, folder) {
		v.node.ignored = append(v.node.ignored, ignored{name: c.name, folder: folder, rule: rule})
		return
	}
	if folder {
		v.enter(c.name, path, next, rule)
		return
	}
	v.file(f, c.kind, path)
}

// wanted tells whether some request selects a file of that name, and returns what the requests want of a folder of that name (for
// a symlink: what they would want, for the message).
func (v *visit) wanted(c child) (next []*state, file bool) {
	if v.node.all {
		return []*state{}, true
	}
	for _, st := range slices.Concat(v.exact[c.name], v.rest) {
		file = file || c.kind != statindex.TypeFolder && st.selects(c.name, nil)
		if c.kind == statindex.TypeFolder || c.kind == statindex.TypeSymlink || c.kind == kindUnknown {
			if n := st.enter(c.name); n != nil {
				next = append(next, n)
			}
		}
	}
	return next, file
}

// ignores returns the rule that ignores path.
func (v *visit) ignores(path string, folder bool) *gitignore.Rule {
	if v.rule != nil {
		return v.rule
	}
	if r := v.chain.Match(path, folder); r != nil && !r.Negated() {
		return r
	}
	return nil
}

// keeps tells whether git tracks path, or something in it, although it is ignored.
func (v *visit) keeps(path string, folder bool) bool {
	tracked := v.repo.index()
	path = v.repo.relative(path)
	return tracked.Has(path) || folder && tracked.HasBelow(path)
}

func (v *visit) enter(name, path string, next []*state, rule *gitignore.Rule) {
	n := &node{name: name, path: path, all: v.node.all || slices.ContainsFunc(next, (*state).everything)}
	if n.all {
		next = nil
	}
	v.node.folders = append(v.node.folders, n)
	v.more = append(v.more, task{node: n, states: next, chain: v.chain, rule: v.inside(path, rule), repo: v.repo})
}

// inside returns the rule that ignores what is in a folder that rule ignores and that is not left out.
func (v *visit) inside(path string, rule *gitignore.Rule) *gitignore.Rule {
	if rule != nil && v.repo.index().Has(v.repo.relative(path)) {
		return nil // a submodule: its own files are not in this index
	}
	return rule
}

func (v *visit) file(f file, kind uint32, path string) {
	if v.newest.Ctime < f.stat.Ctime {
		v.newest = f.stat
	}
	switch {
	case f.fault != nil:
	case !utf8.ValidString(f.name):
		f.fault = notUTF8(path)
	case kind == statindex.TypeRegular:
		f.digest, f.known = v.known.Lookup(f.name, f.stat)
	case kind == statindex.TypeSymlink:
		target, err := os.Readlink(filepath.Join(v.dir.path, f.name))
		if err != nil {
			f.fault = &Error{Path: path, Reason: "cannot be read", Err: cause(err)}
			break
		}
		f.target = filepath.ToSlash(target)
		f.fault = checkTarget(path, f.target)
	default:
		f.fault = &Error{Path: path, Reason: "is neither a file nor a folder nor a symlink", Hint: "take it away with a glob that starts with \"!\""}
	}
	v.node.files = append(v.node.files, f)
}

func notUTF8(path string) *Error {
	return &Error{Path: path, Reason: "has a name that is not UTF-8", Hint: "rename it, or take it away with a glob that starts with \"!\""}
}

// checkTarget refuses a symlink that leaves the work tree. It looks at the text alone: what the target is, and whether it is
// there, does not matter, as it does not matter to git.
func checkTarget(path, target string) *Error {
	const hint = "make it relative and let it stay below the top of the repository, or take it away with a glob that starts with \"!\""
	switch {
	case strings.HasPrefix(target, "/") || filepath.IsAbs(target) || filepath.VolumeName(target) != "":
		return &Error{Path: path, Reason: "is a symlink to the absolute path " + target, Hint: hint}
	case !utf8.ValidString(target):
		return &Error{Path: path, Reason: "is a symlink to a name that is not UTF-8"}
	}
	depth := strings.Count(path, "/")
	for part := range strings.SplitSeq(target, "/") {
		switch part {
		case "", ".":
		case "..":
			if depth--; depth < 0 {
				return &Error{Path: path, Reason: "is a symlink that climbs above the top of the repository, to " + target, Hint: hint}
			}
		default:
			depth++
		}
	}
	return nil
}

// gone tells whether a name that was there a moment ago, or that a glob spells out, is not there.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// cause strips the absolute path off an error of the os package: the Error has the path already, and a shorter one.
func cause(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}
