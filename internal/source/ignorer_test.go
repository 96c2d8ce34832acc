package source_test

import (
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/towpath/towpath/internal/source"
)

// notIgnored lists the files of the work tree that are not ignored, going through folders as whoever watches them does.
func (f *fixture) notIgnored(g *source.Ignorer) []string {
	var names []string
	err := filepath.WalkDir(f.top, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.Name() == ".git" && d.IsDir() || g.Ignored(path, d.IsDir()) && d.IsDir():
			return fs.SkipDir
		case d.IsDir() || d.Name() == ".git" || g.Ignored(path, false):
			return nil
		}
		rel, err := filepath.Rel(f.top, path)
		names = append(names, filepath.ToSlash(rel))
		return err
	})
	must(f.t, err)
	slices.Sort(names)
	return names
}

func (f *fixture) wantAsSnapshot(g *source.Ignorer) {
	f.t.Helper()
	want := f.files(".")
	slices.Sort(want)
	if diff := cmp.Diff(want, f.notIgnored(g)); diff != "" {
		f.t.Errorf("what is not ignored is not what a snapshot takes (-snapshot +ignorer):\n%s", diff)
	}
}

// TestIgnorerIsAsSnapshots holds that tracked files, submodules and lists of excluded files count as they do for a Snapshot.
func TestIgnorerIsAsSnapshots(t *testing.T) {
	f := newFixture(t)
	withSubmodule(t, f.top, t.TempDir())
	f.write(".gitignore", "*.o\n/vendor/\n/build/\n")
	f.write(".git/info/exclude", "private\n")
	f.write(".git/modules/vendor/sub/info/exclude", "secret\n")
	for _, name := range []string{
		"a.o", "b.o", "private", "secret", "build/kept/tracked", "build/kept/not", "build/other/x", "vendor/other", "vendor/sub/d/b.o", "vendor/sub/d/secret",
		"vendor/sub/d/private", "vendor/sub/d/kept.tmp", "vendor/sub/d/lost.tmp", "src/x/y.py",
	} {
		f.write(name, name)
	}
	f.write("vendor/sub/.gitignore", "*.tmp\n")
	f.git("add", "-f", "b.o", "build/kept/tracked")
	runGit(t, f.path("vendor/sub"), "add", "-f", "d/kept.tmp")
	g := source.NewIgnorer(f.top)
	f.wantAsSnapshot(g)
	if got := strings.Join(f.notIgnored(g), " "); !strings.Contains(got, "build/kept/tracked") || !strings.Contains(got, "vendor/sub/d/b.o") {
		t.Errorf("not ignored are %s", got)
	}

	// What git begins to track, or stops to, is seen without being told.
	f.git("add", "-f", "a.o", "build/other/x")
	runGit(t, f.path("vendor/sub"), "add", "-f", "d/lost.tmp")
	f.wantAsSnapshot(g)

	f.write(".gitignore", "src\n")
	g.Forget()
	f.wantAsSnapshot(g)

	f.write("late/.gitignore", "*.py\n") // where nothing was when it was asked
	f.write("late/x.py", "")
	f.wantAsSnapshot(g)
}

func TestIgnorerInAWorktree(t *testing.T) {
	main := newFixture(t)
	main.write(".gitignore", "*.o\n")
	main.git("init", "-q")
	main.git("add", ".")
	main.git("commit", "-qm", "first")
	f := *main
	f.top = filepath.Join(t.TempDir(), "tree")
	main.git("worktree", "add", "-q", f.top)
	main.write(".git/info/exclude", "private\n")
	f.write("a.o", "")
	f.write("b.o", "")
	f.write("private", "")
	f.git("add", "-f", "b.o")
	f.wantAsSnapshot(source.NewIgnorer(f.top))
}

func TestIgnorerOfPathsThatAreNotThere(t *testing.T) {
	f := newFixture(t)
	f.write(".gitignore", "*.o\n/build/\n")
	g := source.NewIgnorer(f.top)
	for name, want := range map[string]bool{
		"a.o": true, "a.c": false, "no/such/a.o": true, "no/such/a.c": false, "build/x/y": true, "../a.o": false, ".": false,
	} {
		if got := g.Ignored(f.path(name), false); got != want {
			t.Errorf("Ignored(%s) = %v", name, got)
		}
	}
}
