// Package gitignore decides which paths the patterns of .gitignore files ignore, exactly as git does.
//
// It knows patterns and nothing else: no files, no folders, no index. Whoever walks a tree parses the files that it meets,
// hangs them below each other with With, and asks about one path at a time. It is always case-sensitive and works on bytes,
// so that its answers do not depend on the machine. (No library did this for Go without bringing a whole git with it.)
package gitignore

import (
	"bytes"
	"fmt"
	"strings"
)

// A Rule is one pattern of one file.
type Rule struct {
	// File is the name that Parse was given.
	File string
	// Line counts from 1.
	Line int
	// Pattern is the line as it was written, without trailing blanks.
	Pattern string

	negated  bool
	dirOnly  bool
	baseName bool // matches the last part of the path only
	literal  string
	suffix   string // of a "*suffix" pattern
	glob     glob   // of any other pattern
	kind     ruleKind
}

type ruleKind uint8

const (
	never  ruleKind = iota // malformed, or cannot match anything
	equal                  // the whole text equals literal
	ending                 // the text ends in suffix
	wild                   // the text starts with literal and the rest matches glob
)

// Patterns are the rules of one file. The zero value has none.
type Patterns struct {
	// names finds the last rule that is a plain name, such as "node_modules", so that the many rules of this kind cost one look-up.
	names map[string]int
	// others are the rules of every other kind, as places in rules, ascending.
	others []int
	rules  []Rule
}

// Parse reads the content of a .gitignore file; name goes into the rules for messages. It never fails: git has no malformed
// files, only patterns that match nothing.
func Parse(name string, data []byte) *Patterns {
	p := &Patterns{}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	for line := 1; len(data) > 0; line++ {
		text, rest, _ := bytes.Cut(data, []byte("\n"))
		data = rest
		if r, ok := parseLine(string(text)); ok {
			r.File, r.Line = name, line
			p.add(r)
		}
	}
	return p
}

func (p *Patterns) add(r Rule) {
	n := len(p.rules)
	p.rules = append(p.rules, r)
	switch {
	case r.kind == never:
	case r.kind == equal && r.baseName && !r.dirOnly:
		if p.names == nil {
			p.names = make(map[string]int)
		}
		p.names[r.literal] = n
	default:
		p.others = append(p.others, n)
	}
}

// parseLine reads one line without its line feed; false where it holds no pattern.
func parseLine(line string) (Rule, bool) {
	if line == "" || line[0] == '#' {
		return Rule{}, false
	}
	line = strings.TrimSuffix(line, "\r")
	if i := strings.IndexByte(line, 0); i >= 0 {
		line = line[:i]
	}
	line = trimBlanks(line)
	if line == "" {
		return Rule{}, false
	}
	r := Rule{Pattern: line}
	pat := line
	if pat[0] == '!' {
		r.negated, pat = true, pat[1:]
	}
	if strings.HasSuffix(pat, "/") {
		r.dirOnly, pat = true, pat[:len(pat)-1]
	}
	r.baseName = !strings.Contains(pat, "/")
	r.compile(pat)
	return r, true
}

func (r *Rule) compile(pat string) {
	if !r.baseName {
		pat = strings.TrimPrefix(pat, "/")
	}
	if pat == "" {
		return
	}
	if r.baseName && pat[0] == '*' && plainLength(pat[1:]) == len(pat)-1 {
		r.kind, r.suffix = ending, pat[1:]
		return
	}
	n := plainLength(pat)
	if n == len(pat) {
		r.kind, r.literal = equal, pat
		return
	}
	if r.baseName {
		n = 0 // git cuts the plain beginning off only where it compares whole paths; it matters to "a**/b", see compileGlob
	}
	g, ok := compileGlob(pat[n:])
	if !ok {
		return
	}
	r.kind, r.literal, r.glob = wild, pat[:n], g
}

// trimBlanks removes trailing spaces that no backslash protects.
func trimBlanks(s string) string {
	end := -1
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case ' ':
			if end < 0 {
				end = i
			}
		case '\\':
			i++
			if i == len(s) {
				return s
			}
			end = -1
		default:
			end = -1
		}
	}
	if end < 0 {
		return s
	}
	return s[:end]
}

// Negated tells whether the rule includes again what an earlier one ignores.
func (r *Rule) Negated() bool { return r.negated }

// String returns where the rule stands and what it says: `.gitignore:3 ("*.o")`.
func (r *Rule) String() string { return fmt.Sprintf("%s:%d (%q)", r.File, r.Line, r.Pattern) }

// match compares the rule with a path relative to the folder of its file; base is the last part of path.
func (r *Rule) match(path, base string, dir bool) bool {
	if r.dirOnly && !dir {
		return false
	}
	text := path
	if r.baseName {
		text = base
	}
	switch r.kind {
	case equal:
		return text == r.literal
	case ending:
		return strings.HasSuffix(text, r.suffix)
	case wild:
		return strings.HasPrefix(text, r.literal) && r.glob.match(text[len(r.literal):])
	default:
		return false
	}
}

// last returns the last rule that matches, or nil.
func (p *Patterns) last(path, base string, dir bool) *Rule {
	best := -1
	if n, ok := p.names[base]; ok {
		best = n
	}
	for i := len(p.others) - 1; i >= 0 && p.others[i] > best; i-- {
		if p.rules[p.others[i]].match(path, base, dir) {
			best = p.others[i]
		}
	}
	if best < 0 {
		return nil
	}
	return &p.rules[best]
}

// Empty tells whether no rule can match.
func (p *Patterns) Empty() bool { return len(p.names) == 0 && len(p.others) == 0 }

// A Chain is the patterns that apply in one folder: its own before those of the folders above it. The nil Chain has none.
type Chain struct {
	parent   *Chain
	patterns *Patterns
	skip     int // bytes of a path before the part that is relative to the folder of the patterns
}

// With returns the chain of a folder that has patterns of its own. The folder is given as it appears in the paths that Match
// is asked about: relative to the top, "" for the top itself.
func (c *Chain) With(folder string, p *Patterns) *Chain {
	if p.Empty() {
		return c
	}
	skip := 0
	if folder != "" {
		skip = len(folder) + 1
	}
	return &Chain{parent: c, patterns: p, skip: skip}
}

// Match returns the rule that decides about path, relative to the top with "/", or nil where none does; a rule that is Negated
// means that path is not ignored. It looks at path alone: below a folder that is ignored everything is, whatever the
// patterns say, and the caller must not ask.
func (c *Chain) Match(path string, dir bool) *Rule {
	base := path[strings.LastIndexByte(path, '/')+1:]
	for ; c != nil; c = c.parent {
		if r := c.patterns.last(path[c.skip:], base, dir); r != nil {
			return r
		}
	}
	return nil
}

// Ignored is Match for those who need no reason.
func (c *Chain) Ignored(path string, dir bool) bool {
	r := c.Match(path, dir)
	return r != nil && !r.negated
}
