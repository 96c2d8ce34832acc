package source_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/towpath/towpath/internal/cas/mem"
	"github.com/towpath/towpath/internal/source"
)

// TestAsGit compares whole snapshots with what git would show: tracked files, and others that are not ignored.
func TestAsGit(t *testing.T) {
	git, err := exec.LookPath("git")
	if err != nil {
		t.Fatal("git is not installed")
	}
	name := rapid.SampledFrom([]string{"a", "b", "c", "a.o", "b.o", "x y", "é", "-"})
	rapid.Check(t, func(t *rapid.T) {
		top, err := os.MkdirTemp("", "source")
		must(t, err)
		defer os.RemoveAll(top)
		runGit(t, top, "init", "-q")
		var paths []string
		for _, parts := range rapid.SliceOfN(rapid.SliceOfN(name, 1, 4), 1, 15).Draw(t, "files") {
			path := filepath.Join(parts...)
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
		drawIgnores(t, top, paths)
		if rapid.Bool().Draw(t, "v4") {
			runGit(t, top, "update-index", "--index-version", "4")
		}

		cmd := exec.Command(git, "-c", "core.excludesFile="+os.DevNull, "ls-files", "-co", "--exclude-standard", "-z")
		cmd.Dir = top
		out, err := cmd.Output()
		must(t, err)
		var want []string
		for p := range bytes.SplitSeq(bytes.TrimSuffix(out, []byte{0}), []byte{0}) {
			if _, err := os.Lstat(filepath.Join(top, string(p))); err == nil && len(p) > 0 {
				want = append(want, string(p))
			}
		}
		slices.Sort(want)
		want = slices.Compact(want)

		// The same must come out of one glob for everything, of a search, and of asking for each file by its name.
		for _, globs := range [][]string{{"."}, {"**"}, {"**/*"}, {"*", "!nothing"}, want} {
			if len(want) == 0 {
				continue
			}
			store := mem.New()
			s, err := source.Open(source.Config{Store: store, Repository: top})
			must(t, err)
			results, err := s.Snapshot(context.Background(), []source.Request{{Root: top, Globs: globs}})
			must(t, err)
			must(t, results[0].Err)
			if diff := cmp.Diff(want, list(t, store, results[0])); diff != "" {
				t.Fatalf("globs %q (-git +source):\n%s", globs, diff)
			}
		}
	})
}

func drawIgnores(t *rapid.T, top string, paths []string) {
	line := rapid.SampledFrom([]string{"a", "b", "/a", "a/", "*.o", "!*.o", "!a", "!/a/b", "a/b", "a/*", "!a/b", "**/c", "c/**", "*", "!*/", "x*", "[ab]", "é", "/*/b"})
	folders := []string{"."}
	for _, p := range paths {
		for d := filepath.Dir(p); d != "."; d = filepath.Dir(d) {
			folders = append(folders, d)
		}
	}
	slices.Sort(folders)
	for _, d := range slices.Compact(folders) {
		if lines := rapid.SliceOfN(line, 0, 3).Draw(t, "ignores of "+d); len(lines) > 0 {
			must(t, os.WriteFile(filepath.Join(top, d, ".gitignore"), []byte(strings.Join(lines, "\n")), 0o644))
		}
	}
	if lines := rapid.SliceOfN(line, 0, 2).Draw(t, "excludes"); len(lines) > 0 {
		must(t, os.MkdirAll(filepath.Join(top, ".git", "info"), 0o755))
		must(t, os.WriteFile(filepath.Join(top, ".git", "info", "exclude"), []byte(strings.Join(lines, "\n")), 0o644))
	}
}
