package tree_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/towpath/towpath/internal/cas/mem"
	"github.com/towpath/towpath/internal/tree"
)

func parse(tb testing.TB, globs ...string) tree.Globs {
	tb.Helper()
	g, err := tree.ParseGlobs(globs)
	if err != nil {
		tb.Fatal(err)
	}
	return g
}

func TestGlobsMatch(t *testing.T) {
	for _, c := range []struct {
		globs string // separated by spaces
		takes string
		not   string
	}{
		{"src", "src src/a src/a/b", "srcs src.txt a/src sr"},
		{"src/", "src/a", "srcs"},
		{"./src/a", "src/a src/a/b", "src src/b"},
		{".", "a a/b .hidden", ""},
		{"*", "a a/b .hidden", ""},
		{"**", "a a/b a/b/c", ""},
		{"*.py", "a.py dir.py/x", "a/b.py a.pyc"},
		{"**/*.py", "a.py a/b/c.py", "a.pyc a/b"},
		{"src/*", "src/a src/a/b", "src a/src/b"},
		{"src/**", "src src/a src/a/b", "srca a/src"},
		{"src/**/test", "src/test src/a/b/test src/a/test/x", "src/tests test"},
		{"a?c", "abc aéc abc/d", "ac a/c abbc"},
		{"[a-c]x", "ax cx/y", "dx a"},
		{"{a,b/c}", "a a/x b/c b/c/d", "b b/x c"},
		{"{a,b/c}/*.go", "a/x.go b/c/y.go", "b/x.go a/x.py"},
		{`a\*`, "a* a*/b", "ab"},
		{"src !src/gen", "src/a src/genx", "src/gen src/gen/a"},
		{"src !**/*.pyc", "src/a.py", "src/a.pyc src/b/c.pyc"},
		{"src !src/gen src/gen/keep", "src/a src/gen/keep/x", "src/gen/drop"},
		{"!src src", "src/a", "b"},
		{"!src", "", "src a"},
		{"", "", "a"},
		{"a b c d e f g h i/j !i/j/k", "a h/x i/j i/j/l", "i i/j/k i/j/k/x j"},
		{"a b c d e f g !**/k a/k/keep", "a/x a/k/keep/z", "a/k a/k/y"},
		{"a b c d e f g h *.x !a/b a/b/c", "a/c q.x a/b/c", "a/b a/b/d"},
	} {
		g := parse(t, strings.Fields(c.globs)...)
		for p := range strings.FieldsSeq(c.takes) {
			if !g.Match(p) {
				t.Errorf("%s does not take %q", c.globs, p)
			}
		}
		for p := range strings.FieldsSeq(c.not) {
			if g.Match(p) {
				t.Errorf("%s takes %q", c.globs, p)
			}
		}
	}
}

func TestParseGlobsRefuses(t *testing.T) {
	for _, g := range []string{
		"", "!", "/", "/a", "!/a", "..", "../a", "a/../b", "a//b", "a/./b", "a//", "[", "a[", "{a", "a\xff", "a\x00", `a\`, "*/../b", "*//b",
	} {
		if _, err := tree.ParseGlobs([]string{"fine", g}); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", g)) {
			t.Errorf("ParseGlobs(%q) = %v, want an error that quotes it", g, err)
		}
	}
}

func TestGlobsRoots(t *testing.T) {
	for globs, want := range map[string]string{
		"src/a.py":                   "src/a.py",
		"src/*.py":                   "src",
		"*.py src":                   "",
		"src/a/**/x src/ab/? !src/a": "src/a|src/ab",
		"src src/a src/a/b.* srcs":   "src|srcs",
		"a.txt a a/b":                "a|a.txt",
		"a/b{c,d}/e":                 "a",
		".":                          "",
		"src/pre*/x":                 "src",
	} {
		if got := strings.Join(parse(t, strings.Fields(globs)...).Roots(), "|"); got != want {
			t.Errorf("Roots of %s = %q, want %q", globs, got, want)
		}
	}
	if got := parse(t).Roots(); len(got) != 0 {
		t.Errorf("Roots of nothing = %q", got)
	}
	if got, ok := parse(t, "a", "./b/c").Literals(); !ok || !slices.Equal(got, []string{"a", "b/c"}) {
		t.Errorf("Literals = %q, %v", got, ok)
	}
	for _, g := range []string{"*", "!a", "{a,b}"} {
		if got, ok := parse(t, "a", g).Literals(); ok {
			t.Errorf("Literals of a and %s = %q", g, got)
		}
	}
}

func TestTracker(t *testing.T) {
	g := parse(t, "src", "*.toml", "docs/**/*.md", "none", "!never")
	track := g.Track()
	if !track.Waits("docs/a") || !track.Waits("") || track.Waits("other") {
		t.Error("Waits is wrong before anything was seen")
	}
	for _, p := range []string{"src/a", "x.toml", "docs/b.md", "other"} {
		if track.Match(p) != g.Match(p) {
			t.Errorf("the tracker does not agree on %q", p)
		}
	}
	if track.Waits("docs/a") {
		t.Error("Waits for a glob that has matched")
	}
	if got := track.Unmatched(); !slices.Equal(got, []string{"none"}) {
		t.Errorf("Unmatched = %q", got)
	}
}

// Small alphabets, so that globs and paths have much to do with each other.
func drawPath(t *rapid.T) string {
	return strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "ab", "a.x"}), 1, 4).Draw(t, "path"), "/")
}

func drawGlobs(t *rapid.T) []string {
	part := rapid.SampledFrom([]string{"a", "b", "ab", "a.x", "*", "**", "a*", "*.x", "?", "[ab]", "{a,b}", "{a/b,b}", "{a,**/b}"})
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) string {
		g := strings.Join(rapid.SliceOfN(part, 1, 3).Draw(t, "parts"), "/")
		if rapid.IntRange(0, 3).Draw(t, "negated") == 0 {
			g = "!" + g
		}
		return g
	}), 1, 12).Draw(t, "globs")
}

// What Below and Roots promise about paths holds for every path.
func TestGlobsArePrunedRightly(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		globs, path := drawGlobs(rt), drawPath(rt)
		g, err := tree.ParseGlobs(globs)
		if err != nil {
			rt.Fatal(err)
		}
		taken := g.Match(path)
		for dir := path; dir != ""; {
			dir = dir[:max(strings.LastIndexByte(dir, '/'), 0)]
			if cover := g.Below(dir); cover == tree.All && !taken || cover == tree.None && taken {
				rt.Errorf("%q: Below(%q) = %v, but Match(%q) = %v", globs, dir, cover, path, taken)
			}
		}
		under := func(root string) bool { return root == "" || path == root || strings.HasPrefix(path, root+"/") }
		if taken && !slices.ContainsFunc(g.Roots(), under) {
			rt.Errorf("%q takes %q, which is below none of %q", globs, path, g.Roots())
		}
		// The meaning, said in the slow way: the last glob that matches the path, or a folder above it, decides.
		want := false
		for _, glob := range globs {
			text, negated := strings.CutPrefix(glob, "!")
			one, err := tree.ParseGlobs([]string{text})
			if err != nil {
				rt.Fatal(err)
			}
			if one.Match(path) {
				want = !negated
			}
		}
		if taken != want {
			rt.Errorf("%q: Match(%q) = %v, want %v", globs, path, taken, want)
		}
	})
}

func TestFilter(t *testing.T) {
	store := mem.New()
	d := build(t, store, spec{
		"src/a.py": "1", "src/b/c.py": "#!2", "src/b/d.txt": "3", "src/empty/": "", "src/l": "->a.py", "top.toml": "4", "other/x": "5",
	})
	for _, c := range []struct {
		globs string
		want  spec
	}{
		{".", describe(t, store, d)},
		{"src", spec{"src/a.py": "1", "src/b/c.py": "#!2", "src/b/d.txt": "3", "src/empty/": "", "src/l": "->a.py"}},
		{"**/*.py", spec{"src/a.py": "1", "src/b/c.py": "#!2"}},
		{"src !**/*.py", spec{"src/b/d.txt": "3", "src/empty/": "", "src/l": "->a.py"}},
		{"src src/b/*.txt !src/b", spec{"src/a.py": "1", "src/empty/": "", "src/l": "->a.py"}},
		{"*.toml src/l", spec{"top.toml": "4", "src/l": "->a.py"}},
		{"src/b src/b/c.py top.toml", spec{"src/b/c.py": "#!2", "src/b/d.txt": "3", "top.toml": "4"}},
	} {
		got, err := tree.Filter(t.Context(), store, d, strings.Fields(c.globs))
		if err != nil {
			t.Errorf("Filter %s: %v", c.globs, err)
			continue
		}
		wantTree(t, store, got, c.want)
	}
	if got, err := tree.Filter(t.Context(), store, d, []string{"."}); err != nil || got != d {
		t.Errorf("Filter by everything = %v, %v, want the tree itself", got, err)
	}
	_, err := tree.Filter(t.Context(), store, d, []string{"src", "src/*.pyc", "nothing", "!nothing/either"})
	var unmatched *tree.UnmatchedError
	if !errors.As(err, &unmatched) || !slices.Equal(unmatched.Globs, []string{"src/*.pyc", "nothing"}) {
		t.Errorf("Filter by globs that match nothing: %v", err)
	}
}

// Filter keeps exactly the files that Match takes, in spite of all that it does not read.
func TestFilterAgreesWithMatch(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		store := mem.New()
		b := tree.NewBuilder(store)
		for _, p := range rapid.SliceOfN(rapid.Custom(drawPath), 1, 12).Draw(rt, "paths") {
			_ = b.File(p, file(t, store, p), false) // a conflict leaves one of the two
		}
		d, err := b.Build(t.Context())
		if err != nil {
			rt.Fatal(err)
		}
		globs := drawGlobs(rt)
		g, err := tree.ParseGlobs(globs)
		if err != nil {
			rt.Fatal(err)
		}
		track := g.Track()
		want := spec{}
		for p, content := range describe(t, store, d) {
			if track.Match(p) {
				want[p] = content
			}
		}
		got, err := tree.Filter(t.Context(), store, d, globs)
		if _, ok := errors.AsType[*tree.UnmatchedError](err); ok {
			return // says which globs matched no path, where the tracker here saw files only
		}
		if err != nil {
			rt.Fatal(err)
		}
		for p, content := range describe(t, store, got) {
			if want[p] != content && !strings.HasSuffix(p, "/") {
				rt.Errorf("%q keeps %q", globs, p)
			}
			delete(want, p)
		}
		if len(want) > 0 {
			rt.Errorf("%q does not keep %q", globs, want)
		}
	})
}

func BenchmarkParseOneLiteral(b *testing.B) {
	globs := []string{"src/towpath/module.py"}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tree.ParseGlobs(globs); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMatch(b *testing.B) {
	var literals []string
	for i := range 1000 {
		literals = append(literals, fmt.Sprintf("src/pkg%d/file.go", i))
	}
	for name, globs := range map[string][]string{"literal": literals[:1], "1000literals": literals, "pattern": {"src/**/*.py", "!**/gen/**"}} {
		g := parse(b, globs...)
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				g.Match("src/pkg500/file.go")
			}
		})
	}
}

func TestAStarMatchesNothingToo(t *testing.T) {
	for _, pattern := range []string{"a*", "a*/", "{a,b}*", "*a", "**/a*"} {
		g, err := tree.ParseGlobs([]string{pattern})
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"a", "a/b", "a/b/c"} {
			if !g.Match(path) {
				t.Errorf("%q does not match %q", pattern, path)
			}
		}
	}
}
