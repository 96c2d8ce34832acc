package source

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/source/statindex"
)

// built is the Directory made of a folder, or the fault that it has.
type built struct {
	digest digest.Digest
	files  int // 0: there is no Directory
	fault  *Error
}

// walk yields the folder and all folders below it, each before those in it.
func (n *node) walk(yield func(*node) bool) {
	n.descend(yield)
}

func (n *node) descend(yield func(*node) bool) bool {
	if !yield(n) {
		return false
	}
	for _, f := range n.folders {
		if !f.descend(yield) {
			return false
		}
	}
	return true
}

func (n *node) folder(name string) *node {
	i, ok := slices.BinarySearchFunc(n.folders, name, func(f *node, name string) int { return strings.Compare(f.name, name) })
	if !ok {
		return nil
	}
	return n.folders[i]
}

// built returns the Directory of everything in the folder.
func (n *node) built(out *output) built {
	n.once.Do(func() {
		if n.whole.fault = n.fault; n.fault != nil {
			return
		}
		unchanged := n.unchanged()
		if unchanged {
			if d, ok := n.known.Whole(); ok {
				n.whole = built{digest: d, files: len(n.files)}
				out.add(d, message{node: n})
				return
			}
		}
		d := n.directory()
		for _, f := range n.folders {
			d.addFolder(f, f.built(out))
		}
		if n.whole = d.finish(out); unchanged && n.whole.fault == nil {
			n.known.SetWhole(n.whole.digest)
		}
	})
	return n.whole
}

// unchanged tells whether the Directory of the folder can be that of the last time, or be remembered for the next.
func (n *node) unchanged() bool {
	if n.known == nil {
		return false
	}
	for i := range n.files {
		if !n.files[i].known {
			return false // it had to be read after all
		}
	}
	return len(n.files) > 0
}

// directory returns the Directory of the files in the folder.
func (n *node) directory() *directory {
	d := &directory{}
	for i := range n.files {
		d.addFile(&n.files[i])
	}
	return d
}

// build makes the result of the request.
func (r *request) build(root *node, out *output) Result {
	if r.err != nil {
		return Result{Err: r.err}
	}
	s := selection{req: r, out: out, matched: make([]bool, len(r.globs))}
	n, st := root, r.start
	for _, name := range r.top {
		if n.fault != nil {
			return Result{Err: n.fault}
		}
		st = st.enter(name)
		if n = n.folder(name); n == nil {
			return Result{Err: r.explain(root, 0)}
		}
	}
	b := s.build(n, st)
	if b.fault != nil {
		return Result{Err: b.fault}
	}
	for g, ok := range s.matched {
		if !ok && !r.globs[g].negated {
			return Result{Err: r.explain(root, g)}
		}
	}
	return Result{Digest: b.digest, Files: b.files}
}

// selection makes the Directories of one request.
type selection struct {
	req     *request
	out     *output
	matched []bool
}

func (s *selection) build(n *node, st *state) built {
	if st.everything() && n.all {
		b := n.built(s.out)
		if b.files > 0 {
			s.mark(n, st)
		}
		if b.fault != nil {
			b.fault = b.fault.of(s.req.globs[st.done[0]].text)
		}
		return b
	}
	if n.fault != nil {
		return built{fault: n.fault}
	}
	files, folders := n.files, n.folders
	if names, ok := st.literals(); ok {
		files, folders = n.named(names)
	}
	var d directory
	for i := range files {
		first := -1
		selected := st.selects(files[i].name, func(g int) {
			s.matched[g] = true
			if first < 0 {
				first = g
			}
		})
		if selected {
			if d.addFile(&files[i]); d.fault != nil {
				return built{fault: d.fault.of(s.req.globs[first].text)}
			}
		}
	}
	for _, f := range folders {
		if next := st.enter(f.name); next != nil {
			if d.addFolder(f, s.build(f, next)); d.fault != nil {
				return built{fault: d.fault}
			}
		}
	}
	return d.finish(s.out)
}

// named returns what is there of the names, which are sorted.
func (n *node) named(names []string) (files []file, folders []*node) {
	for _, name := range names {
		i, ok := slices.BinarySearchFunc(n.files, name, func(f file, name string) int { return strings.Compare(f.name, name) })
		if ok {
			files = append(files, n.files[i])
		}
		if f := n.folder(name); f != nil {
			folders = append(folders, f)
		}
	}
	return files, folders
}

// mark notes which globs match something in a folder of which everything is selected.
func (s *selection) mark(n *node, st *state) {
	for _, g := range st.done {
		s.matched[g] = true
	}
	if !slices.ContainsFunc(st.open, func(p place) bool { return !s.matched[p.glob] }) {
		return
	}
	for i := range n.files {
		st.selects(n.files[i].name, func(g int) { s.matched[g] = true })
	}
	for _, f := range n.folders {
		if f.built(s.out).files > 0 {
			s.mark(f, st.enter(f.name))
		}
	}
}

// of returns the error with the glob that led to it.
func (e *Error) of(glob string) *Error {
	c := *e
	c.Glob = glob
	return &c
}

// explain says why glob g of the request matches nothing.
func (r *request) explain(root *node, g int) *Error {
	e := &Error{Glob: r.globs[g].text, Reason: "matches nothing"}
	alone := &request{globs: []glob{r.globs[g]}, top: r.top}
	alone.globs[0].negated = false
	var w witness
	w.look(root, alone.startState())
	later := slices.ContainsFunc(r.globs[g+1:], func(l glob) bool { return l.negated })
	switch {
	case w.rule != "":
		e.Path, e.Reason = w.path, "is ignored by "+w.rule
		e.Hint = "add it to git, or change the pattern"
	case w.symlink != "":
		e.Hint = w.symlink + " is a symlink, which globs do not go through: name what it points at"
	case slices.ContainsFunc(strings.Split(e.Glob, "/"), func(p string) bool { return p == ".git" }):
		e.Hint = ".git is always left out"
	case later:
		e.Hint = "or a later glob that starts with \"!\" takes away all that it matches"
	case w.folder:
		e.Reason, e.Hint = "matches only folders without files", "only files count, as in git"
	}
	return e
}

// witness is what a glob that matches nothing did lead to.
type witness struct {
	path, rule string // the first name that is ignored
	symlink    string // the first symlink that stands where a folder should
	folder     bool   // a folder that has no files
}

func (w *witness) look(n *node, st *state) {
	w.folder = w.folder || len(st.done) > 0
	for _, i := range n.ignored {
		if w.rule == "" && (st.selects(i.name, nil) || i.folder && st.enter(i.name) != nil) {
			w.path, w.rule = join(n.path, i.name), i.rule.String()
		}
	}
	links := slices.Clone(n.links)
	for i := range n.files {
		if n.files[i].stat.Type() == statindex.TypeSymlink {
			links = append(links, n.files[i].name)
		}
	}
	for _, name := range links {
		if w.symlink == "" && st.enter(name) != nil {
			w.symlink = join(n.path, name)
		}
	}
	for _, f := range n.folders {
		if next := st.enter(f.name); next != nil {
			w.look(f, next)
		}
	}
}

// directory encodes a Directory message. Its nodes must be added in the order of their names. The encoding is that of the
// protocol buffers library: fields by number, none that is zero.
type directory struct {
	files, folders, symlinks []byte
	scratch                  []byte
	count                    int
	fault                    *Error
}

// Tags: the number of the field and its wire type.
const (
	tagFiles, tagFolders, tagSymlinks = 1<<3 | 2, 2<<3 | 2, 3<<3 | 2 // in Directory
	tagName, tagDigest, tagExecutable = 1<<3 | 2, 2<<3 | 2, 4 << 3   // in FileNode and DirectoryNode
	tagTarget                         = 2<<3 | 2                     // in SymlinkNode
	tagHash, tagSize                  = 1<<3 | 2, 2 << 3             // in Digest
)

func (d *directory) addFile(f *file) {
	if f.fault != nil && d.fault == nil {
		d.fault = f.fault
	}
	d.count++
	b := appendBytes(d.scratch[:0], tagName, f.name)
	if f.stat.Type() == statindex.TypeSymlink {
		b = appendBytes(b, tagTarget, f.target)
		d.symlinks = appendMessage(d.symlinks, tagSymlinks, b)
	} else {
		b = appendDigest(b, f.digest)
		if f.stat.Mode&statindex.Executable != 0 {
			b = append(b, tagExecutable, 1)
		}
		d.files = appendMessage(d.files, tagFiles, b)
	}
	d.scratch = b
}

func (d *directory) addFolder(n *node, sub built) {
	if sub.fault != nil && d.fault == nil {
		d.fault = sub.fault
	}
	if sub.files == 0 {
		return
	}
	if !utf8.ValidString(n.name) && d.fault == nil {
		d.fault = notUTF8(n.path)
	}
	d.count += sub.files
	b := appendDigest(appendBytes(d.scratch[:0], tagName, n.name), sub.digest)
	d.folders = appendMessage(d.folders, tagFolders, b)
	d.scratch = b
}

func (d *directory) finish(out *output) built {
	if d.fault != nil {
		return built{fault: d.fault}
	}
	if d.count == 0 {
		return built{}
	}
	encoded := d.bytes()
	b := built{digest: digest.OfBytes(encoded), files: d.count}
	out.add(b.digest, message{encoded: encoded})
	return b
}

func (d *directory) bytes() []byte { return slices.Concat(d.files, d.folders, d.symlinks) }

func appendBytes(b []byte, tag byte, s string) []byte {
	if s == "" {
		return b
	}
	b = binary.AppendUvarint(append(b, tag), uint64(len(s)))
	return append(b, s...)
}

func appendMessage(b []byte, tag byte, message []byte) []byte {
	b = binary.AppendUvarint(append(b, tag), uint64(len(message)))
	return append(b, message...)
}

func appendDigest(b []byte, d digest.Digest) []byte {
	length := 2 + 2*len(d.Hash)
	var size [1 + binary.MaxVarintLen64]byte
	n := 0
	if d.Size != 0 {
		size[0] = tagSize
		n = 1 + binary.PutUvarint(size[1:], uint64(d.Size))
	}
	b = append(b, tagDigest, byte(length+n), tagHash, byte(2*len(d.Hash)))
	b = hex.AppendEncode(b, d.Hash[:])
	return append(b, size[:n]...)
}

// output collects Directories for the store.
type output struct {
	store    cas.Store
	mu       sync.Mutex
	messages map[digest.Digest]message
}

// message is an encoded Directory, or the folder to make it of when it is needed: one that has not changed.
type message struct {
	encoded []byte
	node    *node
}

func newOutput(store cas.Store) *output {
	return &output{store: store, messages: make(map[digest.Digest]message)}
}

func (o *output) add(d digest.Digest, m message) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.messages[d] = m
}

// put puts what the store does not have.
func (o *output) put(ctx context.Context) error {
	all := make([]digest.Digest, 0, len(o.messages))
	for d := range o.messages {
		all = append(all, d)
	}
	missing, err := missingOf(ctx, o.store, all)
	if err != nil {
		return err
	}
	return parallel(ctx, len(missing), func(i int) error {
		m := o.messages[missing[i]]
		if m.node != nil {
			m.encoded = m.node.directory().bytes()
			if digest.OfBytes(m.encoded) != missing[i] {
				return fmt.Errorf("the stat index has a wrong digest of the folder %q: remove the index", orTop(m.node.path))
			}
		}
		_, err := o.store.Put(ctx, bytes.NewReader(m.encoded))
		return err
	})
}
