// Package quote writes commands so that a person can paste them into a shell, and a terminal that shows them obeys nothing in them.
//
// It is a leaf: it knows words and shells, and not who shows them or how much room there is.
package quote

import (
	"fmt"
	"strings"
)

// Words writes a command so that it can be pasted into a shell: all of it, on as many lines as it has. What a terminal would not print but
// obey is written as `printf` writes it.
func Words(args ...string) string {
	words := make([]string, len(args))
	for i, a := range args {
		words[i] = word(a)
	}
	return strings.Join(words, " ")
}

// Line writes a command in one line: of an argument that has several the first one that says something, with an ellipsis for the others.
func Line(args ...string) string {
	short := make([]string, len(args))
	for i, a := range args {
		short[i] = a
		if first, rest, more := strings.Cut(strings.TrimLeft(a, "\n\t "), "\n"); more {
			if short[i] = strings.TrimRight(first, " \t"); strings.TrimSpace(rest) != "" {
				short[i] += " …"
			}
		}
	}
	return strings.ReplaceAll(Words(short...), "\n", " ")
}

func word(arg string) string {
	safe := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:=,+@%", r)
	}
	if arg != "" && strings.TrimLeftFunc(arg, safe) == "" {
		return arg
	}
	obeyed := func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 || r == '\uFFFD' }
	if !strings.ContainsFunc(arg, obeyed) {
		return "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
	}
	var b strings.Builder
	for i := range len(arg) {
		if c := arg[i]; c < ' ' || c >= 0x7f || c == '\\' || c == '\'' || c == '%' || c == '"' || c == '$' || c == '`' {
			fmt.Fprintf(&b, `\%03o`, c)
		} else {
			b.WriteByte(c)
		}
	}
	return `"$(printf '` + b.String() + `')"`
}
