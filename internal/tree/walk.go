package tree

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/digest"
)

// Walk calls fn for every path of the tree d except its root, sorted by the bytes of the whole path: "a", "a.txt", "a/b". So a
// folder comes before what is in it, though not always directly. When fn returns fs.SkipDir for a folder, what is in it is left
// out; for anything else, the rest of its folder is. fs.SkipAll ends the walk without an error.
func Walk(ctx context.Context, store cas.Store, d digest.Digest, fn func(Entry) error) error {
	w := &walker{ctx: ctx, store: store, fn: fn}
	if err := w.walk("", d, 0); err != nil && !errors.Is(err, fs.SkipAll) {
		return err
	}
	return nil
}

type walker struct {
	ctx   context.Context
	store cas.Store
	fn    func(Entry) error
	seen  int
}

// walk returns fs.SkipAll or an error.
func (w *walker) walk(dir string, d digest.Digest, depth int) error {
	m, err := Load(w.ctx, w.store, d)
	if err != nil {
		return fmt.Errorf("folder %q: %w", dir, err)
	}
	entries := list(m)
	if w.seen += len(entries); w.seen > MaxEntries || depth > MaxDepth {
		return &InvalidError{Digest: d, Reason: fmt.Sprintf("the tree has more than %d paths or is deeper than %d folders", MaxEntries, MaxDepth)}
	}
	skipped := map[string]bool{}
	for _, s := range stops(entries) {
		e := s.entry
		if s.content {
			if skipped[e.Path] {
				continue
			}
			if err := w.walk(join(dir, e.Path), e.Digest, depth+1); err != nil {
				return err
			}
			continue
		}
		name := e.Path
		e.Path = join(dir, name)
		err := w.fn(e)
		if errors.Is(err, fs.SkipDir) && e.Kind == KindDirectory {
			skipped[name] = true
			continue
		}
		if errors.Is(err, fs.SkipDir) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// stop is an entry of a folder, or the content of one that is a folder itself.
type stop struct {
	entry   Entry
	content bool
}

// stops returns the entries of a folder, and the content of its folders, in the order of the paths that they stand for: the
// content of "a" sorts as "a/", behind "a.txt".
func stops(entries []Entry) []stop {
	all := make([]stop, 0, len(entries))
	for _, e := range entries {
		all = append(all, stop{entry: e})
		if e.Kind == KindDirectory {
			all = append(all, stop{entry: e, content: true})
		}
	}
	slices.SortFunc(all, func(a, b stop) int { return comparePaths(a.entry.Path, a.content, b.entry.Path, b.content) })
	return all
}

// comparePaths compares the bytes of two names, to each of which "/" is added where it stands for content.
func comparePaths(a string, aContent bool, b string, bContent bool) int {
	n := min(len(a), len(b))
	if c := strings.Compare(a[:n], b[:n]); c != 0 {
		return c
	}
	at := func(s string, content bool) int {
		switch {
		case len(s) > n:
			return int(s[n])
		case content:
			return '/'
		}
		return -1
	}
	return at(a, aContent) - at(b, bContent)
}

// Lookup returns the entry at path; "" is the root. Symlinks are not followed. A path that is not there is a *NotFoundError.
func Lookup(ctx context.Context, store cas.Store, d digest.Digest, path string) (Entry, error) {
	e := Entry{Kind: KindDirectory, Digest: d}
	if path == "" {
		return e, nil
	}
	if err := CheckPath(path); err != nil {
		return Entry{}, err
	}
	for rest, more := path, true; more; {
		var name string
		name, rest, more = strings.Cut(rest, "/")
		if e.Kind != KindDirectory {
			return Entry{}, &NotFoundError{Path: path, Parent: parent(e.Path)}
		}
		m, err := Load(ctx, store, e.Digest)
		if err != nil {
			return Entry{}, fmt.Errorf("folder %q: %w", e.Path, err)
		}
		entries := list(m)
		i, ok := slices.BinarySearchFunc(entries, name, func(e Entry, name string) int { return strings.Compare(e.Path, name) })
		if !ok {
			return Entry{}, &NotFoundError{Path: path, Parent: e.Path}
		}
		entries[i].Path = join(e.Path, name)
		e = entries[i]
	}
	return e, nil
}

// parent returns the folder that path is in.
func parent(path string) string {
	return path[:max(strings.LastIndexByte(path, '/'), 0)]
}

// Closure returns the digests of all blobs that the tree d consists of, each once: its directories, itself first, and the content
// of its files. Each directory is read once, however often the tree has it.
func Closure(ctx context.Context, store cas.Store, d digest.Digest) ([]digest.Digest, error) {
	all := []digest.Digest{d}
	// A blob may be a file here and a directory there: as a directory it still has to be read.
	seen, read := map[digest.Digest]bool{d: true}, map[digest.Digest]bool{d: true}
	for todo := []digest.Digest{d}; len(todo) > 0; {
		next := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		m, err := Load(ctx, store, next)
		if err != nil {
			return nil, fmt.Errorf("closure of tree %s: %w", d.Short(), err)
		}
		for _, e := range list(m) {
			if e.Kind == KindSymlink {
				continue
			}
			if !seen[e.Digest] {
				seen[e.Digest] = true
				all = append(all, e.Digest)
			}
			if e.Kind == KindDirectory && !read[e.Digest] {
				read[e.Digest] = true
				todo = append(todo, e.Digest)
			}
		}
	}
	return all, nil
}
