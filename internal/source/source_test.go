package source_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/cas/mem"
	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/nobody"
	"github.com/towpath/towpath/internal/source"
	"github.com/towpath/towpath/internal/tree"
)

// fixture is a work tree with a store and a stat index outside of it.
type fixture struct {
	t     testing.TB
	top   string
	index string
	store cas.Store
	warns []string
}

func newFixture(t testing.TB) *fixture {
	return &fixture{t: t, top: t.TempDir(), index: filepath.Join(t.TempDir(), "index"), store: mem.New()}
}

func (f *fixture) path(name string) string { return filepath.Join(f.top, filepath.FromSlash(name)) }

func (f *fixture) write(name, content string) {
	f.t.Helper()
	must(f.t, os.MkdirAll(filepath.Dir(f.path(name)), 0o755))
	must(f.t, os.WriteFile(f.path(name), []byte(content), 0o644))
}

func (f *fixture) symlink(target, name string) {
	f.t.Helper()
	must(f.t, os.MkdirAll(filepath.Dir(f.path(name)), 0o755))
	if err := os.Symlink(target, f.path(name)); err != nil {
		f.t.Skipf("no symlinks here: %v", err)
	}
}

func (f *fixture) git(args ...string) string {
	f.t.Helper()
	return runGit(f.t, f.top, args...)
}

type fataler interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

func runGit(t fataler, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_SYSTEM="+os.DevNull, "XDG_CONFIG_HOME="+dir,
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return string(out)
}

func must(t fataler, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) open() *source.Snapshotter {
	f.t.Helper()
	s, err := source.Open(source.Config{Store: f.store, Repository: f.top, IndexFile: f.index, Warn: func(err error) { f.warns = append(f.warns, err.Error()) }})
	must(f.t, err)
	return s
}

// take snapshots the globs relative to the top, with a Snapshotter of its own.
func (f *fixture) take(globs ...string) source.Result {
	f.t.Helper()
	s := f.open()
	results, err := s.Snapshot(f.t.Context(), []source.Request{{Root: f.top, Globs: globs}})
	must(f.t, err)
	must(f.t, s.Close(f.t.Context()))
	return results[0]
}

// files snapshots the globs and lists what is in the snapshot: "path", "path*" for an executable, "path -> target".
func (f *fixture) files(globs ...string) []string {
	f.t.Helper()
	r := f.take(globs...)
	must(f.t, r.Err)
	return list(f.t, f.store, r)
}

func list(t fataler, store cas.Store, r source.Result) []string {
	t.Helper()
	var all []string
	var walk func(d digest.Digest, prefix string)
	walk = func(d digest.Digest, prefix string) {
		dir, err := tree.Load(context.Background(), store, d)
		must(t, err)
		for _, n := range dir.Files {
			name := prefix + n.Name
			if n.IsExecutable {
				name += "*"
			}
			content, err := digest.Parse(n.Digest.Hash + "/" + strconv.FormatInt(n.Digest.SizeBytes, 10))
			must(t, err)
			if missing, err := store.Missing(context.Background(), []digest.Digest{content}); err != nil || len(missing) > 0 {
				t.Fatalf("the content of %s is not in the store (%v)", name, err)
			}
			all = append(all, name)
		}
		for _, n := range dir.Symlinks {
			all = append(all, prefix+n.Name+" -> "+n.Target)
		}
		for _, n := range dir.Directories {
			sub, err := digest.Parse(n.Digest.Hash + "/" + strconv.FormatInt(n.Digest.SizeBytes, 10))
			must(t, err)
			walk(sub, prefix+n.Name+"/")
		}
	}
	walk(r.Digest, "")
	slices.Sort(all)
	if len(all) != r.Files {
		t.Fatalf("the snapshot has %d files and says %d", len(all), r.Files)
	}
	return all
}

func (f *fixture) wantFiles(globs []string, want ...string) {
	f.t.Helper()
	if diff := cmp.Diff(want, f.files(globs...)); diff != "" {
		f.t.Errorf("globs %q (-want +got):\n%s", globs, diff)
	}
}

// wantError checks the typed error of a source and returns it.
func (f *fixture) wantError(globs []string, path, reason string) *source.Error {
	f.t.Helper()
	r := f.take(globs...)
	var e *source.Error
	if !errors.As(r.Err, &e) {
		f.t.Fatalf("globs %q: error %v, want one with %q", globs, r.Err, reason)
	}
	if e.Path != path || !strings.Contains(e.Reason, reason) {
		f.t.Errorf("globs %q: error %q (path %q), want path %q and %q", globs, e, e.Path, path, reason)
	}
	return e
}

func TestGlobs(t *testing.T) {
	f := newFixture(t)
	for _, name := range []string{"a.py", "b.txt", "src/a.py", "src/b.txt", "src/deep/er/c.py", "src/vendor/v.py", "tests/t.py", "[x].py", "{y}.py", ".hidden/h.py"} {
		f.write(name, name)
	}
	for _, tt := range []struct {
		globs []string
		want  string
	}{
		{[]string{"."}, ".hidden/h.py [x].py a.py b.txt src/a.py src/b.txt src/deep/er/c.py src/vendor/v.py tests/t.py {y}.py"},
		{[]string{"a.py"}, "a.py"},
		{[]string{"./a.py", "src/"}, "a.py src/a.py src/b.txt src/deep/er/c.py src/vendor/v.py"},
		{[]string{"*.py"}, "[x].py a.py {y}.py"},
		{[]string{"**/*.py", "!src"}, ".hidden/h.py [x].py a.py tests/t.py {y}.py"},
		{[]string{"src/**/*.py"}, "src/a.py src/deep/er/c.py src/vendor/v.py"},
		{[]string{"src/**"}, "src/a.py src/b.txt src/deep/er/c.py src/vendor/v.py"},
		{[]string{"src", "!src/vendor", "!**/*.txt"}, "src/a.py src/deep/er/c.py"},
		{[]string{"src", "!src/**", "src/b.*"}, ""},
		{[]string{"src/a.py", "!src/deep", "src/deep/er"}, "src/a.py src/deep/er/c.py"},
		{[]string{"s*/d??p"}, "src/deep/er/c.py"},
		{[]string{"{src/deep,tests}/**/*.py"}, "src/deep/er/c.py tests/t.py"},
		{[]string{"[a-b].*"}, "a.py b.txt"},
		{[]string{`\[x\].py`, `\{y\}.py`}, "[x].py {y}.py"},
		{[]string{"tests", "!**/nothing"}, "tests/t.py"},
		{[]string{"**/er"}, "src/deep/er/c.py"},
	} {
		if tt.want == "" {
			f.wantError(tt.globs, "", "matches nothing")
			continue
		}
		f.wantFiles(tt.globs, strings.Fields(tt.want)...)
	}
}

func TestGlobsThatAreRefused(t *testing.T) {
	f := newFixture(t)
	f.write("src/a.py", "a")
	f.write(".git/config", "")
	must(t, os.MkdirAll(f.path("empty/er"), 0o755))
	for glob, reason := range map[string]string{
		"nope": "matches nothing", "src/*.go": "matches nothing", "src/a.py/b": "matches nothing", "../x": "climbs", "src/../a": "climbs", "/src": "is absolute",
		"a\x00b": "is not a valid glob", "": "is empty", "!": "is empty", "a//b": "is empty", "a/./b": `has "."`, "[a": "is not a valid glob", "{a": "is not a valid glob",
		".git": "matches nothing", ".git/config": "matches nothing", "empty": "matches only folders", "!src": "", "{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}": "too many",
	} {
		if reason == "is empty" && glob == "a//b" {
			reason = "has an empty part"
		}
		if reason == "is empty" {
			reason = "has an empty part"
		}
		e := f.wantError([]string{glob}, "", reason)
		if reason != "" && e.Glob != glob {
			t.Errorf("the error of %q names the glob %q", glob, e.Glob)
		}
	}
	if e := f.wantError([]string{"src", "src/nope"}, "", "matches nothing"); e.Glob != "src/nope" {
		t.Errorf("the error names %q", e.Glob)
	}
	if e := f.wantError([]string{".", "empty"}, "", "matches only folders"); e.Glob != "empty" {
		t.Errorf("the error names %q", e.Glob)
	}
	f.wantError(nil, "", "no glob that selects")
	if e := f.wantError([]string{"src", "!src/*.py"}, "", "matches nothing"); !strings.Contains(e.Hint, "!") {
		t.Errorf("hint %q", e.Hint)
	}
}

func TestRootsAreRelative(t *testing.T) {
	f := newFixture(t)
	f.write("svc/a/x.py", "x")
	f.write("svc/b/x.py", "x")
	f.write("svc/.gitignore", "*.log")
	f.write("svc/a/y.log", "x")
	s := f.open()
	results, err := s.Snapshot(t.Context(), []source.Request{
		{Root: f.path("svc/a"), Globs: []string{"."}},
		{Root: f.path("svc/b"), Globs: []string{"x.py"}},
		{Root: f.path("svc/a"), Globs: []string{"."}},
		{Root: filepath.Dir(f.top), Globs: []string{"."}},
		{Root: f.path("nope"), Globs: []string{"."}},
		{Root: f.path("svc"), Globs: []string{"a"}},
	})
	must(t, err)
	for i, want := range [][]string{{"x.py"}, {"x.py"}, {"x.py"}, nil, nil, {"a/x.py"}} {
		if want == nil {
			if results[i].Err == nil {
				t.Errorf("request %d was taken", i)
			}
			continue
		}
		must(t, results[i].Err)
		if diff := cmp.Diff(want, list(t, f.store, results[i])); diff != "" {
			t.Errorf("request %d (-want +got):\n%s", i, diff)
		}
	}
	if results[0].Digest != results[1].Digest {
		t.Error("equal files at the same place below their root have different digests")
	}
}

func TestExecutableBit(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there is none")
	}
	f := newFixture(t)
	f.write("a", "a")
	f.write("b", "b")
	must(t, os.Chmod(f.path("a"), 0o700))
	must(t, os.Chmod(f.path("b"), 0o611))
	f.wantFiles([]string{"."}, "a*", "b")
	must(t, os.Chmod(f.path("a"), 0o600))
	f.wantFiles([]string{"."}, "a", "b")
}

func TestSymlinks(t *testing.T) {
	f := newFixture(t)
	f.write("src/a", "a")
	f.symlink("a", "src/link")
	f.symlink("../gone", "src/dangling")
	f.symlink("src", "folder")
	f.wantFiles([]string{"."}, "folder -> src", "src/a", "src/dangling -> ../gone", "src/link -> a")
	if e := f.wantError([]string{"folder/a"}, "", "matches nothing"); !strings.Contains(e.Hint, "folder is a symlink") {
		t.Errorf("hint %q", e.Hint)
	}
	f.symlink("../../x", "src/out")
	f.wantError([]string{"src"}, "src/out", "climbs above")
	f.wantFiles([]string{"src", "!src/out"}, "src/a", "src/dangling -> ../gone", "src/link -> a")
	f.symlink("/etc/passwd", "abs")
	f.wantError([]string{"abs"}, "abs", "absolute")
}

func TestSpecialFilesAndNames(t *testing.T) {
	if runtime.GOOS == "windows" || runtime.GOOS == "darwin" {
		t.Skip("the file system has no such names")
	}
	f := newFixture(t)
	f.write("a", "a")
	f.write("\xff", "x")
	e := f.wantError([]string{"."}, "\xff", "not UTF-8")
	if !strings.Contains(e.Error(), `"\xff"`) {
		t.Errorf("the message %q does not quote the name", e)
	}
	f.wantFiles([]string{"a"}, "a")
	must(t, os.Remove(f.path("\xff")))
	f.write("\xfe/x", "x")
	f.wantError([]string{"."}, "\xfe", "not UTF-8")
	must(t, os.RemoveAll(f.path("\xfe")))
	makeFifo(t, f.path("fifo"))
	f.wantError([]string{"."}, "fifo", "neither a file")
	f.wantError([]string{"fifo"}, "fifo", "neither a file")
	f.wantFiles([]string{"*", "!fifo"}, "a")
}

func TestUnreadable(t *testing.T) {
	if runtime.GOOS == "windows" || nobody.Run(t) {
		return
	}
	f := newFixture(t)
	f.write("a", "a")
	f.write("d/b", "b")
	must(t, os.Chmod(f.path("a"), 0))
	e := f.wantError([]string{"."}, "a", "cannot be read")
	if !errors.Is(e, fs.ErrPermission) {
		t.Errorf("error %v", e)
	}
	must(t, os.Chmod(f.path("d"), 0))
	defer os.Chmod(f.path("d"), 0o755)
	f.wantError([]string{"d"}, "d", "cannot be read")
}

func TestIgnored(t *testing.T) {
	f := newFixture(t)
	f.git("init", "-q")
	f.write(".gitignore", "*.o\n/build/\n!keep.o\n")
	f.write("src/.gitignore", "# here\n\ngen.*\n")
	f.write(".git/info/exclude", "secret\n")
	for _, name := range []string{"a.c", "a.o", "keep.o", "build/out", "src/b.c", "src/b.o", "src/gen.c", "src/secret", "sub/.git/HEAD", "sub/x.c", "sub/x.o", "wt/.git", "wt/y"} {
		f.write(name, name)
	}
	f.wantFiles([]string{"."}, ".gitignore", "a.c", "keep.o", "src/.gitignore", "src/b.c", "sub/x.c", "wt/y")
	f.wantFiles([]string{"**/*.o"}, "keep.o")
	for glob, where := range map[string]string{"a.o": ".gitignore:1", "build": ".gitignore:2", "build/out": ".gitignore:2", "src/gen.c": "src/.gitignore:3", "src/secret": ".git/info/exclude:1", "build/*": ".gitignore:2"} {
		e := f.wantError([]string{glob}, strings.TrimSuffix(strings.TrimSuffix(glob, "/out"), "/*"), "is ignored by "+where)
		if e.Hint == "" {
			t.Errorf("no hint for %q", glob)
		}
	}

	f.git("add", "-f", "build/out", "src/gen.c")
	f.write("build/more", "m")
	f.wantFiles([]string{"build", "src/gen.c"}, "build/out", "src/gen.c")
	f.wantFiles([]string{"."}, ".gitignore", "a.c", "build/out", "keep.o", "src/.gitignore", "src/b.c", "src/gen.c", "sub/x.c", "wt/y")
	f.wantError([]string{"build/more"}, "build/more", "is ignored")

	f.write(".git/index", "DIRC garbage")
	f.wantError([]string{"build"}, "build", "is ignored")
	if len(f.warns) == 0 || !strings.Contains(f.warns[0], "index") {
		t.Errorf("warnings %q", f.warns)
	}
}

func TestSubmoduleBelowAnIgnoredFolder(t *testing.T) {
	f := newFixture(t)
	f.git("init", "-q")
	f.write(".gitignore", "/vendor/\n")
	f.write("vendor/sub/.git", "gitdir: ../../.git/modules/sub")
	f.write("vendor/sub/x.c", "x")
	f.write("vendor/y.c", "y")
	f.git("update-index", "--add", "--cacheinfo", "160000,"+strings.Repeat("1", 40)+",vendor/sub")
	f.wantFiles([]string{"vendor"}, "vendor/sub/x.c")
}

func TestSymlinkedIgnoreFile(t *testing.T) {
	f := newFixture(t)
	f.write("patterns", "a\n")
	f.write("a", "a")
	f.symlink("patterns", ".gitignore")
	f.wantFiles([]string{"."}, ".gitignore -> patterns", "a", "patterns")
}

func TestWorktree(t *testing.T) {
	main := newFixture(t)
	main.git("init", "-q")
	main.write(".gitignore", "*.o\n")
	main.write("a.o", "a")
	main.git("add", "-f", ".")
	main.git("commit", "-qm", "x")
	f := newFixture(t)
	main.git("worktree", "add", "-q", f.path("wt"))
	f.top = f.path("wt")
	main.write(".git/info/exclude", "secret\n")
	f.write("secret", "s")
	f.write("b.o", "b")
	f.wantFiles([]string{"."}, ".gitignore", "a.o")
}

func TestCancelled(t *testing.T) {
	f := newFixture(t)
	f.write("a", "a")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.open().Snapshot(ctx, []source.Request{{Root: f.top, Globs: []string{"."}}}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
