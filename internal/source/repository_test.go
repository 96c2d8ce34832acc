package source_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/towpath/towpath/internal/cas/mem"
	"github.com/towpath/towpath/internal/source"
)

// withSubmodule makes a repository with a submodule at vendor/sub, whose own repository is in .git/modules.
func withSubmodule(t fataler, top, origin string) {
	runGit(t, origin, "init", "-q")
	must(t, os.WriteFile(filepath.Join(origin, "first"), nil, 0o644))
	runGit(t, origin, "add", ".")
	runGit(t, origin, "commit", "-qm", "first")
	runGit(t, top, "init", "-q")
	runGit(t, top, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", "-f", origin, "vendor/sub")
}

func TestSubmodule(t *testing.T) {
	f := newFixture(t)
	withSubmodule(t, f.top, t.TempDir())
	f.write(".gitignore", "*.o\n/vendor/\n")
	f.write(".git/modules/vendor/sub/info/exclude", "secret\n")
	f.write("secret", "not one here")
	f.write("a.o", "ignored")
	f.write("vendor/other", "ignored")
	f.write("vendor/sub/.gitignore", "*.tmp\n")
	f.write("vendor/sub/d/b.o", "the pattern above it is none of its own")
	f.write("vendor/sub/d/secret", "excluded")
	f.write("vendor/sub/d/kept.tmp", "tracked")
	f.write("vendor/sub/d/lost.tmp", "ignored")
	runGit(t, f.path("vendor/sub"), "add", "-f", "d/kept.tmp")
	sub := []string{"vendor/sub/.gitignore", "vendor/sub/d/b.o", "vendor/sub/d/kept.tmp", "vendor/sub/first"}
	all := append([]string{".gitignore", ".gitmodules", "secret"}, sub...)
	for range 2 { // the second time from the index
		f.wantFiles([]string{"."}, all...)
		f.wantFiles([]string{"vendor"}, sub...)
		f.wantFiles([]string{"vendor/sub/d/b.o", "vendor/sub/d/kept.tmp"}, "vendor/sub/d/b.o", "vendor/sub/d/kept.tmp")
	}
	f.wantError([]string{"vendor/sub/d/lost.tmp"}, "vendor/sub/d/lost.tmp", "is ignored by vendor/sub/.gitignore:1")
	f.wantError([]string{"vendor/sub/d/secret"}, "vendor/sub/d/secret", "is ignored by vendor/sub/.git/info/exclude:1")
	if len(f.warns) > 0 {
		t.Errorf("warnings %q", f.warns)
	}
}

// TestSubmoduleInAWorktree has the submodule's repository below that of the worktree, not below the common one.
func TestSubmoduleInAWorktree(t *testing.T) {
	main := newFixture(t)
	withSubmodule(t, main.top, t.TempDir())
	main.git("commit", "-qm", "submodule")
	f := newFixture(t)
	main.git("worktree", "add", "-q", f.path("wt"))
	f.top = f.path("wt")
	f.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "update", "--init")
	main.write(".git/info/exclude", "secret\n")
	f.write("secret", "excluded by the repository that the worktree shares")
	f.write("vendor/sub/secret", "not excluded in the submodule")
	f.write("vendor/sub/.gitignore", "first\nnew\n")
	f.write("vendor/sub/new", "ignored")
	f.wantFiles([]string{"."}, ".gitmodules", "vendor/sub/.gitignore", "vendor/sub/first", "vendor/sub/secret")
	if len(f.warns) > 0 {
		t.Errorf("warnings %q", f.warns)
	}
}

// TestSubmodulesAsGit compares with what git shows in a worktree and in its submodule.
func TestSubmodulesAsGit(t *testing.T) {
	name := rapid.SampledFrom([]string{"a", "b", "c", "a.o", "vendor", "sub"})
	main, top := t.TempDir(), filepath.Join(t.TempDir(), "worktree")
	withSubmodule(t, main, t.TempDir())
	runGit(t, main, "commit", "-qm", "submodule")
	runGit(t, main, "worktree", "add", "-q", top)
	runGit(t, top, "-c", "protocol.file.allow=always", "submodule", "--quiet", "update", "--init")
	rapid.Check(t, func(t *rapid.T) {
		for _, repository := range []string{top, filepath.Join(top, "vendor", "sub")} {
			runGit(t, repository, "reset", "-q", "--hard")
			runGit(t, repository, "clean", "-qxffd")
			drawFiles(t, repository, name)
		}
		want := listed(t, top, "")
		want = append(want, listed(t, filepath.Join(top, "vendor", "sub"), "vendor/sub/")...)
		want = slices.DeleteFunc(want, func(path string) bool { return path == "vendor/sub" })
		slices.Sort(want)
		store := mem.New()
		s, err := source.Open(source.Config{Store: store, Repository: top})
		must(t, err)
		results, err := s.Snapshot(t.Context(), []source.Request{{Root: top, Globs: []string{"."}}, {Root: top, Globs: want}})
		must(t, err)
		for _, r := range results {
			must(t, r.Err)
			if diff := cmp.Diff(want, list(t, store, r)); diff != "" {
				t.Fatalf("(-git +source):\n%s", diff)
			}
		}
	})
}

// drawFiles writes files and patterns below top, and tracks some of them.
func drawFiles(t *rapid.T, top string, name *rapid.Generator[string]) {
	var paths []string
	for _, parts := range rapid.SliceOfN(rapid.SliceOfN(name, 1, 3), 1, 8).Draw(t, "files") {
		path := filepath.Join(parts...)
		if slices.Contains(parts, "sub") && parts[0] == "vendor" {
			continue // the submodule is drawn by itself
		}
		full := filepath.Join(top, path)
		if os.MkdirAll(filepath.Dir(full), 0o755) == nil && os.WriteFile(full, []byte(path), 0o644) == nil {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	paths = slices.Compact(paths)
	for _, path := range paths {
		if rapid.IntRange(0, 3).Draw(t, "track "+path) == 0 {
			runGit(t, top, "add", "-f", "--", path)
		}
	}
	line := rapid.SampledFrom([]string{"a", "b", "/a", "*.o", "!*.o", "!a", "vendor", "sub", "/vendor/*", "*", "first"})
	if lines := rapid.SliceOfN(line, 0, 3).Draw(t, "ignores"); len(lines) > 0 {
		must(t, os.WriteFile(filepath.Join(top, ".gitignore"), bytes.Join(asBytes(lines), []byte("\n")), 0o644))
	}
}

func asBytes(lines []string) [][]byte {
	all := make([][]byte, len(lines))
	for i, l := range lines {
		all[i] = []byte(l)
	}
	return all
}

// listed returns what git shows in a repository: what is tracked or not ignored, and there.
func listed(t fataler, top, prefix string) []string {
	cmd := exec.Command("git", "-c", "core.excludesFile="+os.DevNull, "ls-files", "-co", "--exclude-standard", "-z")
	cmd.Dir = top
	out, err := cmd.Output()
	must(t, err)
	var all []string
	for p := range bytes.SplitSeq(bytes.TrimSuffix(out, []byte{0}), []byte{0}) {
		if _, err := os.Lstat(filepath.Join(top, string(p))); err == nil && len(p) > 0 {
			all = append(all, prefix+string(p))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
