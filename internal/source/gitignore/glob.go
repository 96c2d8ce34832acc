package gitignore

import "strings"

// glob is a compiled wildmatch pattern, as git's wildmatch.c with WM_PATHNAME understands it, over bytes.
type glob []token

type token struct {
	kind tokenKind
	char byte       // of a char
	set  *[4]uint64 // of a class
}

type tokenKind uint8

const (
	char    tokenKind = iota
	anyChar           // "?": one byte that is not "/"
	class             // "[…]": one byte of the set, never "/"
	star              // "*": any bytes but "/"
	deep              // "**": any bytes
	folders           // "**/": nothing, or any bytes up to and including a "/"
)

// special are the bytes that mean something in a pattern.
const special = "*?[\\"

// plainLength is the number of bytes before the first special one.
func plainLength(pat string) int {
	if i := strings.IndexAny(pat, special); i >= 0 {
		return i
	}
	return len(pat)
}

// compileGlob returns false for a pattern that can match nothing, because a class or an escape in it does not end.
//
// "**" is more than "*" only where it fills a whole part of the path. git looks for the "/" before it in what is left of the pattern
// once the plain beginning has been cut off; so in "a**/b", too, it is: its callers cut that beginning off before they come here.
func compileGlob(pat string) (glob, bool) {
	var g glob
	for i := 0; i < len(pat); {
		switch c := pat[i]; c {
		case '\\':
			if i+1 == len(pat) {
				return nil, false
			}
			g = append(g, token{kind: char, char: pat[i+1]})
			i += 2
		case '?':
			g = append(g, token{kind: anyChar})
			i++
		case '*':
			t, n := compileStar(pat, i)
			g = append(g, t)
			i += n
		case '[':
			set, n, ok := compileClass(pat[i+1:])
			if !ok {
				return nil, false
			}
			g = append(g, token{kind: class, set: set})
			i += 1 + n
		default:
			g = append(g, token{kind: char, char: c})
			i++
		}
	}
	return g, true
}

// compileStar reads the run of "*" at pat[i] and returns the number of bytes that it used.
func compileStar(pat string, i int) (token, int) {
	n := 1
	for i+n < len(pat) && pat[i+n] == '*' {
		n++
	}
	rest := pat[i+n:]
	if n == 1 || (i > 0 && pat[i-1] != '/') {
		return token{kind: star}, n
	}
	switch {
	case strings.HasPrefix(rest, "/"):
		return token{kind: folders}, n + 1
	case rest == "" || strings.HasPrefix(rest, `\/`):
		return token{kind: deep}, n
	default:
		return token{kind: star}, n
	}
}

// compileClass reads what follows "[" and returns the number of bytes up to and including "]".
func compileClass(pat string) (*[4]uint64, int, bool) {
	set := new([4]uint64)
	i := 0
	negated := i < len(pat) && (pat[i] == '!' || pat[i] == '^')
	if negated {
		i++
	}
	// prev is the byte that a "-" starts its range at; 0 where there is none. A "]" that comes first stands for itself.
	var prev byte
	for first := true; ; first = false {
		if i >= len(pat) {
			return nil, 0, false
		}
		c := pat[i]
		if c == ']' && !first {
			break
		}
		switch {
		case c == '\\':
			if i+1 >= len(pat) {
				return nil, 0, false
			}
			i++
			c = pat[i]
			add(set, c, c)
		case c == '-' && prev != 0 && i+1 < len(pat) && pat[i+1] != ']':
			i++
			if pat[i] == '\\' {
				i++
				if i >= len(pat) {
					return nil, 0, false
				}
			}
			add(set, prev, pat[i])
			c = 0
		case c == '[' && i+1 < len(pat) && pat[i+1] == ':':
			n, ok := addNamed(set, pat[i+2:])
			if !ok {
				return nil, 0, false
			}
			if n > 0 {
				i += 1 + n
				c = 0
			} else {
				add(set, '[', '[')
			}
		default:
			add(set, c, c)
		}
		prev = c
		i++
	}
	if negated {
		for k := range set {
			set[k] = ^set[k]
		}
	}
	return set, i + 1, true
}

func add(set *[4]uint64, lo, hi byte) {
	for c := int(lo); c <= int(hi); c++ {
		set[c>>6] |= 1 << (c & 63)
	}
}

// addNamed reads what follows "[:" in a class. It returns the number of bytes up to and including ":]", 0 where it is no name
// after all but a plain "[", and false where the class does not end or the name is unknown.
func addNamed(set *[4]uint64, pat string) (int, bool) {
	end := strings.IndexByte(pat, ']')
	if end < 0 {
		return 0, false
	}
	if end == 0 || pat[end-1] != ':' {
		return 0, true
	}
	member := named(pat[:end-1])
	if member == nil {
		return 0, false
	}
	for c := range 256 {
		if c < 128 && member(byte(c)) {
			add(set, byte(c), byte(c))
		}
	}
	return end + 1, true
}

func named(name string) func(byte) bool {
	lower := func(c byte) bool { return 'a' <= c && c <= 'z' }
	upper := func(c byte) bool { return 'A' <= c && c <= 'Z' }
	digit := func(c byte) bool { return '0' <= c && c <= '9' }
	alnum := func(c byte) bool { return lower(c) || upper(c) || digit(c) }
	graph := func(c byte) bool { return '!' <= c && c <= '~' }
	switch name {
	case "alnum":
		return alnum
	case "alpha":
		return func(c byte) bool { return lower(c) || upper(c) }
	case "blank":
		return func(c byte) bool { return c == ' ' || c == '\t' }
	case "cntrl":
		return func(c byte) bool { return c < ' ' || c == 127 }
	case "digit":
		return digit
	case "graph":
		return graph
	case "lower":
		return lower
	case "print":
		return func(c byte) bool { return c == ' ' || graph(c) }
	case "punct":
		return func(c byte) bool { return graph(c) && !alnum(c) }
	case "space":
		return func(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }
	case "upper":
		return upper
	case "xdigit":
		return func(c byte) bool { return digit(c) || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F' }
	default:
		return nil
	}
}

// match compares all of text. It keeps two places to go back to: the last "*", which may take another byte of the same part of
// the path, and the last "**", which may take anything. An earlier one never needs to be tried again, since the later one can
// take whatever giving the earlier one more would give it; so the time is bounded by the product of the lengths for each kind.
func (g glob) match(text string) bool {
	p, t := 0, 0
	starP, starT := -1, 0
	deepP, deepT := -1, 0
	for {
		if p < len(g) {
			switch k := g[p].kind; {
			case k == star:
				starP, starT = p, t
				p++
				continue
			case k == deep || k == folders:
				deepP, deepT = p, t
				starP = -1
				p++
				continue
			case t < len(text) && g[p].matches(text[t]):
				p++
				t++
				continue
			}
		} else if t == len(text) {
			return true
		}
		if starP >= 0 && starT < len(text) && text[starT] != '/' {
			starT++
			p, t = starP+1, starT
			continue
		}
		if deepP < 0 {
			return false
		}
		next, ok := g[deepP].extend(text, deepT)
		if !ok {
			return false
		}
		deepT, starP = next, -1
		p, t = deepP+1, next
	}
}

// extend gives a "**" that ends at t more of text.
func (k token) extend(text string, t int) (int, bool) {
	if k.kind == deep {
		return t + 1, t < len(text)
	}
	i := strings.IndexByte(text[t:], '/')
	return t + i + 1, i >= 0
}

func (k token) matches(c byte) bool {
	switch k.kind {
	case char:
		return c == k.char
	case anyChar:
		return c != '/'
	default:
		return c != '/' && k.set[c>>6]&(1<<(c&63)) != 0
	}
}
