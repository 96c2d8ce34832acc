package source

import (
	"slices"
	"strings"
	"testing"

	"github.com/bmatcuk/doublestar/v4"
	"pgregory.net/rapid"
)

// TestGlobsAsDoublestar holds the globs of this package, which a walk follows part by part, to what doublestar says about whole
// paths and about the folders above them.
func TestGlobsAsDoublestar(t *testing.T) {
	name := rapid.SampledFrom([]string{"a", "b", "ab", "a.x", "b.x", "é", "{", "a,b", "-"})
	part := rapid.SampledFrom([]string{
		"a", "b", "ab", "*", "**", "*.x", "a*", "?", "[ab]", "[!a]", "{a,b}", "{a,b/a}", "{a/b,*.x}", "{,a}b", "{a,{b,ab}}", `\a`, `\{`, "***", "**.x", "{*,b}/a", "[a,{]", "a**",
	})
	rapid.Check(t, func(t *rapid.T) {
		var globs []string
		for _, parts := range rapid.SliceOfN(rapid.SliceOfN(part, 1, 4), 1, 5).Draw(t, "globs") {
			// reference looks at one "**" at the end only.
			parts = slices.CompactFunc(parts, func(a, b string) bool { return a == "**" && a == b })
			globs = append(globs, rapid.SampledFrom([]string{"", "", "!", "./"}).Draw(t, "start")+strings.Join(parts, "/"))
		}
		if rapid.IntRange(0, 9).Draw(t, "everything") == 0 {
			globs = append(globs, rapid.SampledFrom([]string{".", "!."}).Draw(t, "dot"))
		}
		top := rapid.SampledFrom([][]string{nil, {"top"}, {"a", "b"}}).Draw(t, "top")
		r := &request{top: top}
		for _, text := range globs {
			g, fault := compileGlob(text, top)
			if fault != nil {
				t.Skip(fault)
			}
			r.globs = append(r.globs, g)
		}
		for _, parts := range rapid.SliceOfN(rapid.SliceOfN(name, 1, 5), 1, 20).Draw(t, "paths") {
			path := strings.Join(parts, "/")
			if got := selects(r, slices.Concat(top, parts)); got != reference(globs, parts) {
				t.Fatalf("globs %q, path %q: selected %v, doublestar says %v", globs, path, got, !got)
			}
		}
	})
}

// reference goes by protocol/SPEC.md: the last glob that matches the path, or a folder above it, decides. "a/**" is what is in a.
func reference(globs, parts []string) bool {
	selected := false
	for _, text := range globs {
		pattern, negated := strings.CutPrefix(text, "!")
		pattern = strings.TrimPrefix(pattern, "./")
		matches := pattern == "."
		folder, contents := strings.CutSuffix(pattern, "/**")
		for i := range parts {
			path := strings.Join(parts[:i+1], "/")
			matches = matches || doublestar.MatchUnvalidated(folder, path) && !(contents && i == len(parts)-1)
		}
		if matches {
			selected = !negated
		}
	}
	return selected
}

func selects(r *request, parts []string) bool {
	st := r.startState()
	last := len(parts) - 1
	for i, name := range parts[:last] {
		if st.everything() {
			// Nothing below may be left out then.
			for _, n := range parts[i:last] {
				if st = st.enter(n); st == nil {
					panic("everything is selected, and yet nothing")
				}
			}
			if !st.selects(parts[last], nil) {
				panic("everything is selected, and yet this is not")
			}
			return true
		}
		if st = st.enter(name); st == nil {
			return false
		}
	}
	return st.selects(parts[last], nil)
}
