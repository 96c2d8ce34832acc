package source

import (
	"iter"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// request is one distinct Request, compiled.
type request struct {
	globs []glob
	top   []string // the folders that lead from the top of the repository to that of the request
	err   *Error   // why it cannot be taken at all
	start *state   // at the top of the repository
}

// glob is one pattern of a request. A walk compares it part by part, so that it goes only where the pattern leads.
type glob struct {
	text    string
	negated bool
	// alternatives are the pattern without its braces, each split at "/" and with the parts of request.top in front.
	alternatives [][]part
}

// part is what stands between two "/" of a pattern.
type part struct {
	kind partKind
	text string
}

type partKind uint8

const (
	literal partKind = iota // text is the name
	suffix                  // "*text"
	deep                    // "**"
	pattern                 // anything else, for doublestar
)

func (p part) matches(name string) bool {
	switch p.kind {
	case literal:
		return p.text == name
	case suffix:
		return strings.HasSuffix(name, p.text)
	case deep:
		return true
	default:
		return doublestar.MatchUnvalidated(p.text, name)
	}
}

// maxAlternatives bounds what braces may multiply to.
const maxAlternatives = 4096

// compileGlob reads a pattern; top are the parts of the folder that it is relative to.
func compileGlob(text string, top []string) (glob, *Error) {
	g := glob{text: text}
	body, negated := strings.CutPrefix(text, "!")
	g.negated = negated
	refuse := func(reason, hint string) (glob, *Error) { return g, &Error{Glob: text, Reason: reason, Hint: hint} }
	if !doublestar.ValidatePattern(body) || strings.ContainsRune(body, 0) {
		return refuse("is not a valid glob", "a bracket or a brace in it does not end; a backslash in front makes it an ordinary character")
	}
	alternatives, ok := expandBraces(body)
	if !ok {
		return refuse("has too many alternatives", "write it as several globs")
	}
	for _, alt := range alternatives {
		if strings.HasPrefix(alt, "/") || filepath.VolumeName(alt) != "" {
			return refuse("is absolute", "globs are relative to the folder of the program or to the top of the repository")
		}
		parts := make([]part, 0, len(top)+4)
		for _, name := range top {
			parts = append(parts, part{kind: literal, text: name})
		}
		for name := range splitGlob(alt) {
			switch name {
			case "..":
				return refuse(`climbs with ".."`, `a source can be relative to the top of the repository, and that is where it ends`)
			case "":
				return refuse("has an empty part", `"." stands for everything`)
			case ".":
				return refuse(`has "." inside`, `leave it out`)
			}
			parts = append(parts, compilePart(name))
		}
		g.alternatives = append(g.alternatives, parts)
	}
	return g, nil
}

// splitGlob yields the parts of a pattern without the "./" and the "/" that people put around it; none for ".".
func splitGlob(pat string) iter.Seq[string] {
	for strings.HasPrefix(pat, "./") && len(pat) > 2 {
		pat = pat[2:]
	}
	if pat == "." || pat == "./" {
		return func(func(string) bool) {}
	}
	return strings.SplitSeq(strings.TrimSuffix(pat, "/"), "/")
}

func compilePart(name string) part {
	const special = `*?[]{}\`
	switch {
	case name == "**":
		return part{kind: deep}
	case !strings.ContainsAny(name, special):
		return part{kind: literal, text: name}
	case name[0] == '*' && !strings.ContainsAny(name[1:], special):
		return part{kind: suffix, text: name[1:]}
	case !strings.ContainsAny(name, `*?[]{}`) && !strings.HasSuffix(name, `\`):
		var b strings.Builder
		for i := 0; i < len(name); i++ {
			if name[i] == '\\' {
				i++
			}
			b.WriteByte(name[i])
		}
		return part{kind: literal, text: b.String()}
	default:
		return part{kind: pattern, text: name}
	}
}

// expandBraces returns every pattern that the braces of a valid pattern stand for, since an alternative may hold a "/".
func expandBraces(pat string) ([]string, bool) {
	open := -1
	depth := 0
	var cuts []int // the commas and the end of the first outermost brace
	class := false
scan:
	for i := 0; i < len(pat); i++ {
		switch c := pat[i]; {
		case c == '\\':
			i++
		case class:
			class = c != ']'
		case c == '[':
			class = true
		case c == '{':
			if depth++; depth == 1 {
				open = i
			}
		case c == ',' && depth == 1:
			cuts = append(cuts, i)
		case c == '}' && depth > 0:
			if depth--; depth == 0 {
				cuts = append(cuts, i)
				break scan
			}
		}
	}
	if len(cuts) == 0 {
		return []string{pat}, true
	}
	var all []string
	from := open + 1
	end := cuts[len(cuts)-1]
	for _, cut := range cuts {
		more, ok := expandBraces(pat[:open] + pat[from:cut] + pat[end+1:])
		if !ok || len(all)+len(more) > maxAlternatives {
			return nil, false
		}
		all = append(all, more...)
		from = cut + 1
	}
	return all, true
}

// state is how far the globs of one request have come in one folder. It is immutable.
type state struct {
	req *request
	// open are the places from which names in this folder are compared.
	open []place
	// done are the globs that matched this folder or one above it, and so everything in it; ascending, and without those that a
	// later negated glob has taken away. It is empty or all positive.
	done []int
}

// place is the next part of an alternative of a glob.
type place struct {
	glob, alt, part int
}

// startState is the state at the top of the repository.
func (r *request) startState() *state {
	s := &state{req: r}
	last := -1
	for g := range r.globs {
		for a := range r.globs[g].alternatives {
			last = s.reach(place{glob: g, alt: a}, last)
		}
	}
	s.settle(last)
	return s
}

// reach adds a place, and the one after it where it is a "**" that matches no folder at all. It returns the last negated glob that
// has come to its end, given the last one so far.
func (s *state) reach(p place, lastNegated int) int {
	g := &s.req.globs[p.glob]
	parts := g.alternatives[p.alt]
	if p.part == len(parts) {
		if g.negated {
			return max(lastNegated, p.glob)
		}
		if !slices.Contains(s.done, p.glob) {
			s.done = append(s.done, p.glob)
		}
		return lastNegated
	}
	if !slices.Contains(s.open, p) {
		s.open = append(s.open, p)
	}
	if parts[p.part].kind == deep {
		p.part++
		return s.reach(p, lastNegated)
	}
	return lastNegated
}

// settle drops what the last negated glob has taken away for good: everything before it.
func (s *state) settle(lastNegated int) {
	slices.Sort(s.done)
	if lastNegated < 0 {
		return
	}
	s.done = slices.DeleteFunc(s.done, func(g int) bool { return g < lastNegated })
	s.open = slices.DeleteFunc(s.open, func(p place) bool { return p.glob < lastNegated })
}

// enter returns the state in the folder of that name, or nil where nothing in it can be selected.
func (s *state) enter(name string) *state {
	if len(s.open) == 0 {
		if len(s.done) == 0 {
			return nil
		}
		return s
	}
	if len(s.done) == 0 && !slices.ContainsFunc(s.open, func(p place) bool { return s.part(p).matches(name) }) {
		return nil
	}
	next := &state{req: s.req, done: slices.Clone(s.done)}
	last := -1
	for _, p := range s.open {
		part := s.part(p)
		if !part.matches(name) {
			continue
		}
		if part.kind != deep {
			p.part++
		}
		last = next.reach(p, last)
	}
	next.settle(last)
	if len(next.done) == 0 && !next.hopes() {
		return nil
	}
	return next
}

// hopes tells whether an open place belongs to a glob that selects.
func (s *state) hopes() bool {
	return slices.ContainsFunc(s.open, func(p place) bool { return !s.req.globs[p.glob].negated })
}

func (s *state) part(p place) part { return s.req.globs[p.glob].alternatives[p.alt][p.part] }

// selects tells whether the file of that name is selected, and calls matched for each glob that it counts for.
func (s *state) selects(name string, matched func(glob int)) bool {
	last, selected := -1, false
	for _, p := range s.open {
		if s.req.globs[p.glob].negated && p.glob > last && s.completes(p, name) {
			last = p.glob
		}
	}
	for _, g := range s.done {
		if g > last {
			selected = true
			if matched == nil {
				return true
			}
			matched(g)
		}
	}
	for _, p := range s.open {
		if p.glob > last && !s.req.globs[p.glob].negated && s.completes(p, name) {
			selected = true
			if matched == nil {
				return true
			}
			matched(p.glob)
		}
	}
	return selected
}

// completes tells whether the name at p ends the glob. Where a "**" follows it does not: "a/**" is what is in the folder a, and no
// file a. (doublestar is of two minds about that: to it "a/**" matches "a", but neither "a*/**" nor "a/**/**" does.)
func (s *state) completes(p place, name string) bool {
	parts := s.req.globs[p.glob].alternatives[p.alt]
	return p.part == len(parts)-1 && parts[p.part].matches(name)
}

// everything tells whether all files below the folder are selected, whatever their names.
func (s *state) everything() bool {
	return len(s.done) > 0 && !slices.ContainsFunc(s.open, func(p place) bool { return s.req.globs[p.glob].negated })
}

// literals returns the only names in the folder that can be selected or entered, sorted; false where others can.
func (s *state) literals() ([]string, bool) {
	if len(s.done) > 0 {
		return nil, false
	}
	var names []string
	for _, p := range s.open {
		part := s.part(p)
		switch {
		case s.req.globs[p.glob].negated:
		case part.kind != literal:
			return nil, false
		default:
			names = append(names, part.text)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), true
}
