package tree

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/digest"
)

// Builder collects paths and makes a tree of them. The order in which they come does not matter, and saying the same twice is
// allowed. It is for one goroutine.
type Builder struct {
	store cas.Store
	root  *node
}

// node is a path of a tree that is being built.
type node struct {
	entry    Entry            // its Path is not used; a directory has its Digest once it is built
	grafts   []digest.Digest  // of a directory: trees whose content belongs here
	children map[string]*node // of a directory
}

// ConflictError reports a path that was given two different contents.
type ConflictError struct {
	Path string
	A, B Entry
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("path %q has two different contents: %s and %s", e.Path, e.A.describe(), e.B.describe())
}

// Mount is a file, symlink or directory (Entry, whose own Path is not used) and the path where it goes. A directory may go to "",
// the root.
type Mount struct {
	Path  string
	Entry Entry
}

// NewBuilder returns a Builder of an empty tree.
func NewBuilder(store cas.Store) *Builder {
	return &Builder{store: store, root: newDirectory()}
}

func newDirectory() *node { return &node{entry: Entry{Kind: KindDirectory}} }

// File adds a file. Folders on its way are made.
func (b *Builder) File(path string, d digest.Digest, executable bool) error {
	return b.leaf(path, Entry{Kind: KindFile, Digest: d, Executable: executable})
}

// Symlink adds a symlink. Folders on its way are made; the target is kept as it is.
func (b *Builder) Symlink(path, target string) error {
	if reason := badTarget(target); reason != "" {
		return &PathError{Path: path, Reason: reason}
	}
	return b.leaf(path, Entry{Kind: KindSymlink, Target: target})
}

// EmptyDirectory makes sure that there is a folder at path, if only an empty one.
func (b *Builder) EmptyDirectory(path string) error {
	_, err := b.directory(path)
	return err
}

// Directory adds all of the tree d at path, where it merges with what else goes there. It is not read before Build, and then only
// where it has to be merged.
func (b *Builder) Directory(path string, d digest.Digest) error {
	n, err := b.directory(path)
	if err != nil {
		return err
	}
	n.graft(d)
	return nil
}

// Add adds a mount.
func (b *Builder) Add(m Mount) error {
	switch m.Entry.Kind {
	case KindFile:
		return b.File(m.Path, m.Entry.Digest, m.Entry.Executable)
	case KindSymlink:
		return b.Symlink(m.Path, m.Entry.Target)
	case KindDirectory:
		return b.Directory(m.Path, m.Entry.Digest)
	}
	return &PathError{Path: m.Path, Reason: "is neither a file nor a directory nor a symlink"}
}

func (b *Builder) leaf(path string, e Entry) error {
	if path == "" {
		return &PathError{Path: path, Reason: "is the root, which takes a directory"}
	}
	if err := CheckPath(path); err != nil {
		return err
	}
	dir, name := "", path
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		dir, name = path[:i], path[i+1:]
	}
	parent, err := b.directory(dir)
	if err != nil {
		return err
	}
	return parent.put(path, name, &node{entry: e})
}

// directory returns the folder at path, which is made with all folders above it where it is missing.
func (b *Builder) directory(path string) (*node, error) {
	if path == "" {
		return b.root, nil
	}
	if err := CheckPath(path); err != nil {
		return nil, err
	}
	n := b.root
	for end, start := 0, 0; end < len(path); start = end + 1 {
		end = len(path)
		if i := strings.IndexByte(path[start:], '/'); i >= 0 {
			end = start + i
		}
		child := n.children[path[start:end]]
		if child == nil {
			child = newDirectory()
			n.add(path[start:end], child)
		}
		if child.entry.Kind != KindDirectory {
			return nil, &ConflictError{Path: path[:end], A: child.entry, B: Entry{Kind: KindDirectory}}
		}
		n = child
	}
	return n, nil
}

func (n *node) add(name string, child *node) {
	if n.children == nil {
		n.children = make(map[string]*node)
	}
	n.children[name] = child
}

// put adds child, which has the given path, unless there is the same already.
func (n *node) put(path, name string, child *node) error {
	old := n.children[name]
	switch {
	case old == nil:
		n.add(name, child)
	case old.entry.Kind == KindDirectory && child.entry.Kind == KindDirectory:
		for _, d := range child.grafts {
			old.graft(d)
		}
	case old.entry != child.entry:
		return &ConflictError{Path: path, A: old.entry, B: child.entry}
	}
	return nil
}

func (n *node) graft(d digest.Digest) {
	if !slices.Contains(n.grafts, d) {
		n.grafts = append(n.grafts, d)
	}
}

// Build puts the Directory messages of the tree, and nothing else, and returns the digest of its root. The Builder is then done
// with. Whether the blobs that the tree names are in the store is not looked at: Closure tells which they are.
func (b *Builder) Build(ctx context.Context) (digest.Digest, error) {
	if err := b.build(ctx, "", b.root, 0); err != nil {
		return digest.Digest{}, fmt.Errorf("build tree: %w", err)
	}
	return b.root.entry.Digest, nil
}

// build sets the digest of n, the folder at path, after those of all below it.
func (b *Builder) build(ctx context.Context, path string, n *node, depth int) error {
	if depth > MaxDepth {
		return &PathError{Path: path, Reason: fmt.Sprintf("is deeper than %d folders", MaxDepth)}
	}
	if len(n.grafts) == 1 && len(n.children) == 0 {
		n.entry.Digest = n.grafts[0]
		return nil
	}
	for _, d := range n.grafts {
		if err := b.expand(ctx, path, n, d); err != nil {
			return err
		}
	}
	m := new(repb.Directory)
	for _, name := range slices.Sorted(maps.Keys(n.children)) {
		child := n.children[name]
		switch child.entry.Kind {
		case KindFile:
			m.Files = append(m.Files, &repb.FileNode{
				Name: name, Digest: toProto(child.entry.Digest), IsExecutable: child.entry.Executable,
			})
		case KindSymlink:
			m.Symlinks = append(m.Symlinks, &repb.SymlinkNode{Name: name, Target: child.entry.Target})
		case KindDirectory:
			if err := b.build(ctx, join(path, name), child, depth+1); err != nil {
				return err
			}
			m.Directories = append(m.Directories, &repb.DirectoryNode{Name: name, Digest: toProto(child.entry.Digest)})
		}
	}
	message, err := marshal(m)
	if err != nil {
		return err
	}
	if len(message) > MaxDirectoryBytes {
		return &PathError{Path: path, Reason: fmt.Sprintf("has too many entries: they take more than %d bytes", MaxDirectoryBytes)}
	}
	n.entry.Digest, err = cas.PutBytes(ctx, b.store, message)
	return err
}

// expand adds what is directly in the tree d to n, the folder at path; its subfolders become grafts in turn.
func (b *Builder) expand(ctx context.Context, path string, n *node, d digest.Digest) error {
	m, err := Load(ctx, b.store, d)
	if err != nil {
		return fmt.Errorf("merge into %q: %w", path, err)
	}
	for _, e := range list(m) {
		name := e.Path
		e.Path = ""
		child := &node{entry: e}
		if e.Kind == KindDirectory {
			child.grafts, child.entry.Digest = []digest.Digest{e.Digest}, digest.Digest{}
		}
		if err := n.put(join(path, name), name, child); err != nil {
			return err
		}
	}
	return nil
}

// at returns the node at path, which has to be there.
func (b *Builder) at(path string) *node {
	n := b.root
	for name := range strings.SplitSeq(path, "/") {
		if path != "" {
			n = n.children[name]
		}
	}
	return n
}

// Merge lays mounts over each other (protocol/SPEC.md, section 5): folders merge, and one path with two different contents is a
// *ConflictError.
func Merge(ctx context.Context, store cas.Store, mounts []Mount) (digest.Digest, error) {
	b := NewBuilder(store)
	for _, m := range mounts {
		if err := b.Add(m); err != nil {
			return digest.Digest{}, err
		}
	}
	return b.Build(ctx)
}
