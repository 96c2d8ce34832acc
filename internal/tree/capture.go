package tree

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/digest"
)

// Captured is what Capture found.
type Captured struct {
	// Entries has one entry for each path that an output matched, sorted by the bytes of the paths. A folder is one entry, with all
	// that is below it.
	Entries []Entry
	// Root is the tree of all of them, at their paths.
	Root digest.Digest
	// Missing are the outputs that matched nothing, as they were written.
	Missing []string
}

// RefusedError reports a path that matches an output and that no tree can hold.
type RefusedError struct {
	Path   string
	Reason string
}

func (e *RefusedError) Error() string { return fmt.Sprintf("output %q %s", e.Path, e.Reason) }

// TooLargeError reports that what outputs match takes more bytes than it may.
type TooLargeError struct{ Most int64 }

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("the outputs take more than %d bytes", e.Most)
}

// CaptureAtMost is Capture of files that take at most so many bytes. No more are put into the store: what is too large may be as large as the disk.
func CaptureAtMost(ctx context.Context, store cas.Store, dir string, outputs []string, most int64) (Captured, error) {
	globs, err := ParseGlobs(outputs)
	if err != nil {
		return Captured{}, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Captured{}, fmt.Errorf("capture: %w", err)
	}
	defer root.Close()
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(workers())
	c := &capturer{
		ctx: groupCtx, store: store, root: root, group: group,
		globs: globs, track: globs.Track(), out: NewBuilder(store), most: most,
	}
	err = c.roots()
	if werr := group.Wait(); werr != nil {
		err = werr
	}
	if err != nil {
		return Captured{}, fmt.Errorf("capture: %w", err)
	}
	return c.finish(ctx)
}

// Capture puts into the store what outputs, paths or globs relative to the folder dir, match there. Folders are taken with all that is
// below them. Symlinks are kept as symlinks and never followed; one that leads out of dir is refused, and so are sockets, pipes,
// devices, and names that are not UTF-8. What its owner may not read is made readable for that first, as it is to root. Only folders in which something can match are looked into.
//
// An output that matches nothing is no error here: see Captured.Missing.
func Capture(ctx context.Context, store cas.Store, dir string, outputs []string) (Captured, error) {
	return CaptureAtMost(ctx, store, dir, outputs, math.MaxInt64)
}

type capturer struct {
	ctx   context.Context
	store cas.Store
	root  *os.Root // the whole workspace
	group *errgroup.Group
	globs Globs
	track *Tracker

	matched []string // paths that outputs name

	most, size int64 // of files, in bytes

	mu  sync.Mutex // what workers write
	out *Builder
}

// roots captures what is at or below the fixed beginnings of the globs.
func (c *capturer) roots() error {
	for _, start := range c.globs.Roots() {
		if start == "" {
			c.match("")
			if err := c.folder("", c.root); err != nil {
				return err
			}
			continue
		}
		if err := c.start(start); err != nil {
			return err
		}
	}
	return nil
}

// start captures the path start, if it is there, going down to it without following symlinks.
func (c *capturer) start(start string) error {
	dir, at := c.root, ""
	for rest, more := start, true; more; {
		var name string
		name, rest, more = strings.Cut(rest, "/")
		info, err := dir.Lstat(name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		at = join(at, name)
		if err != nil {
			return named(at, err)
		}
		if !more {
			return c.path(at, dir, info)
		}
		if !info.IsDir() {
			return nil
		}
		if dir, err = openDir(at, dir, info); err != nil {
			return err
		}
		defer dir.Close()
	}
	return nil
}

// openDir opens the folder that info describes, in dir and at the path at. The check holds a symlink off that took its place in between.
func openDir(at string, dir *os.Root, info fs.FileInfo) (*os.Root, error) {
	if info.Mode()&0o500 != 0o500 {
		if err := dir.Chmod(info.Name(), 0o700); err != nil && !errors.Is(err, fs.ErrPermission) {
			return nil, named(at, err)
		}
	}
	sub, err := dir.OpenRoot(info.Name())
	if err != nil {
		return nil, named(at, err)
	}
	now, err := sub.Lstat(".")
	if err == nil && !os.SameFile(info, now) {
		err = errReplaced
	}
	if err != nil {
		sub.Close()
		return nil, named(at, err)
	}
	return sub, nil
}

var errReplaced = errors.New("it was replaced while it was read")

// named is an error of the path at, whatever that was called when it was met.
func named(at string, err error) error {
	if inner, ok := errors.AsType[*fs.PathError](err); ok {
		return &fs.PathError{Op: inner.Op, Path: at, Err: inner.Err}
	}
	return &fs.PathError{Op: "capture", Path: at, Err: err}
}

// folder captures what is taken in dir, which is at the path at.
func (c *capturer) folder(at string, dir *os.Root) error {
	if strings.Count(at, "/") >= MaxDepth {
		return &RefusedError{Path: at, Reason: fmt.Sprintf("is deeper than %d folders", MaxDepth)}
	}
	f, err := dir.Open(".")
	if err != nil {
		return named(at, err)
	}
	entries, err := f.ReadDir(-1)
	f.Close()
	if err != nil {
		return named(at, err)
	}
	for _, e := range entries {
		p := join(at, e.Name())
		if !c.globs.Match(p) && (!e.IsDir() || c.globs.Below(p) == None) {
			c.track.Match(p)
			continue
		}
		info, err := dir.Lstat(e.Name())
		if err != nil {
			return named(p, err)
		}
		if err := c.path(p, dir, info); err != nil {
			return err
		}
	}
	return c.ctx.Err()
}

// path captures the path at, which info describes and which is in dir, if it is taken, and what is taken below it.
func (c *capturer) path(at string, dir *os.Root, info fs.FileInfo) error {
	taken := c.track.Match(at)
	if taken {
		if reason := badName(info.Name()); reason != "" {
			return &RefusedError{Path: at, Reason: reason}
		}
	}
	switch mode := info.Mode(); {
	case mode.IsDir():
		return c.directory(at, dir, info, taken)
	case !taken:
		return nil
	case mode.IsRegular():
		return c.file(at, dir, info)
	case mode.Type() == fs.ModeSymlink:
		return c.symlink(at, dir, info)
	default:
		return &RefusedError{Path: at, Reason: fmt.Sprintf("is %s, which a tree cannot hold", special(mode))}
	}
}

// match notes that an output names the path itself, if one does.
func (c *capturer) match(at string) {
	if slices.ContainsFunc(c.globs.globs, func(g glob) bool { return !g.negated && g.exact(at) }) {
		c.matched = append(c.matched, at)
		c.track.Match(at)
	}
}

func (c *capturer) add(m Mount) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out.Add(m)
}

func (c *capturer) directory(at string, dir *os.Root, info fs.FileInfo, taken bool) error {
	if taken {
		c.match(at)
		c.mu.Lock()
		err := c.out.EmptyDirectory(at)
		c.mu.Unlock()
		if err != nil {
			return err
		}
	}
	if c.globs.Below(at) == None {
		return nil
	}
	sub, err := openDir(at, dir, info)
	if err != nil {
		return err
	}
	defer sub.Close()
	return c.folder(at, sub)
}

func (c *capturer) symlink(at string, dir *os.Root, info fs.FileInfo) error {
	target, err := dir.Readlink(info.Name())
	if err != nil {
		return named(at, err)
	}
	if reason := badTarget(target); reason != "" {
		return &RefusedError{Path: at, Reason: reason}
	}
	if isAbsolute(target) {
		return &RefusedError{Path: at, Reason: fmt.Sprintf("is a symlink to %q, which is an absolute path: one that is relative leads to the same place wherever the output is", target)}
	}
	if !c.staysInside(at, target) {
		return &RefusedError{Path: at, Reason: fmt.Sprintf("is a symlink to %q, which is outside of the workspace", target)}
	}
	c.match(at)
	return c.add(Mount{Path: at, Entry: Entry{Kind: KindSymlink, Target: filepath.ToSlash(target)}})
}

func isAbsolute(target string) bool {
	return path.IsAbs(filepath.ToSlash(target)) || filepath.IsAbs(target) || filepath.VolumeName(target) != ""
}

// staysInside tells whether the relative symlink at leads to a place in the workspace, be there something or not: both as it is written, and
// as it is once symlinks on the way are followed, which os.Root does and refuses to leave.
func (c *capturer) staysInside(at, target string) bool {
	slashed := filepath.ToSlash(target)
	if to := path.Join(parent(at), slashed); to == ".." || strings.HasPrefix(to, "../") {
		return false
	}
	_, err := c.root.Stat(filepath.FromSlash(at))
	return err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || isLoop(err)
}

func (c *capturer) file(at string, dir *os.Root, info fs.FileInfo) error {
	if info.Size() > c.most-c.size {
		return &TooLargeError{c.most}
	}
	c.size += info.Size()
	if info.Mode()&0o400 == 0 {
		if err := dir.Chmod(info.Name(), 0o600); err != nil && !errors.Is(err, fs.ErrPermission) {
			return named(at, err)
		}
	}
	// The folder may be closed when the worker comes to the file: it is opened here.
	f, err := dir.OpenFile(info.Name(), os.O_RDONLY|nonBlocking, 0)
	if err != nil {
		return named(at, err)
	}
	c.match(at)
	c.group.Go(func() error {
		defer f.Close()
		now, err := f.Stat()
		if err != nil {
			return err
		}
		if !os.SameFile(info, now) {
			return named(at, errReplaced)
		}
		d, err := c.store.Put(c.ctx, f)
		if err != nil {
			return fmt.Errorf("file %q: %w", at, err)
		}
		return c.add(Mount{Path: at, Entry: Entry{Kind: KindFile, Digest: d, Executable: info.Mode()&0o111 != 0}})
	})
	return c.ctx.Err()
}

// finish builds the tree and takes from it what was not known before.
func (c *capturer) finish(ctx context.Context) (Captured, error) {
	rootDigest, err := c.out.Build(ctx)
	if err != nil {
		return Captured{}, fmt.Errorf("capture: %w", err)
	}
	slices.Sort(c.matched)
	entries := make([]Entry, len(c.matched))
	for i, p := range c.matched {
		entries[i] = c.out.at(p).entry
		entries[i].Path = p
	}
	return Captured{Entries: entries, Root: rootDigest, Missing: c.track.Unmatched()}, nil
}

func special(mode fs.FileMode) string {
	switch {
	case mode&fs.ModeSocket != 0:
		return "a socket"
	case mode&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case mode&fs.ModeDevice != 0:
		return "a device"
	}
	return "neither a file nor a folder nor a symlink"
}
