package fake

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/executor"
	"github.com/towpath/towpath/internal/tree"
)

// workspace is a small file system in memory. Its keys are absolute and clean.
type workspace struct {
	store cas.Store
	cwd   string

	mu    sync.Mutex
	files map[string]*file
}

type file struct {
	kind       tree.Kind
	digest     digest.Digest // of a file from the store that has not been read; else zero
	content    []byte
	executable bool
	target     string
}

const (
	// maxLinks is how many links are followed before they are taken for a circle.
	maxLinks = 40
	// maxFile is the largest input file that is read into memory.
	maxFile = 1 << 30
)

// load makes the workspace of an action. The content of files is looked for and not read.
func load(ctx context.Context, store cas.Store, a executor.Action) (*workspace, error) {
	w := &workspace{store: store, cwd: path.Join(workDir, a.Cwd), files: map[string]*file{}}
	for _, dir := range []string{"/", workDir, homeDir, tmpDir} {
		w.files[dir] = &file{kind: tree.KindDirectory}
	}
	var digests []digest.Digest
	err := tree.Walk(ctx, store, a.InputRoot, func(e tree.Entry) error {
		f := &file{kind: e.Kind, executable: e.Executable, target: e.Target}
		if e.Kind == tree.KindFile {
			f.digest = e.Digest
			digests = append(digests, e.Digest)
		}
		w.files[path.Join(workDir, e.Path)] = f
		return nil
	})
	if err != nil {
		return nil, err
	}
	missing, err := store.Missing(ctx, digests)
	if err != nil {
		return nil, err
	}
	if len(missing) > 0 {
		return nil, &cas.NotFoundError{Digest: missing[0]}
	}
	if err := w.mkdir(w.cwd); err != nil {
		return nil, &executor.InvalidError{Field: "cwd", Reason: fmt.Sprintf("folder %q cannot be made: %v", a.Cwd, err)}
	}
	return w, nil
}

// resolve returns the absolute path of p with all links followed, the last part's where follow says so. Its folder is there,
// itself need not be.
func (w *workspace) resolve(p string, follow bool) (string, error) {
	if !path.IsAbs(p) {
		p = path.Join(w.cwd, p)
	}
	todo := strings.Split(strings.Trim(path.Clean(p), "/"), "/")
	at, links := "/", 0
	for len(todo) > 0 {
		name := todo[0]
		todo = todo[1:]
		if name == ".." || name == "." || name == "" {
			at = path.Join(at, name)
			continue
		}
		next := path.Join(at, name)
		f := w.files[next]
		switch {
		case f != nil && f.kind == tree.KindSymlink && (follow || len(todo) > 0):
			if links++; links > maxLinks {
				return "", &fs.PathError{Op: "open", Path: p, Err: errors.New("too many links")}
			}
			if path.IsAbs(f.target) {
				at = "/"
			}
			todo = append(strings.Split(f.target, "/"), todo...)
			continue
		case len(todo) == 0:
		case f == nil:
			return "", &fs.PathError{Op: "open", Path: p, Err: fs.ErrNotExist}
		case f.kind != tree.KindDirectory:
			return "", &fs.PathError{Op: "open", Path: p, Err: fs.ErrInvalid}
		}
		at = next
	}
	return at, nil
}

func (w *workspace) read(ctx context.Context, p string) ([]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at, err := w.resolve(p, true)
	if err != nil {
		return nil, err
	}
	f := w.files[at]
	if f == nil || f.kind != tree.KindFile {
		return nil, &fs.PathError{Op: "read", Path: p, Err: fs.ErrNotExist}
	}
	if !f.digest.IsZero() {
		return cas.ReadAll(ctx, w.store, f.digest, maxFile)
	}
	return slices.Clone(f.content), nil
}

func (w *workspace) write(p string, content []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	at, err := w.resolve(p, true)
	if err != nil {
		return err
	}
	f := w.files[at]
	if dir := w.files[path.Dir(at)]; dir == nil || dir.kind != tree.KindDirectory || f != nil && f.kind != tree.KindFile {
		return &fs.PathError{Op: "write", Path: p, Err: fs.ErrInvalid}
	}
	w.files[at] = &file{kind: tree.KindFile, content: slices.Clone(content), executable: f != nil && f.executable}
	return nil
}

func (w *workspace) list(p string) ([]string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at, err := w.resolve(p, false)
	if err != nil {
		return nil, err
	}
	if f := w.files[at]; f == nil || f.kind != tree.KindDirectory {
		return nil, &fs.PathError{Op: "list", Path: p, Err: fs.ErrNotExist}
	}
	var names []string
	for other := range w.files {
		if other != "/" && path.Dir(other) == at {
			names = append(names, path.Base(other))
		}
	}
	slices.Sort(names)
	return names, nil
}

func (w *workspace) mkdir(p string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !path.IsAbs(p) {
		p = path.Join(w.cwd, p)
	}
	at := "/"
	for name := range strings.SplitSeq(strings.Trim(path.Clean(p), "/"), "/") {
		next, err := w.resolve(path.Join(at, name), true)
		if err != nil {
			return err
		}
		switch f := w.files[next]; {
		case f == nil:
			w.files[next] = &file{kind: tree.KindDirectory}
		case f.kind != tree.KindDirectory:
			return &fs.PathError{Op: "mkdir", Path: p, Err: fs.ErrExist}
		}
		at = next
	}
	return nil
}

func (w *workspace) symlink(target, p string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	at, err := w.resolve(p, false)
	if err != nil {
		return err
	}
	if w.files[at] != nil {
		return &fs.PathError{Op: "symlink", Path: p, Err: fs.ErrExist}
	}
	w.files[at] = &file{kind: tree.KindSymlink, target: target}
	return nil
}

func (w *workspace) chmod(p string, mode fs.FileMode) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	at, err := w.resolve(p, true)
	if err != nil {
		return err
	}
	f := w.files[at]
	if f == nil {
		return &fs.PathError{Op: "chmod", Path: p, Err: fs.ErrNotExist}
	}
	f.executable = f.kind == tree.KindFile && mode&0o111 != 0
	return nil
}

// capture stores the outputs. It does for memory what tree.Capture does for a folder on disk.
func (w *workspace) capture(ctx context.Context, store cas.Store, outputs []string, result *executor.Result) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	globs, err := tree.ParseGlobs(outputs)
	if err != nil {
		return &executor.InvalidError{Field: "outputs", Reason: err.Error()}
	}
	track, builder := globs.Track(), tree.NewBuilder(store)
	var matched []string
	for _, at := range slices.Sorted(maps.Keys(w.files)) {
		p, ok := strings.CutPrefix(at, workDir+"/")
		if !ok || !track.Match(p) {
			continue
		}
		if slices.ContainsFunc(outputs, func(o string) bool { return o == p || doublestar.MatchUnvalidated(o, p) }) {
			matched = append(matched, p)
		}
		if err := w.add(ctx, builder, store, p, w.files[at]); err != nil {
			return err
		}
	}
	root, err := builder.Build(ctx)
	if err != nil {
		return &executor.InfrastructureError{Op: "capture the outputs", Err: err}
	}
	for _, p := range matched {
		entry, err := tree.Lookup(ctx, store, root, p)
		if err != nil {
			return &executor.InfrastructureError{Op: "capture the outputs", Err: err}
		}
		result.Entries = append(result.Entries, entry)
	}
	result.Root, result.Missing = root, track.Unmatched()
	return nil
}

// add adds what is at p to the outputs.
func (w *workspace) add(ctx context.Context, builder *tree.Builder, store cas.Store, p string, f *file) error {
	var err error
	switch f.kind {
	case tree.KindDirectory:
		err = builder.EmptyDirectory(p)
	case tree.KindSymlink:
		to := path.Join(path.Dir(p), f.target)
		leads, rerr := w.resolve(path.Join(workDir, p), true)
		outside := rerr == nil && leads != workDir && !strings.HasPrefix(leads, workDir+"/")
		if path.IsAbs(f.target) {
			return &executor.OutputError{Path: p, Err: fmt.Errorf("is a symlink to %q, which is an absolute path", f.target)}
		}
		if to == ".." || strings.HasPrefix(to, "../") || outside {
			return &executor.OutputError{Path: p, Err: fmt.Errorf("is a symlink to %q, which is outside of the workspace", f.target)}
		}
		err = builder.Symlink(p, f.target)
	case tree.KindFile:
		d := f.digest
		if d.IsZero() {
			if d, err = cas.PutBytes(ctx, store, f.content); err != nil {
				return &executor.InfrastructureError{Op: "capture the outputs", Err: err}
			}
		}
		err = builder.File(p, d, f.executable)
	}
	if err != nil {
		return &executor.OutputError{Path: p, Err: err}
	}
	return nil
}
