package report

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	// maxLine is where a line that does not end is cut, so that a step that prints megabytes without a newline costs no memory.
	maxLine = 8 << 10
	// maxSequence bounds a control sequence; none that is kept is nearly as long.
	maxSequence = 64
	// maxStyle bounds the colours that are carried over to the next line.
	maxStyle = 128

	resetStyle = "\x1b[0m"
)

// Lines makes whole, safe lines of what a step prints. What moves the cursor, clears the screen, sets a title or rings the bell is left out, as
// are the characters that reorder text; a carriage return starts the line anew, as it would on a terminal, so that of a progress bar its last
// state is left. Pieces may be cut anywhere, within a character or a control sequence as well.
type Lines struct {
	// Color keeps colours and other text styles. Every line then ends with a reset and begins with the styles that were in force.
	Color bool

	line     []byte // what the line holds so far, cleaned
	blank    bool   // whether line holds nothing but styles
	returned bool   // whether the next character starts the line anew
	state    state
	seq      []byte // the parameters of the control sequence that is being read
	style    []byte // the styles in force
	partial  []byte // the first bytes of a character that was cut
}

// state is where in a control sequence the reader is.
type state uint8

const (
	ground  state = iota
	escape        // after ESC
	csi           // after ESC [, until its final byte
	text          // in a string (OSC, DCS, …), until BEL, ESC or the end of the line
	charset       // after ESC and an intermediate byte, until its final byte
)

// Write takes a piece of output and calls emit for every line that it completes. The line is only valid until emit returns.
func (l *Lines) Write(piece string, emit func(line []byte)) {
	if len(l.partial) > 0 {
		piece = string(l.partial) + piece
		l.partial = l.partial[:0]
	}
	for i := 0; i < len(piece); {
		c := piece[i]
		if l.state == ground && c >= ' ' && c < 0x7f {
			n := printable(piece[i:])
			l.put(piece[i:i+n], emit)
			i += n
			continue
		}
		if c < utf8.RuneSelf {
			l.control(c, emit)
			i++
			continue
		}
		if !utf8.FullRuneInString(piece[i:]) {
			l.partial = append(l.partial, piece[i:]...)
			return
		}
		r, n := utf8.DecodeRuneInString(piece[i:])
		if l.state != text {
			l.state = ground
			if safe(r) {
				l.put(string(r), emit)
			}
		}
		i += n
	}
}

// Flush calls emit with what is left of a line that never ended.
func (l *Lines) Flush(emit func(line []byte)) {
	if len(l.partial) > 0 {
		l.partial = l.partial[:0]
		l.put(string(utf8.RuneError), emit)
	}
	l.state = ground
	if l.Pending() != nil {
		l.end(emit)
	}
	l.style = l.style[:0]
	l.begin()
}

// Pending returns the line that is not yet complete, nil when there is nothing in it.
func (l *Lines) Pending() []byte {
	if l.blank || len(l.line) == 0 {
		return nil
	}
	return l.line
}

// printable returns the number of leading bytes of s that are printable ASCII.
func printable(s string) int {
	n := 0
	for n < len(s) && s[n] >= ' ' && s[n] < 0x7f {
		n++
	}
	return n
}

// safe tells whether a character beyond ASCII may be shown: it is no control character and does not reorder what surrounds it.
func safe(r rune) bool {
	switch {
	case r < 0xa0, r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069, r == 0x2028, r == 0x2029:
		return false
	}
	return true
}

// put appends printable text, and cuts the line where it has become too long.
func (l *Lines) put(s string, emit func([]byte)) {
	if l.returned {
		l.begin()
	}
	for len(l.line)+len(s) > maxLine {
		n := max(maxLine-len(l.line), 0)
		for n > 0 && !utf8.RuneStart(s[n]) {
			n--
		}
		l.line = append(l.line, s[:n]...)
		s = s[n:]
		l.end(emit)
	}
	if s != "" {
		l.line = append(l.line, s...)
		l.blank = false
	}
}

// begin starts an empty line.
func (l *Lines) begin() {
	l.line = append(l.line[:0], l.style...)
	l.blank = true
	l.returned = false
}

func (l *Lines) end(emit func([]byte)) {
	if len(l.style) > 0 {
		l.line = append(l.line, resetStyle...)
	}
	emit(l.line)
	l.begin()
}

// control takes one ASCII byte that is a control character or part of a control sequence.
func (l *Lines) control(c byte, emit func([]byte)) {
	switch {
	case c == '\n':
		l.state = ground
		l.end(emit)
	case c == 0x1b:
		l.state = escape
		l.seq = l.seq[:0]
	case l.state == text:
		if c == '\a' {
			l.state = ground
		}
	case c == '\r':
		l.state = ground
		l.returned = true
	case c == '\t' && l.state == ground:
		l.put("\t", emit)
	case c < ' ' || c == 0x7f:
		l.state = ground
	case l.state == escape:
		l.escape(c)
	case l.state == csi:
		l.csi(c)
	case l.state == charset && c >= '0':
		l.state = ground
	}
}

// escape takes the byte after ESC.
func (l *Lines) escape(c byte) {
	switch {
	case c == '[':
		l.state = csi
	case strings.IndexByte("]PX^_", c) >= 0:
		l.state = text
	case c < '0':
		l.state = charset
	default:
		l.state = ground
	}
}

// csi takes a byte of a control sequence and acts on the last one.
func (l *Lines) csi(c byte) {
	if c < '@' {
		if len(l.seq) < maxSequence {
			l.seq = append(l.seq, c)
		}
		return
	}
	l.state = ground
	switch {
	case c == 'm' && l.Color:
		l.sgr()
	case c == 'G' && (len(l.seq) == 0 || string(l.seq) == "0" || string(l.seq) == "1"):
		l.returned = true
	}
}

// sgr keeps a text style, in the line and for the lines to come.
func (l *Lines) sgr() {
	if len(l.seq) == maxSequence {
		return
	}
	for _, c := range l.seq {
		if (c < '0' || c > '9') && c != ';' && c != ':' {
			return
		}
	}
	if l.returned {
		l.begin()
	}
	style := "\x1b[" + string(l.seq) + "m"
	if len(l.line) == 0 {
		l.blank = true
	}
	if len(l.line)+len(style) <= maxLine {
		l.line = append(l.line, style...)
	}
	first, _, more := strings.Cut(string(l.seq), ";")
	if strings.Trim(first, "0") == "" {
		l.style = l.style[:0]
		if !more {
			return
		}
	}
	if len(l.style)+len(style) > maxStyle {
		l.style = l.style[:0]
	}
	l.style = append(l.style, style...)
}

// Clean makes text of unknown origin safe to show. Its newlines are kept.
func Clean(s string) string {
	if printable(s) == len(s) {
		return s
	}
	var b strings.Builder
	add := func(line []byte) {
		b.Write(line)
		b.WriteByte('\n')
	}
	var l Lines
	l.Write(s, add)
	l.Flush(add)
	return strings.TrimRight(b.String(), "\n")
}

// OneLine is the first line of a text that has something in it, made safe to show.
func OneLine(s string) string {
	if printable(s) == len(s) && len(s) <= maxLine {
		return s
	}
	first, rest, more := strings.Cut(strings.TrimLeft(Clean(s), "\n"), "\n")
	if more && strings.TrimSpace(rest) != "" {
		first += " …"
	}
	return strings.ReplaceAll(first, "\t", " ")
}

// fields writes the members of a log message in the order of their names.
func fields(m map[string]any) string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(m)) {
		fmt.Fprintf(&b, "  %s=%v", k, m[k])
	}
	return b.String()
}
