// Package source takes content-addressed snapshots of parts of the work tree: what `source("src", "tests")` in a pipeline stands for.
//
// A snapshot is a Directory of the Remote Execution API in a cas.Store, and depends on nothing but the files and what git says
// about them: not on the machine, the user's settings, times, owners or the order of a folder.
//
//   - All sources of a run are taken together. The tree is walked once, in parallel, and only where some glob can match; a path
//     without wildcards is looked up, not searched for.
//   - .git is left out, whether it is a folder or a file, at any depth. The files of submodules and of other nested
//     repositories are files like any other, but what is ignored in them is for their own patterns and their own index to say.
//   - What .gitignore files ignore is left out, from those at the top of the repository down, and what .git/info/exclude does;
//     also where there is no repository, so that an unpacked archive gives what the clone gave. The user's own global
//     excludes are no part of it, and letters count as written on every system. What git tracks is kept although it is ignored.
//   - As for git, only files count: a folder without any is left out, and a glob that names one matches nothing.
//   - A file keeps its executable bit (its owner's) and nothing else besides its content. On Windows there is none.
//   - A symlink is kept as it is written and never followed, not even in the middle of a glob. It may dangle, or point at what the
//     snapshot does not hold: that is for the step that uses it to find out. One that is absolute or, going by its text,
//     climbs above the top of the repository is refused.
//   - Globs are those of protocol/SPEC.md, section 7, applied in order: a file is selected when the last glob that matches it does
//     not start with "!". Every glob without "!" must match a file that no later "!" takes away.
//
// An unchanged file is not read again, see the room statindex. What is in the store is not put again. A lazy Snapshotter does not even
// ask the store for what the index knows: that is what Ensure does, once somebody is about to read what was taken.
//
// This package knows neither plans nor runs nor any particular store.
package source

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/source/gitignore"
	"github.com/towpath/towpath/internal/source/statindex"
)

// Config says where a Snapshotter works.
type Config struct {
	// Store receives files and directories.
	Store cas.Store
	// Repository is the absolute path of the top of the work tree, which holds .git; without a repository it is the folder of the
	// pipeline program.
	Repository string
	// IndexFile is the file that remembers digests from one process to the next. Its folder must be there; it is best on the
	// file system of the work tree, whose clock it then knows. "" remembers for the life of the Snapshotter.
	IndexFile string
	// Lazy lets Snapshot believe that the store has what it ever had, without asking it: files that have not changed are not looked
	// for, and no Directory is put. Before anything of a snapshot is read from the store, Ensure has to be called.
	Lazy bool
	// Warn is told about what does not stop a snapshot, such as a git index that cannot be read. It may be nil, and is called from
	// several goroutines.
	Warn func(error)
}

// Snapshotter takes snapshots of one work tree. It is safe for concurrent use.
type Snapshotter struct {
	store cas.Store
	top   string
	index *statindex.Index
	lazy  bool
	warn  func(error)
	// clock is for Digest: a sample that has become old is as true as a new one, it only settles fewer files.
	clock func() *statindex.Clock

	mu   sync.Mutex
	last *taken // nil until there was a Snapshot
}

// taken is what a Snapshot saw and made. It does not change any more.
type taken struct {
	root *node
	out  *output
}

// Request is one declared source.
type Request struct {
	// Root is the absolute folder that Globs are relative to, at or below the top.
	Root  string
	Globs []string
}

// Result is what became of a Request.
type Result struct {
	// Digest is that of the Directory, whose paths are relative to the Root of the request.
	Digest digest.Digest
	// Files is the number of files and symlinks in it.
	Files int
	// Err is nil or an *Error, and the rest of the Result is then zero.
	Err error
}

// Open returns a Snapshotter, which must be closed to remember what it has read.
func Open(cfg Config) (*Snapshotter, error) {
	if cfg.Store == nil {
		return nil, errors.New("open source: no store")
	}
	if !filepath.IsAbs(cfg.Repository) {
		return nil, fmt.Errorf("open source: the path %q is not absolute", cfg.Repository)
	}
	top, err := filepath.EvalSymlinks(cfg.Repository)
	if err != nil {
		return nil, fmt.Errorf("open source: %w", err)
	}
	s := &Snapshotter{store: cfg.Store, top: top, index: statindex.Open(cfg.IndexFile), lazy: cfg.Lazy, warn: cfg.Warn}
	if s.warn == nil {
		s.warn = func(error) {}
	}
	s.clock = sync.OnceValue(func() *statindex.Clock {
		c := s.index.Clock()
		c.Sample()
		return c
	})
	return s, nil
}

// Close saves the stat index if it has changed. The Snapshotter can still be used.
func (s *Snapshotter) Close(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.index.Save()
}

// Snapshot takes all requests of a run, in one walk, and returns their results in the same order. What is wrong with one
// request is in its result; the error is for what stops all of them: the store, or a cancelled context. Everything in the
// snapshots is in the store when Snapshot returns (or, if it is lazy, when Ensure does), and durable after the store's next Flush.
func (s *Snapshotter) Snapshot(ctx context.Context, requests []Request) ([]Result, error) {
	distinct, which := s.compile(requests)
	root, err := s.walk(ctx, distinct)
	if err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	out := newOutput(s.store)
	results := make([]Result, len(distinct))
	if err := buildAll(ctx, root, distinct, out, results); err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	if !s.lazy {
		if err := out.put(ctx); err != nil {
			return nil, fmt.Errorf("snapshot: %w", err)
		}
	}
	s.mu.Lock()
	s.last = &taken{root: root, out: out}
	s.mu.Unlock()
	all := make([]Result, len(requests))
	for i, w := range which {
		all[i] = results[w]
	}
	return all, nil
}

// Ensure sees to it that the store has everything of the last Snapshot, and durably so after its next Flush: it asks for every file and
// Directory, and puts again what is missing or was written to since. It may be called as often as anything turns out to be lost. A file
// that has to be read for this and is not what it was when the snapshot was taken is an *Error that says so.
func (s *Snapshotter) Ensure(ctx context.Context) error {
	s.mu.Lock()
	last := s.last
	s.mu.Unlock()
	if last == nil {
		return ctx.Err()
	}
	in := intake{store: s.store, index: s.index, clock: s.index.Clock(), top: s.top}
	if err := in.restore(ctx, last.root); err != nil {
		return fmt.Errorf("ensure the snapshot: %w", err)
	}
	if err := last.out.put(ctx); err != nil {
		return fmt.Errorf("ensure the snapshot: %w", err)
	}
	return nil
}

// compile returns the distinct requests and which of them each request is.
func (s *Snapshotter) compile(requests []Request) (distinct []*request, which []int) {
	known := make(map[string]int)
	roots := make(map[string]string)
	for _, r := range requests {
		key := r.Root + "\x00" + strings.Join(r.Globs, "\x00")
		n, ok := known[key]
		if !ok {
			n = len(distinct)
			known[key] = n
			distinct = append(distinct, s.compileRequest(r, roots))
		}
		which = append(which, n)
	}
	return distinct, which
}

// compileRequest compiles r; roots remembers where each root is, relative to the top.
func (s *Snapshotter) compileRequest(r Request, roots map[string]string) *request {
	c := &request{}
	below, ok := roots[r.Root]
	if !ok {
		var err error
		if below, err = s.relative(r.Root); err != nil {
			c.err = &Error{Path: r.Root, Reason: "is no folder at or below the top of the repository", Err: err}
			return c
		}
		roots[r.Root] = below
	}
	if below != "" {
		c.top = strings.Split(below, "/")
	}
	selects := false
	for _, text := range r.Globs {
		g, err := compileGlob(text, c.top)
		if err != nil {
			c.err = err
			return c
		}
		selects = selects || !g.negated
		c.globs = append(c.globs, g)
	}
	if !selects {
		c.err = &Error{Reason: "has no glob that selects anything", Hint: `"." stands for everything`}
		return c
	}
	c.start = c.startState()
	return c
}

func (s *Snapshotter) relative(root string) (string, error) {
	real, err := filepath.EvalSymlinks(root)
	if err != nil {
		return "", cause(err)
	}
	below, err := filepath.Rel(s.top, real)
	if err != nil {
		return "", err
	}
	below = filepath.ToSlash(below)
	if below == ".." || strings.HasPrefix(below, "../") {
		return "", errors.New("it is outside")
	}
	if below == "." {
		return "", nil
	}
	return below, nil
}

// walk scans the tree for the requests and puts the files that they select in the store.
func (s *Snapshotter) walk(ctx context.Context, requests []*request) (*node, error) {
	root := &node{}
	var states []*state
	for _, r := range requests {
		if r.err == nil {
			states = append(states, r.start)
			root.all = root.all || r.start.everything()
		}
	}
	if len(states) == 0 {
		return root, ctx.Err()
	}
	repo := findRepository(s.top, s.warn)
	sc := &scanner{top: s.top, index: s.index, clock: s.index.Clock()}
	chain := (*gitignore.Chain)(nil).With("", repo.exclude())
	if err := sc.scan(ctx, task{node: root, states: states, chain: chain, repo: repo}, runtime.GOMAXPROCS(0)); err != nil {
		return nil, err
	}
	in := intake{store: s.store, index: s.index, clock: sc.clock, top: s.top, believe: s.lazy}
	return root, in.run(ctx, root)
}

// buildAll fills results.
func buildAll(ctx context.Context, root *node, requests []*request, out *output, results []Result) error {
	var whole []*node
	for n := range root.walk {
		if n.all {
			whole = append(whole, n)
		}
	}
	slices.Reverse(whole) // the deepest first, so that a folder rarely waits for those in it
	if err := parallel(ctx, len(whole), func(i int) error { whole[i].built(out); return nil }); err != nil {
		return err
	}
	return parallel(ctx, len(requests), func(i int) error {
		results[i] = requests[i].build(root, out)
		return nil
	})
}

// parallel calls f for each number below n, on as many goroutines as there are processors.
func parallel(ctx context.Context, n int, f func(i int) error) error {
	group, inner := errgroup.WithContext(ctx)
	workers := min(n, runtime.GOMAXPROCS(0))
	var mu sync.Mutex
	next := 0
	for range workers {
		group.Go(func() error {
			for {
				mu.Lock()
				i := next
				next++
				mu.Unlock()
				if i >= n {
					return nil
				}
				if err := inner.Err(); err != nil {
					return err
				}
				if err := f(i); err != nil {
					return err
				}
			}
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}
