package gitignore

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestIgnored(t *testing.T) {
	for _, tt := range []struct {
		patterns, path string
		want           bool
	}{
		{"a", "a", true},
		{"a", "b/a", true},
		{"a", "ab", false},
		{"/a", "b/a", false},
		{"b/a", "b/a", true},
		{"b/a", "c/b/a", false},
		{"a/", "a", false},
		{"a/", "a/", true},
		{"*.o", "x/y.o", true},
		{"/*.o", "x/y.o", false},
		{"x/*.o", "x/y.o", true},
		{"x/*", "x/y/z.o", false},
		{"x/**", "x/y/z.o", true},
		{"x/**", "x/", false},
		{"x/**/z", "x/z", true},
		{"x/**/z", "x/a/b/z", true},
		{"**/z", "z", true},
		{"**/z", "a/b/z", true},
		{"a?c", "abc", true},
		{"/a?c", "a/c", false},
		{"[a-c]", "b", true},
		{"[!a-c]", "b", false},
		{"[^a-c]", "d", true},
		{"[]a]", "]", true},
		{"[a", "[a", false},
		{"[[:digit:]]x", "5x", true},
		{"[[:nosuch:]]", "n", false},
		{`\#a`, "#a", true},
		{`#a`, "#a", false},
		{`\!a`, "!a", true},
		{"a  ", "a", true},
		{`a\ `, "a ", true},
		{`a\`, "a", false},
		{"a\r\nb", "a", true},
		{"\xef\xbb\xbfa", "a", true},
		{"*\n!a", "a", false},
		{"!a\n*", "a", true},
		{"?", "é", false}, // bytes, as in git
		{"??", "é", true},
		{"/", "a", false},
		{"!", "!", false},
		{"a**/b", "ac/d/b", true}, // the plain beginning is cut off first, which makes the rest start with "**/"
		{"?**/b", "ac/d/b", false},
	} {
		dir := strings.HasSuffix(tt.path, "/")
		c := (*Chain)(nil).With("", Parse(".gitignore", []byte(tt.patterns)))
		if got := c.Ignored(strings.TrimSuffix(tt.path, "/"), dir); got != tt.want {
			t.Errorf("patterns %q, path %q: ignored %v, want %v", tt.patterns, tt.path, got, tt.want)
		}
	}
}

func TestChainPrefersTheInnermostFile(t *testing.T) {
	top := (*Chain)(nil).With("", Parse("exclude", []byte("*.log"))).With("", Parse(".gitignore", []byte("/x/a\n*.tmp")))
	x := top.With("x", Parse("x/.gitignore", []byte("# none\n!/a\n!b.tmp")))
	for path, want := range map[string]string{
		"x/a": "x/.gitignore:2", "x/b.tmp": "x/.gitignore:3", "x/c.tmp": ".gitignore:2", "x/q.log": "exclude:1", "x/y/a": "",
	} {
		got := ""
		if r := x.Match(path, false); r != nil {
			got = fmt.Sprintf("%s:%d", r.File, r.Line)
		}
		if got != want {
			t.Errorf("%s: decided by %q, want %q", path, got, want)
		}
	}
}

// TestLongPatternsAreFast would not end within the lifetime of the universe if matching tried every split.
func TestLongPatternsAreFast(t *testing.T) {
	name := strings.Repeat("a", 4000)
	for _, pat := range []string{strings.Repeat("*a", 60) + "b", "/" + strings.Repeat("**/*a", 60) + "b"} {
		if (*Chain)(nil).With("", Parse("", []byte(pat))).Ignored(name, false) {
			t.Errorf("%.20q… matches", pat)
		}
	}
}

// TestAsGit compares with git itself: which rule of which file decides about each path.
func TestAsGit(t *testing.T) {
	git, err := exec.LookPath("git")
	if err != nil {
		t.Skip("git is not installed")
	}
	rapid.Check(t, func(t *rapid.T) {
		top, err := os.MkdirTemp("", "gitignore")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(top)
		run(t, top, git, nil, "init", "-q", "--template=")
		tree := drawTree(t)
		files := map[string]string{}
		for path, dir := range tree {
			if dir && rapid.IntRange(0, 2).Draw(t, "own") == 0 {
				files[path] = drawPatterns(t)
			}
		}
		files["."] = drawPatterns(t)
		write(t, top, tree, files)

		var paths []string
		for path := range tree {
			paths = append(paths, path)
		}
		slices.Sort(paths)
		stdin := strings.Join(paths, "\x00") + "\x00"
		out := run(t, top, git, []byte(stdin), "check-ignore", "--no-index", "-v", "-n", "-z", "--stdin")
		fields := bytes.Split(out, []byte{0})
		for i, path := range paths {
			want := fmt.Sprintf("%s:%s", fields[4*i], fields[4*i+1])
			if got := decide(tree, files, path); got != want {
				t.Fatalf("%q (folder: %v): decided by %q, git says %q (%q)\nfiles %q", path, tree[path], got, want, fields[4*i+2], files)
			}
		}
	})
}

func write(t *rapid.T, top string, tree map[string]bool, files map[string]string) {
	for path, dir := range tree {
		full := filepath.Join(top, path)
		if dir {
			must(t, os.MkdirAll(full, 0o755))
			continue
		}
		must(t, os.MkdirAll(filepath.Dir(full), 0o755))
		must(t, os.WriteFile(full, nil, 0o644))
	}
	for folder, patterns := range files {
		must(t, os.WriteFile(filepath.Join(top, folder, ".gitignore"), []byte(patterns), 0o644))
	}
}

func must(t *rapid.T, err error) {
	if err != nil {
		t.Fatal(err)
	}
}

// decide does what a walk does: it goes from the top to path and stops at the first folder that is ignored.
func decide(tree map[string]bool, files map[string]string, path string) string {
	c := (*Chain)(nil).With("", Parse(".gitignore", []byte(files["."])))
	for i := 0; ; {
		n := strings.IndexByte(path[i:], '/')
		if n < 0 {
			break
		}
		folder := path[:i+n]
		if r := c.Match(folder, true); r != nil && !r.Negated() {
			return fmt.Sprintf("%s:%d", r.File, r.Line)
		}
		if own, ok := files[folder]; ok {
			c = c.With(folder, Parse(folder+"/.gitignore", []byte(own)))
		}
		i += n + 1
	}
	if r := c.Match(path, tree[path]); r != nil {
		return fmt.Sprintf("%s:%d", r.File, r.Line)
	}
	return ":"
}

func run(t *rapid.T, dir, git string, stdin []byte, args ...string) []byte {
	cmd := exec.Command(git, args...)
	cmd.Dir, cmd.Stdin = dir, bytes.NewReader(stdin)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_SYSTEM="+os.DevNull, "XDG_CONFIG_HOME="+dir)
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() != 1 {
		t.Fatalf("git %v: %v\n%s", args, err, exit.Stderr)
	}
	return out
}

// drawTree returns paths; true stands for a folder. Parents are always there.
func drawTree(t *rapid.T) map[string]bool {
	name := rapid.SampledFrom([]string{"a", "b", "ab", "ba", "aXb", "a.o", "b.o", ".a", "-", "[a]", "a*", "é", "a b", "b ", "#a", "!a", "\\a", "]", "A", "1"})
	tree := map[string]bool{}
	for _, parts := range rapid.SliceOfN(rapid.SliceOfN(name, 1, 4), 1, 12).Draw(t, "tree") {
		dir := rapid.Bool().Draw(t, "dir")
		for i := range parts {
			path := strings.Join(parts[:i+1], "/")
			was, ok := tree[path]
			if ok && !was {
				break
			}
			tree[path] = was || i < len(parts)-1 || dir
		}
	}
	return tree
}

func drawPatterns(t *rapid.T) string {
	atom := rapid.SampledFrom([]string{
		"a", "b", "ab", "a.o", ".o", "X", "1", "é", "/", "/", "/", "*", "*", "**", "**/", "/**", "/**/", "***", "?", "[a-b]", "[!a]", "[^b]", "[]a]", "[a-]",
		"[[:alpha:]]", "[[:digit:]a]", "[[:nope:]]", "[[:", "[:a]", "[[a]", "[]-a]", "[a", "[\\]]", "[+--]", "\\", "\\a", "\\*", "\\ ", " ", "\\#", "\\!", "\\/", "#", "!", "-", "]",
	})
	line := rapid.Custom(func(t *rapid.T) string {
		s := rapid.SampledFrom([]string{"", "", "", "!", "/", "!/", "**/", "#"}).Draw(t, "start")
		s += strings.Join(rapid.SliceOfN(atom, 0, 5).Draw(t, "atoms"), "")
		return s + rapid.SampledFrom([]string{"", "", "", "/", "/*", "/**", " ", "\r", "\t"}).Draw(t, "end")
	})
	eol := rapid.SampledFrom([]string{"", "\n", "\r\n"}).Draw(t, "eol")
	bom := rapid.SampledFrom([]string{"", "", "", "\xef\xbb\xbf"}).Draw(t, "bom")
	return bom + strings.Join(rapid.SliceOfN(line, 1, 6).Draw(t, "lines"), "\n") + eol
}
