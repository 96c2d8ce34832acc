//go:build unix

package checkout_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/cas/disk"
	"github.com/towpath/towpath/internal/cas/mem"
	"github.com/towpath/towpath/internal/checkout"
	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/nobody"
	"github.com/towpath/towpath/internal/tree"
)

// spec describes a tree: content by path. "->" begins a symlink, "#!" an executable file, and "/" ends an empty folder.
type spec map[string]string

func build(tb testing.TB, store cas.Store, s spec) digest.Digest {
	tb.Helper()
	b := tree.NewBuilder(store)
	for p, content := range s {
		var err error
		if dir, ok := strings.CutSuffix(p, "/"); ok {
			err = b.EmptyDirectory(dir)
		} else if to, ok := strings.CutPrefix(content, "->"); ok {
			err = b.Symlink(p, to)
		} else {
			d, perr := cas.PutBytes(tb.Context(), store, []byte(content))
			err = errors.Join(perr, b.File(p, d, strings.HasPrefix(content, "#!")))
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
	d, err := b.Build(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

// read is the inverse of build. Everything has to have the permissions and the time of a checkout.
func read(t *testing.T, dir string) spec {
	t.Helper()
	s := spec{}
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, p)
		if i := strings.LastIndexByte(rel, '/'); i > 0 {
			delete(s, rel[:i]+"/")
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if !info.ModTime().Equal(time.Unix(315532800, 0)) {
			t.Errorf("%q was changed at %v", rel, info.ModTime())
		}
		want := fs.FileMode(0o755)
		switch {
		case rel == ".":
		case e.IsDir():
			s[rel+"/"] = ""
		case e.Type() == fs.ModeSymlink:
			to, err := os.Readlink(p)
			s[rel] = "->" + to
			return err
		default:
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			s[rel] = string(b)
			if !strings.HasPrefix(s[rel], "#!") {
				want = 0o644
			}
		}
		if got := info.Mode() &^ fs.ModeDir; got != want {
			t.Errorf("%q has mode %v, want %v", rel, got, want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func open(tb testing.TB, store cas.Store, dir string) *checkout.Checkouts {
	tb.Helper()
	c, err := checkout.Open(checkout.Config{Store: store, Dir: dir, UID: -1, GID: -1})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() })
	return c
}

func openDisk(tb testing.TB) *disk.Store {
	tb.Helper()
	s, err := disk.Open(tb.TempDir())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.Close() })
	return s
}

// folder returns the folder of d, which has to hold what s says.
func folder(t *testing.T, c *checkout.Checkouts, d digest.Digest, s spec) string {
	t.Helper()
	path, err := c.Folder(t.Context(), d)
	if err != nil {
		t.Fatalf("Folder: %v", err)
	}
	if !filepath.IsAbs(path) {
		t.Errorf("the path %q is not absolute", path)
	}
	if diff := cmp.Diff(s, read(t, path)); diff != "" {
		t.Errorf("the folder differs (-want +got):\n%s", diff)
	}
	return path
}

func stat(t *testing.T, path string) *syscall.Stat_t {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t)
}

// temporary returns what is in the making, or was left there.
func temporary(t *testing.T, dir string) []string {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(dir, "tmp", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, p := range left {
		if filepath.Base(p) != "lock" {
			out = append(out, p)
		}
	}
	return out
}

func example() spec {
	return spec{
		"a": "1", "x": "#!run", "empty": "", "dir/": "", "deep/er/file": "2", "l": "->deep/er", "out": "->/nowhere", "up": "->../..",
		"big": strings.Repeat("0123456789", 50_000), "also": "1", "deep/x": "#!run",
	}
}

func TestFolder(t *testing.T) {
	nobody.Run(t) // and as whoever runs the tests
	for name, store := range map[string]cas.Store{"mem": mem.New(), "disk": openDisk(t)} {
		t.Run(name, func(t *testing.T) {
			s := example()
			d := build(t, store, s)
			dir := t.TempDir()
			c := open(t, store, dir)
			path := folder(t, c, d, s)
			before := stat(t, path)
			if again := folder(t, c, d, s); again != path || stat(t, path).Ino != before.Ino {
				t.Error("the second use made another folder")
			}
			if other := folder(t, open(t, store, dir), d, s); other != path || stat(t, path).Ino != before.Ino {
				t.Error("another process made another folder")
			}
			folder(t, c, build(t, store, spec{}), spec{})
			if left := temporary(t, dir); len(left) > 0 {
				t.Errorf("left in tmp: %v", left)
			}
		})
	}
}

// The umask of who makes a tree cannot be seen in it, nor can its folder's group.
func TestUmask(t *testing.T) {
	if os.Getenv("TOWPATH_TEST_UMASK") == "" {
		cmd := child(t, "", "-test.run=^TestUmask$")
		cmd.Env = append(os.Environ(), "TOWPATH_TEST_UMASK=077")
		if err := cmd.Run(); err != nil {
			t.Fatalf("with another umask: %v", err)
		}
		return
	}
	syscall.Umask(0o077)
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o2755|fs.ModeSetgid); err != nil {
		t.Fatal(err)
	}
	store := mem.New()
	path := folder(t, open(t, store, dir), build(t, store, example()), example())
	for up := path; up != dir; up = filepath.Dir(up) {
		if mode := stat(t, up).Mode & 0o777; mode != 0o755 {
			t.Errorf("%s has mode %o, so that not everyone can use the tree", up, mode)
		}
	}
}

// A tree in which little has changed shares the files of the one before.
func TestFilesAreShared(t *testing.T) {
	store := mem.New()
	s := example()
	c := open(t, store, t.TempDir())
	one := folder(t, c, build(t, store, s), s)
	s["a"], s["new/big"] = "changed", s["big"]
	two := folder(t, c, build(t, store, s), s)
	for _, names := range [][2]string{{"big", "big"}, {"big", "new/big"}, {"x", "deep/x"}, {"also", "also"}} {
		if a, b := stat(t, filepath.Join(one, names[0])), stat(t, filepath.Join(two, names[1])); a.Ino != b.Ino {
			t.Errorf("%s and %s are two files", names[0], names[1])
		}
	}
	// The same content with other permissions is another file.
	b := tree.NewBuilder(store)
	if err := errors.Join(b.File("a", digest.OfBytes([]byte("1")), true), b.File("b", digest.OfBytes([]byte("1")), false)); err != nil {
		t.Fatal(err)
	}
	d, err := b.Build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	path, err := c.Folder(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := stat(t, filepath.Join(path, "a")), stat(t, filepath.Join(path, "b")); a.Mode&0o777 != 0o755 || b.Mode&0o777 != 0o644 {
		t.Errorf("modes %o and %o", a.Mode, b.Mode)
	}
}

// Nothing of a checkout is a link to the store: what damages one must not damage the other.
func TestStoreIsNotShared(t *testing.T) {
	store := openDisk(t)
	s := example()
	path := folder(t, open(t, store, t.TempDir()), build(t, store, s), s)
	blob, ok := store.Path(digest.OfBytes([]byte(s["big"])))
	if !ok || stat(t, blob).Ino == stat(t, filepath.Join(path, "big")).Ino {
		t.Error("the file is the blob itself")
	}
}

func TestOwner(t *testing.T) {
	nobody.Run(t) // and as whoever runs the tests
	store, dir := mem.New(), t.TempDir()
	c, err := checkout.Open(checkout.Config{Store: store, Dir: dir, UID: 1234, GID: 2345})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	d := build(t, store, example())
	if os.Getuid() != 0 {
		if _, err := c.Folder(t.Context(), d); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("an ordinary user gives files away: %v", err)
		}
		return
	}
	given := folder(t, c, d, example())
	err = filepath.WalkDir(given, func(p string, _ fs.DirEntry, err error) error {
		if s := stat(t, p); s.Uid != 1234 || s.Gid != 2345 {
			t.Errorf("%s belongs to %d:%d", p, s.Uid, s.Gid)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if own := folder(t, open(t, store, dir), d, example()); own == given || stat(t, own).Uid != 0 {
		t.Error("who wants files of its own gets those of another")
	}
}

// Whatever happens to a tree between two processes is seen by the second, and it makes what it needs.
func TestDamageIsFound(t *testing.T) {
	if nobody.Run(t) {
		return // root's writes do not need permission, and the owner's are what is tested
	}
	for name, damage := range map[string]func(dir string) error{
		"content": func(dir string) error { return os.WriteFile(filepath.Join(dir, "a"), []byte("2"), 0o644) },
		"grown": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "deep/x"), []byte("more content"), 0o755)
		},
		"removed": func(dir string) error { return os.Remove(filepath.Join(dir, "deep/er/file")) },
		"added":   func(dir string) error { return os.WriteFile(filepath.Join(dir, "dir/more"), nil, 0o644) },
		"added, then the time": func(dir string) error {
			return errors.Join(os.WriteFile(filepath.Join(dir, "dir/more"), nil, 0o644), os.Chtimes(filepath.Join(dir, "dir"), time.Time{}, time.Unix(315532800, 0)))
		},
		"mode":   func(dir string) error { return os.Chmod(filepath.Join(dir, "a"), 0o755) },
		"folder": func(dir string) error { return os.Chmod(filepath.Join(dir, "deep"), 0o700) },
		"time":   func(dir string) error { return os.Chtimes(filepath.Join(dir, "x"), time.Time{}, time.Now()) },
		"symlink": func(dir string) error {
			return errors.Join(os.Remove(filepath.Join(dir, "l")), os.Symlink("x", filepath.Join(dir, "l")))
		},
		"everything": func(dir string) error { return errors.Join(os.RemoveAll(dir), os.WriteFile(dir, nil, 0o644)) },
	} {
		t.Run(name, func(t *testing.T) {
			store, dir := openDisk(t), t.TempDir()
			s := example()
			d := build(t, store, s)
			path := folder(t, open(t, store, dir), d, s)
			if err := damage(path); err != nil {
				t.Fatal(err)
			}
			other := example()
			other["one more"] = ""
			c := open(t, store, dir)
			folder(t, c, build(t, store, other), other) // has the same files and must not get them damaged
			folder(t, c, d, s)
			if left := temporary(t, dir); len(left) > 0 {
				t.Errorf("left in tmp: %v", left)
			}
		})
	}
}

func TestFailures(t *testing.T) {
	store, dir := mem.New(), t.TempDir()
	s := spec{"ok": "1", "d/bad": "the content", "e/gone": "2"}
	d := build(t, store, s)
	c := open(t, store, dir)
	bad := digest.OfBytes([]byte("the content"))
	if err := store.Corrupt(bad, []byte("the CONTENT")); err != nil {
		t.Fatal(err)
	}
	var corrupt *cas.CorruptError
	if _, err := c.Folder(t.Context(), d); !errors.As(err, &corrupt) || corrupt.Digest != bad || !strings.Contains(err.Error(), `"d/bad"`) {
		t.Errorf("a corrupt file: %v, want a *CorruptError that names the path", err)
	}
	gone := digest.OfBytes([]byte("2"))
	if err := errors.Join(store.Delete(t.Context(), bad), store.Delete(t.Context(), gone)); err != nil {
		t.Fatal(err)
	}
	build(t, store, spec{"f": "the content"})
	var notFound *cas.NotFoundError
	// Elsewhere: here the file may have been kept when the first attempt failed.
	if _, err := open(t, store, t.TempDir()).Folder(t.Context(), d); !errors.As(err, &notFound) || notFound.Digest != gone {
		t.Errorf("a missing file: %v, want a *NotFoundError", err)
	}
	if _, err := c.Folder(t.Context(), digest.OfBytes([]byte("no directory"))); !errors.As(err, &notFound) {
		t.Errorf("a missing directory: %v, want a *NotFoundError", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := open(t, store, t.TempDir()).Folder(ctx, d); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled context: %v", err)
	}
	if left := temporary(t, dir); len(left) > 0 {
		t.Errorf("left in tmp: %v", left)
	}
	// A failure is not remembered.
	build(t, store, s)
	folder(t, c, d, s)
}

// gated is a store in which the first Open waits.
type gated struct {
	cas.Store
	once    sync.Once
	entered chan struct{}
}

func (g *gated) Open(ctx context.Context, d digest.Digest) (io.ReadCloser, error) {
	wait := false
	g.once.Do(func() { wait = true })
	if wait {
		close(g.entered)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return g.Store.Open(ctx, d)
}

// Who waits for another's tree is not cancelled with it.
func TestCancelledWhileOthersWait(t *testing.T) {
	inner := mem.New()
	s := example()
	d := build(t, inner, s)
	store := &gated{Store: inner, entered: make(chan struct{})}
	c := open(t, store, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error)
	go func() {
		_, err := c.Folder(ctx, d)
		first <- err
	}()
	<-store.entered
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { folder(t, c, d, s) })
	}
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("who was cancelled: %v", err)
	}
	wg.Wait()
}

func many(n int) spec {
	s := spec{}
	for i := range n {
		s[fmt.Sprintf("p%d/f%d", i/50, i)] = strings.Repeat(fmt.Sprintln(i%(n/2+1)), i%100)
	}
	return s
}

func TestGoroutines(t *testing.T) {
	store := openDisk(t)
	c := open(t, store, t.TempDir())
	var wg sync.WaitGroup
	for i := range 16 {
		s := many(300 + i/4)
		d := build(t, store, s)
		wg.Go(func() { folder(t, c, d, s) })
	}
	wg.Wait()
}
