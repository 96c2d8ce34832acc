package tree

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/bmatcuk/doublestar/v4"
)

// Globs is a list of globs as protocol/SPEC.md, section 7, describes them: doublestar patterns relative to a root. One that
// matches a folder takes everything below it; one that starts with "!" takes away what those before it took. The zero value takes
// nothing. It is immutable and safe for concurrent use.
//
// "." is the root and takes everything; a leading "./" and a trailing "/" mean nothing.
type Globs struct {
	globs []glob
	// byLiteral finds the last glob for a literal path, where there are too many to try each.
	byLiteral map[string]int
	// others are the globs, in order, that byLiteral does not have.
	others []int
}

// glob is one of them.
type glob struct {
	text    string // as it was written
	negated bool
	literal bool
	// pattern is the path itself where literal, "" for the root; else a doublestar pattern.
	pattern string
	// below matches what pattern does and everything below that; not used where literal.
	below string
}

// Coverage is how much of what is below a folder globs take.
type Coverage int

// What globs can take of what is below a folder.
const (
	// None means that nothing is taken: there is no need to look.
	None Coverage = iota
	// Some means that each path must be asked about.
	Some
	// All means that everything is taken.
	All
)

// manyLiterals is from how many literal globs on a map is faster than trying each.
const manyLiterals = 8

// ParseGlobs checks and prepares globs, in the order in which they were written.
func ParseGlobs(globs []string) (Globs, error) {
	g := Globs{globs: make([]glob, len(globs))}
	literals := 0
	for i, text := range globs {
		parsed, err := parseGlob(text)
		if err != nil {
			return Globs{}, err
		}
		g.globs[i] = parsed
		if parsed.literal {
			literals++
		}
	}
	if literals >= manyLiterals {
		g.byLiteral = make(map[string]int, literals)
		for i, one := range g.globs {
			if one.literal {
				g.byLiteral[one.pattern] = i
			} else {
				g.others = append(g.others, i)
			}
		}
	}
	return g, nil
}

func parseGlob(text string) (glob, error) {
	g := glob{text: text}
	bad := func(reason string) (glob, error) { return glob{}, fmt.Errorf("glob %q %s", text, reason) }
	var p string
	p, g.negated = strings.CutPrefix(text, "!")
	switch {
	case p == "":
		return bad("is empty")
	case !utf8.ValidString(p) || strings.ContainsRune(p, 0):
		return bad("is not UTF-8 or has a zero byte")
	case p[0] == '/':
		return bad(`starts with "/", but globs are relative to their root`)
	}
	for strings.HasPrefix(p, "./") {
		p = p[len("./"):]
	}
	if p = strings.TrimSuffix(p, "/"); p == "." {
		p = ""
	}
	if g.literal = !strings.ContainsAny(p, `*?[]{}\`); g.literal {
		if p != "" {
			if pathErr, ok := errors.AsType[*PathError](CheckPath(p)); ok {
				return bad(pathErr.Reason)
			}
		}
		g.pattern = p
		return g, nil
	}
	if !doublestar.ValidatePattern(p) {
		return bad("is malformed")
	}
	for part := range strings.SplitSeq(p, "/") {
		if part == "" || part == "." || part == ".." {
			return bad(fmt.Sprintf("has the part %q", part))
		}
	}
	// A trailing "/**" matches the folder before it, too: "src/**" is "src". Two of them would not.
	if g.pattern, g.below = p, p; p != "**" && !strings.HasSuffix(p, "/**") {
		g.below = p + "/**"
	}
	return g, nil
}

// exact tells whether the glob itself matches path, rather than a folder above it.
func (g *glob) exact(path string) bool {
	if g.literal {
		return path == g.pattern
	}
	return path != "" && doublestar.MatchUnvalidated(g.pattern, path)
}

// covers tells whether the glob matches path or a folder above it.
func (g *glob) covers(path string) bool {
	if g.literal {
		return inside(path, g.pattern)
	}
	// To doublestar "a/**" matches "a", but "a*/**" does not.
	return path != "" && (doublestar.MatchUnvalidated(g.pattern, path) || doublestar.MatchUnvalidated(g.below, path))
}

// inside tells whether path is dir or below it.
func inside(path, dir string) bool {
	return dir == "" || strings.HasPrefix(path, dir) && (len(path) == len(dir) || path[len(dir)] == '/')
}

// reaches tells whether the glob could match a path below the folder dir. It says yes where it is not sure.
func (g *glob) reaches(dir string) bool {
	if g.literal {
		return inside(dir, g.pattern) || inside(g.pattern, dir)
	}
	if dir == "" {
		return true
	}
	pattern := g.pattern
	for name := range strings.SplitSeq(dir, "/") {
		part, rest, more := strings.Cut(pattern, "/")
		if part == "**" || strings.ContainsAny(part, `{}[]\`) && strings.ContainsAny(pattern, "{}") {
			return true // alternatives may hold slashes: not worth following
		}
		if !doublestar.MatchUnvalidated(part, name) {
			return false
		}
		if !more {
			return true // a folder above dir, or dir itself, matches
		}
		pattern = rest
	}
	return true
}

// last returns the index of the last glob that matches path or a folder above it, or -1.
func (g Globs) last(path string) int {
	if g.byLiteral == nil {
		for i := len(g.globs) - 1; i >= 0; i-- {
			if g.globs[i].covers(path) {
				return i
			}
		}
		return -1
	}
	last := -1
	for p := path; ; p = parent(p) {
		if i, ok := g.byLiteral[p]; ok {
			last = max(last, i)
		}
		if p == "" {
			break
		}
	}
	for _, i := range slices.Backward(g.others) {
		if i < last || g.globs[i].covers(path) {
			return max(i, last)
		}
	}
	return last
}

// Match tells whether the globs take path.
func (g Globs) Match(path string) bool {
	last := g.last(path)
	return last >= 0 && !g.globs[last].negated
}

// Below tells how much of what is below the folder dir the globs take; "" is the root. Who walks a tree leaves out folders with
// None.
func (g Globs) Below(dir string) Coverage {
	last := g.last(dir)
	taken := last >= 0 && !g.globs[last].negated
	for i := last + 1; i < len(g.globs); i++ {
		if g.globs[i].negated == taken && g.globs[i].reaches(dir) {
			return Some
		}
	}
	if taken {
		return All
	}
	return None
}

// Literals returns the paths that the globs take, with all that is below them, if they are nothing but paths. Then there is
// nothing to search for.
func (g Globs) Literals() (paths []string, ok bool) {
	for i := range g.globs {
		if !g.globs[i].literal || g.globs[i].negated {
			return nil, false
		}
	}
	for i := range g.globs {
		paths = append(paths, g.globs[i].pattern)
	}
	return paths, true
}

// Roots returns the paths below which (or at which) everything lies that the globs could take, sorted and none below another. They
// are the fixed beginnings of the globs; [""] means that any path may be taken.
func (g Globs) Roots() []string {
	roots := make([]string, 0, len(g.globs))
	for i := range g.globs {
		if !g.globs[i].negated {
			roots = append(roots, g.globs[i].root())
		}
	}
	// In the order of paths ("a", "a/b", "a.txt") what is below a root comes right behind it.
	slices.SortFunc(roots, func(a, b string) int {
		return slices.Compare(strings.Split(a, "/"), strings.Split(b, "/"))
	})
	kept := roots[:0]
	for _, r := range roots {
		if len(kept) == 0 || !inside(r, kept[len(kept)-1]) {
			kept = append(kept, r)
		}
	}
	slices.Sort(kept)
	return kept
}

func (g *glob) root() string {
	if g.literal {
		return g.pattern
	}
	fixed := g.pattern[:strings.IndexAny(g.pattern, `*?[]{}\`)]
	return parent(fixed)
}

// Tracker asks Globs about paths and remembers which globs have matched none. It is for one goroutine.
type Tracker struct {
	globs Globs
	// open are the indices of the globs that take and have matched nothing yet.
	open []int
}

// Track returns a Tracker that has seen nothing.
func (g Globs) Track() *Tracker {
	t := &Tracker{globs: g}
	for i := range g.globs {
		if !g.globs[i].negated {
			t.open = append(t.open, i)
		}
	}
	return t
}

// Match is Globs.Match, and notes which globs match path or a folder above it. path may be a folder, too.
func (t *Tracker) Match(path string) bool {
	if len(t.open) > 0 {
		t.open = slices.DeleteFunc(t.open, func(i int) bool { return t.globs.globs[i].covers(path) })
	}
	return t.globs.Match(path)
}

// Waits tells whether a glob that has matched nothing yet could match something below the folder dir.
func (t *Tracker) Waits(dir string) bool {
	return slices.ContainsFunc(t.open, func(i int) bool { return t.globs.globs[i].reaches(dir) })
}

// Unmatched returns the globs, as they were written, that have matched no path so far. A glob with "!" is never among them: it is
// no error that there was nothing to take away.
func (t *Tracker) Unmatched() []string {
	var texts []string
	for _, i := range t.open {
		texts = append(texts, t.globs.globs[i].text)
	}
	return texts
}
