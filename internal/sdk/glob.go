package sdk

import (
	"fmt"
	"path"
	"regexp"
	"strings"
)

// CompileGlob makes a regular expression of a doublestar glob. It is small because
// what every pipeline links imports no library for it.
func CompileGlob(glob string) (*regexp.Regexp, error) {
	var b strings.Builder
	b.WriteString("^")
	depth := 0
	for i := 0; i < len(glob); i++ {
		switch c := glob[i]; {
		case strings.HasPrefix(glob[i:], "**/") && (i == 0 || glob[i-1] == '/'):
			b.WriteString("(?:.*/)?")
			i += 2
		case strings.HasPrefix(glob[i:], "**"):
			b.WriteString(".*")
			i++
		case c == '*':
			b.WriteString("[^/]*")
		case c == '?':
			b.WriteString("[^/]")
		case c == '[':
			end := strings.IndexByte(glob[i+1:], ']')
			if end < 1 {
				return nil, fmt.Errorf("the glob %q has a [ without ]", glob)
			}
			class := glob[i+1 : i+1+end]
			if rest, ok := strings.CutPrefix(class, "!"); ok {
				class = "^" + rest
			}
			b.WriteString("[" + class + "]")
			i += end + 1
		case c == '{':
			b.WriteString("(?:")
			depth++
		case c == '}' && depth > 0:
			b.WriteByte(')')
			depth--
		case c == ',' && depth > 0:
			b.WriteByte('|')
		case c == '\\' && i+1 < len(glob):
			i++
			b.WriteString(regexp.QuoteMeta(glob[i : i+1]))
		default:
			b.WriteString(regexp.QuoteMeta(glob[i : i+1]))
		}
	}
	if depth > 0 {
		return nil, fmt.Errorf("the glob %q has a { without }", glob)
	}
	b.WriteString("$")
	return regexp.Compile(b.String())
}

// Matches reports whether a glob matches a whole path.
func Matches(glob, at string) bool {
	compiled, err := CompileGlob(glob)
	return err == nil && compiled.MatchString(at)
}

// Takes reports whether a glob matches a path or a folder above it.
func Takes(glob, at string) bool {
	for ; at != "."; at = path.Dir(at) {
		if Matches(glob, at) {
			return true
		}
	}
	return glob == "."
}
