package tree_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/cas/disk"
	"github.com/towpath/towpath/internal/cas/mem"
	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/nobody"
	"github.com/towpath/towpath/internal/tree"
)

// write makes the files that s describes below dir.
func write(tb testing.TB, dir string, s spec) {
	tb.Helper()
	for p, content := range s {
		target := filepath.Join(dir, filepath.FromSlash(p))
		var err error
		if strings.HasSuffix(p, "/") {
			err = os.MkdirAll(target, 0o755)
		} else if err = os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			tb.Fatal(err)
		} else if to, ok := strings.CutPrefix(content, "->"); ok {
			err = os.Symlink(to, target)
		} else if strings.HasPrefix(content, "#!") {
			err = os.WriteFile(target, []byte(content), 0o700)
		} else {
			err = os.WriteFile(target, []byte(content), 0o640)
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
}

// read is the inverse of write. It checks the permissions of what Materialize made.
func read(tb testing.TB, dir string) spec {
	tb.Helper()
	s := spec{}
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil || p == dir {
			return err
		}
		rel, _ := filepath.Rel(dir, p)
		rel = filepath.ToSlash(rel)
		if i := strings.LastIndexByte(rel, '/'); i > 0 {
			delete(s, rel[:i]+"/")
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		want := fs.FileMode(0o755)
		switch {
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
		if got := info.Mode().Perm(); got != want && runtime.GOOS != "windows" {
			tb.Errorf("%q has mode %o, want %o", rel, got, want)
		}
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// stores are the ways in which files can come out of a store.
func stores(t *testing.T, test func(t *testing.T, store cas.Store)) {
	t.Run("mem", func(t *testing.T) { test(t, mem.New()) })
	t.Run("disk", func(t *testing.T) { test(t, openDisk(t)) })
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

func TestMaterialize(t *testing.T) {
	stores(t, func(t *testing.T, store cas.Store) {
		s := spec{
			"a": "1", "x": "#!run", "empty": "", "dir/": "", "a/": "", "deep/er/file": "2", "l": "->deep/er", "out": "->/nowhere", "up": "->../..",
			"big": strings.Repeat("0123456789", 50_000),
		}
		delete(s, "a/")
		dir := t.TempDir()
		if err := tree.Materialize(t.Context(), store, build(t, store, s), dir); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(s, read(t, dir)); diff != "" {
			t.Errorf("the folder differs (-want +got):\n%s", diff)
		}
		// What is written to a file must not reach the store.
		if err := os.WriteFile(filepath.Join(dir, "big"), []byte("changed"), 0o644); err != nil {
			t.Fatal(err)
		}
		if got, err := cas.ReadAll(t.Context(), store, digest.OfBytes([]byte(s["big"])), 1<<20); err != nil || string(got) != s["big"] {
			t.Errorf("the blob after a write to its copy: %d bytes, %v", len(got), err)
		}
		if err := tree.Materialize(t.Context(), store, digest.Empty(), dir); err == nil {
			t.Error("Materialize into a folder that is not empty: no error")
		}
	})
}

func TestMaterializeFailures(t *testing.T) {
	store := mem.New()
	s := spec{"ok": "1", "d/bad": "the content", "e/gone": "2"}
	d := build(t, store, s)
	if err := store.Corrupt(digest.OfBytes([]byte("the content")), []byte("the CONTENT")); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	err := tree.Materialize(t.Context(), store, d, dir)
	var corrupt *cas.CorruptError
	if !errors.As(err, &corrupt) || !strings.Contains(err.Error(), `"d/bad"`) {
		t.Errorf("a corrupt file: %v, want a *CorruptError that names the path", err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "d", "bad")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the corrupt file was left: %v", err)
	}
	file(t, store, "the content")
	if err := store.Delete(t.Context(), digest.OfBytes([]byte("2"))); err != nil {
		t.Fatal(err)
	}
	var notFound *cas.NotFoundError
	if err := tree.Materialize(t.Context(), store, d, t.TempDir()); !errors.As(err, &notFound) || !strings.Contains(err.Error(), `"e/gone"`) {
		t.Errorf("a missing file: %v, want a *NotFoundError that names the path", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := tree.Materialize(ctx, store, d, t.TempDir()); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled context: %v", err)
	}
	if err := tree.Materialize(t.Context(), store, d, filepath.Join(dir, "not", "there")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
}

// A large file is copied by the kernel and verified afterwards: one that is damaged on the disk must not come through.
func TestMaterializeLargeDamaged(t *testing.T) {
	store := openDisk(t)
	content := strings.Repeat("0123456789", 100_000)
	d := build(t, store, spec{"big": content, "link": "->big"})
	dir := t.TempDir()
	if err := tree.Materialize(t.Context(), store, d, dir); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "big")); err != nil || string(got) != content {
		t.Errorf("the file has %d bytes, %v", len(got), err)
	}
	for what, damaged := range map[string]string{"flipped": content[:999_998] + "88", "cut": content[:999_000], "grown": content + "x"} {
		build(t, store, spec{"big": content})
		path, ok := store.Path(digest.OfBytes([]byte(content)))
		if !ok {
			t.Fatalf("%s: the blob is not there", what)
		}
		if err := errors.Join(os.Remove(path), os.WriteFile(path, []byte(damaged), 0o444)); err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		var corrupt *cas.CorruptError
		if err := tree.Materialize(t.Context(), store, d, dir); !errors.As(err, &corrupt) {
			t.Errorf("%s: %v, want a *CorruptError", what, err)
		}
		if _, err := os.Lstat(filepath.Join(dir, "big")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: the file was left: %v", what, err)
		}
	}
}

func capture(t *testing.T, store cas.Store, dir string, outputs ...string) tree.Captured {
	t.Helper()
	c, err := tree.Capture(t.Context(), store, dir, outputs)
	if err != nil {
		t.Fatalf("Capture %q: %v", outputs, err)
	}
	return c
}

// TestCaptureAtMost holds that files that are too large together are refused, and that no more is stored of them than may be.
func TestCaptureAtMost(t *testing.T) {
	dir := t.TempDir()
	s := spec{"d/a": "12345", "d/b": "67890", "d/l": "->a", "other": "1234567890"}
	write(t, dir, s)
	store := mem.New()
	if got, err := tree.CaptureAtMost(t.Context(), store, dir, []string{"d"}, 10); err != nil || len(got.Entries) != 1 {
		t.Errorf("10 bytes are %v, %v", got, err)
	}
	for most, outputs := range map[int64][]string{9: {"d"}, 14: {"**"}, 4: {"d/a"}, -1: {"d/a"}} {
		store := mem.New()
		var tooLarge *tree.TooLargeError
		if _, err := tree.CaptureAtMost(t.Context(), store, dir, outputs, most); !errors.As(err, &tooLarge) || tooLarge.Most != most {
			t.Errorf("with %d bytes the error is %v", most, err)
		}
		missing, err := store.Missing(t.Context(), []digest.Digest{digest.OfBytes([]byte("12345")), digest.OfBytes([]byte("67890")), digest.OfBytes([]byte("1234567890"))})
		stored := int64(20)
		for _, d := range missing {
			stored -= d.Size
		}
		if err != nil || stored > max(most, 0) {
			t.Errorf("with %d bytes %d are stored, %v", most, stored, err)
		}
	}
}

func TestCapture(t *testing.T) {
	dir := t.TempDir()
	s := spec{
		"dist/a.whl": "1", "dist/b.whl": "2", "dist/sub/c": "#!3", "dist/empty/": "", "dist/l": "->a.whl", "log.txt": "4", "dangling": "->not/there",
		"other/deep/x": "5", "loop": "->loop", "dirlink": "->dist",
	}
	write(t, dir, s)
	for _, c := range []struct {
		outputs, entries, missing string
		tree                      spec
	}{
		{".", "", "", s},
		{"dist", "dist", "", spec{"dist/a.whl": "1", "dist/b.whl": "2", "dist/sub/c": "#!3", "dist/empty/": "", "dist/l": "->a.whl"}},
		{"dist/*.whl log.txt", "dist/a.whl dist/b.whl log.txt", "", spec{"dist/a.whl": "1", "dist/b.whl": "2", "log.txt": "4"}},
		{"dist/s*", "dist/sub", "", spec{"dist/sub/c": "#!3"}},
		{"**/c dist/sub", "dist/sub dist/sub/c", "", spec{"dist/sub/c": "#!3"}},
		{"dist/ !dist/*.whl", "dist", "", spec{"dist/sub/c": "#!3", "dist/empty/": "", "dist/l": "->a.whl"}},
		{"dangling loop dirlink", "dangling dirlink loop", "", spec{"dangling": "->not/there", "loop": "->loop", "dirlink": "->dist"}},
		{"log.txt none none/x *.none dist/none log.txt/x dirlink/a.whl", "log.txt", "none none/x *.none dist/none log.txt/x dirlink/a.whl", spec{"log.txt": "4"}},
		{"other/**", "other other/deep other/deep/x", "", spec{"other/deep/x": "5"}},
		{"", "", "", spec{}},
	} {
		store := mem.New()
		got := capture(t, store, dir, strings.Fields(c.outputs)...)
		wantTree(t, store, got.Root, c.tree)
		var paths []string
		for _, e := range got.Entries {
			paths = append(paths, e.Path)
			if found, err := tree.Lookup(t.Context(), store, got.Root, e.Path); err != nil || found != e {
				t.Errorf("%s: the entry %+v is %+v in the tree, %v", c.outputs, e, found, err)
			}
		}
		if strings.Join(paths, " ") != c.entries || strings.Join(got.Missing, " ") != c.missing {
			t.Errorf("%s: entries %q, missing %q", c.outputs, paths, got.Missing)
		}
	}
}

func TestCaptureIsTheInverseOfMaterialize(t *testing.T) {
	stores(t, func(t *testing.T, store cas.Store) {
		s := spec{"a-": "1", "a/b/c": "#!2", "a.x": "", "e/": "", "a/l": "->../a.x"}
		for i := range 300 {
			s[fmt.Sprintf("many/%d/%d", i%7, i)] = fmt.Sprint(i)
		}
		d := build(t, store, s)
		dir := t.TempDir()
		if err := tree.Materialize(t.Context(), store, d, dir); err != nil {
			t.Fatal(err)
		}
		if got := capture(t, store, dir, "."); got.Root != d {
			t.Errorf("Capture = %v, want %v", got.Root, d)
		}
	})
}

func TestCaptureRefuses(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs sockets and symlinks as Unix has them")
	}
	outside := t.TempDir()
	write(t, outside, spec{"secret": "s"})
	for name, place := range map[string]func(dir string) error{
		"absolute": func(dir string) error {
			return os.Symlink(filepath.Join(outside, "secret"), filepath.Join(dir, "d", "bad"))
		},
		"absolute, inside": func(dir string) error { return os.Symlink(filepath.Join(dir, "ok"), filepath.Join(dir, "d", "bad")) },
		"up":               func(dir string) error { return os.Symlink("../../x", filepath.Join(dir, "d", "bad")) },
		"up and down": func(dir string) error {
			return os.Symlink("../../"+filepath.Base(dir)+"/ok", filepath.Join(dir, "d", "bad"))
		},
		"up by what is not there": func(dir string) error { return os.Symlink("gone/../../../x", filepath.Join(dir, "d", "bad")) },
		"up by a symlink": func(dir string) error {
			return errors.Join(os.Symlink(".", filepath.Join(dir, "here")), os.Symlink("../here/../here/../ok", filepath.Join(dir, "d", "bad")))
		},
		"socket": func(dir string) error {
			l, err := net.Listen("unix", filepath.Join(dir, "d", "bad"))
			if err == nil {
				t.Cleanup(func() { l.Close() })
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir, err := os.MkdirTemp("", "tow") //nolint:usetesting // a socket needs a short path
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(dir) })
			write(t, dir, spec{"ok": "1", "d/fine": "2"})
			if err := place(dir); err != nil {
				t.Fatal(err)
			}
			for _, outputs := range [][]string{{"d"}, {"d/b*"}, {"d/bad"}} {
				var refused *tree.RefusedError
				if _, err := tree.Capture(t.Context(), mem.New(), dir, outputs); !errors.As(err, &refused) || refused.Path != "d/bad" {
					t.Errorf("Capture %q: %v, want a *RefusedError for d/bad", outputs, err)
				}
			}
			capture(t, mem.New(), dir, "ok", "d/fine") // what is not asked for is in nobody's way
			capture(t, mem.New(), dir, "d", "!d/bad")
		})
	}
}

func TestCaptureRefusesNames(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a\xffb"), nil, 0o644); err != nil {
		t.Skipf("the file system refuses such names itself: %v", err)
	}
	_, err := tree.Capture(t.Context(), mem.New(), dir, []string{"*"})
	var refused *tree.RefusedError
	if !errors.As(err, &refused) || !strings.Contains(err.Error(), `"a\xffb"`) {
		t.Errorf("Capture = %v, want a *RefusedError that quotes the name", err)
	}
}

// A folder in which nothing can match is not even opened: here it could not be.
func TestCaptureLooksOnlyWhereItMust(t *testing.T) {
	if runtime.GOOS == "windows" || nobody.Run(t) {
		return
	}
	dir := t.TempDir()
	write(t, dir, spec{"a/x": "1", "closed/x": "2", "deep/a/x": "3", "deep/closed/x": "4"})
	for _, closed := range []string{"closed", "deep/closed"} {
		p := filepath.Join(dir, filepath.FromSlash(closed))
		if err := os.Chmod(p, 0); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Chmod(p, 0o755) })
	}
	for _, outputs := range [][]string{{"a"}, {"*/x", "!closed"}, {"deep/a/*"}, {"deep/*/x", "!deep/closed"}} {
		capture(t, mem.New(), dir, outputs...)
	}
}

// TestCaptureOfWhatMayNotBeRead holds that a command cannot hide its outputs from a user who is not root, whatever their permissions.
func TestCaptureOfWhatMayNotBeRead(t *testing.T) {
	if runtime.GOOS == "windows" {
		return
	}
	nobody.Run(t)
	dir := t.TempDir()
	write(t, dir, spec{"out/locked/f": "1", "out/g": "2"})
	for _, name := range []string{"out/locked/f", "out/locked", "out/g", "out"} {
		if err := os.Chmod(filepath.Join(dir, name), 0); err != nil {
			t.Fatal(err)
		}
	}
	store := mem.New()
	captured := capture(t, store, dir, "out")
	var files []string
	err := tree.Walk(t.Context(), store, captured.Root, func(e tree.Entry) error {
		if e.Kind == tree.KindFile {
			files = append(files, e.Path)
		}
		return nil
	})
	if err != nil || !slices.Equal(files, []string{"out/g", "out/locked/f"}) {
		t.Errorf("captured are %q, %v", files, err)
	}
}

// failing is a store that cannot put files.
type failing struct{ cas.Store }

func (failing) Put(context.Context, io.Reader) (digest.Digest, error) {
	return digest.Digest{}, errors.New("disk full")
}

func TestCaptureFailures(t *testing.T) {
	dir := t.TempDir()
	s := spec{}
	for i := range 200 {
		s[fmt.Sprintf("d%d/f", i)] = "1"
	}
	write(t, dir, s)
	if _, err := tree.Capture(t.Context(), failing{mem.New()}, dir, []string{"."}); err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("a store that fails: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := tree.Capture(ctx, mem.New(), dir, []string{"."}); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled context: %v", err)
	}
	if _, err := tree.Capture(t.Context(), mem.New(), dir, []string{"../x"}); err == nil {
		t.Error("an output outside: no error")
	}
	if _, err := tree.Capture(t.Context(), mem.New(), filepath.Join(dir, "none"), []string{"x"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
}

func TestCapturedEntriesAreSorted(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, spec{"a/x": "1", "a.x": "1", "a-x": "1", "b": "1"})
	got := capture(t, mem.New(), dir, "**", "b", "a/*")
	if !slices.IsSortedFunc(got.Entries, func(a, b tree.Entry) int { return strings.Compare(a.Path, b.Path) }) || len(got.Entries) != 5 {
		t.Errorf("entries: %v", got.Entries)
	}
}

func benchTree(b *testing.B, store cas.Store, n int) digest.Digest {
	builder := tree.NewBuilder(store)
	for i := range n {
		content := strings.Repeat(fmt.Sprintln(i), 200)
		if err := builder.File(fmt.Sprintf("p%d/f%d", i/50, i), file(b, store, content), false); err != nil {
			b.Fatal(err)
		}
	}
	d, err := builder.Build(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	return d
}

func BenchmarkMaterialize5000(b *testing.B) {
	store := openDisk(b)
	d := benchTree(b, store, 5000)
	for b.Loop() {
		if err := tree.Materialize(b.Context(), store, d, b.TempDir()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCapture5000(b *testing.B) {
	store := openDisk(b)
	dir := b.TempDir()
	if err := tree.Materialize(b.Context(), store, benchTree(b, store, 5000), dir); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := tree.Capture(b.Context(), store, dir, []string{"p*"}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkClosure50000(b *testing.B) {
	store := openDisk(b)
	builder := tree.NewBuilder(store)
	for i := range 50_000 {
		if err := builder.File(fmt.Sprintf("p%d/f%d", i/50, i), digest.OfBytes([]byte(fmt.Sprint(i))), false); err != nil {
			b.Fatal(err)
		}
	}
	d, err := builder.Build(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if all, err := tree.Closure(b.Context(), store, d); err != nil || len(all) != 51_001 {
			b.Fatal(len(all), err)
		}
	}
}
