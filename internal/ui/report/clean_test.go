package report

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// lines feeds the pieces and returns what comes out.
func lines(color bool, pieces ...string) []string {
	l := Lines{Color: color}
	var got []string
	emit := func(line []byte) { got = append(got, string(line)) }
	for _, p := range pieces {
		l.Write(p, emit)
	}
	l.Flush(emit)
	return got
}

func TestLines(t *testing.T) {
	for _, c := range []struct {
		name  string
		color bool
		in    []string
		want  []string
	}{
		{"whole lines", false, []string{"a\nb\n"}, []string{"a", "b"}},
		{"pieces", false, []string{"a", "b\nc"}, []string{"ab", "c"}},
		{"blank lines stay", false, []string{"\n\na\n"}, []string{"", "", "a"}},
		{"carriage return and newline", false, []string{"a\r", "\nb\r\n"}, []string{"a", "b"}},
		{"progress bar", false, []string{" 1%\r", " 50%\r100%\ndone"}, []string{"100%", "done"}},
		{"progress bar by column", false, []string{" 1%\x1b[2K\x1b[1G 50%\x1b[G100%"}, []string{"100%"}},
		{"progress bar without an end", false, []string{"1%\r2%\r"}, []string{"2%"}},
		{"a character in pieces", false, []string{"\xe6\x97", "\xa5\n"}, []string{"日"}},
		{"half a character", false, []string{"a\xe6\x97"}, []string{"a\ufffd"}},
		{"no UTF-8", false, []string{"a\xffb\n"}, []string{"a\ufffdb"}},
		{"cursor, screen and title", false, []string{"\x1b[2J\x1b[10;10Ha\x1b]0;title\ab\x1b]0;t\x1b\\c\x1b7\x1bcd\x1b(Be\x07\x08\x00\x7f"}, []string{"abcde"}},
		{"a device string ends with the line", false, []string{"a\x1bPq#0\nb"}, []string{"a", "b"}},
		{"a sequence in pieces", false, []string{"a\x1b", "[3", "1", "mb"}, []string{"ab"}},
		{"a sequence cut by a newline", false, []string{"a\x1b[3\nb"}, []string{"a", "b"}},
		{"C1 controls", false, []string{"a\u009b2Jb\u0085c"}, []string{"a2Jbc"}},
		{"characters that reorder", false, []string{"a\u202eb\u2066c\u2028d"}, []string{"abcd"}},
		{"links keep their text", true, []string{"\x1b]8;;http://x\x1b\\text\x1b]8;;\x1b\\"}, []string{"text"}},
		{"colours go", false, []string{"\x1b[1;31mred\x1b[0m"}, []string{"red"}},
		{"colours stay", true, []string{"\x1b[1;31mred\x1b[0m plain"}, []string{"\x1b[1;31mred\x1b[0m plain"}},
		{"colours go on", true, []string{"\x1b[31ma\n\x1b[1mb\nc\x1b[md\ne"},
			[]string{"\x1b[31ma\x1b[0m", "\x1b[31m\x1b[1mb\x1b[0m", "\x1b[31m\x1b[1mc\x1b[md", "e"}},
		{"a private sequence is no colour", true, []string{"\x1b[>4;2ma\x1b[?25lb"}, []string{"ab"}},
		{"only a colour is no line", true, []string{"a\n\x1b[0m"}, []string{"a"}},
	} {
		if diff := cmp.Diff(c.want, lines(c.color, c.in...)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestALineWithoutEndIsCut(t *testing.T) {
	l := Lines{Color: true}
	total, emitted := 0, 0
	emit := func(line []byte) {
		emitted++
		total += strings.Count(string(line), "日")
		if len(line) > maxLine+len(resetStyle) || !utf8.Valid(line) {
			t.Fatalf("a line of %d bytes, valid %v", len(line), utf8.Valid(line))
		}
	}
	const n = 1 << 18
	piece := strings.Repeat("日\x1b[31m", 64)
	for range n / 64 {
		l.Write(piece, emit)
		if cap(l.line) > 4*maxLine || cap(l.style) > 4*maxStyle || cap(l.seq) > 4*maxSequence {
			t.Fatalf("memory grows: line %d, style %d, sequence %d", cap(l.line), cap(l.style), cap(l.seq))
		}
	}
	l.Write(strings.Repeat("\x1b[32m", n), emit)
	l.Write("\x1b["+strings.Repeat("3", n), emit)
	l.Write("\x1b]"+strings.Repeat("x", n), emit)
	l.Flush(emit)
	if total != n {
		t.Errorf("%d of %d characters came out in %d lines", total, n, emitted)
	}
	if cap(l.line) > 4*maxLine || cap(l.seq) > 4*maxSequence {
		t.Errorf("memory grew: line %d, sequence %d", cap(l.line), cap(l.seq))
	}
}

// Whatever a step prints and however it is cut, the lines are the same and have nothing in them that moves anything.
func TestLinesProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		part := rapid.OneOf(
			rapid.SampledFrom([]string{"\n", "\r", "\r\n", "\x1b", "\x1b[", "\x1b[31m", "\x1b[0m", "\x1b]0;", "\a", "\x1b\\", "日", "\u009b", "\t", "m", "1"}),
			rapid.String(),
			rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }))
		text := strings.Join(rapid.SliceOf(part).Draw(t, "parts"), "")
		color := rapid.Bool().Draw(t, "color")
		whole := lines(color, text)
		var pieces []string
		for rest := text; rest != ""; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "cut")
			pieces = append(pieces, rest[:n])
			rest = rest[n:]
		}
		if diff := cmp.Diff(whole, lines(color, pieces...)); diff != "" {
			t.Fatalf("cutting %q changed it:\n%s", text, diff)
		}
		for _, l := range whole {
			if color {
				l = stripStyles(l)
			}
			for _, r := range l {
				if unicode.IsControl(r) && r != '\t' {
					t.Fatalf("%q came out of %q", l, text)
				}
			}
		}
	})
}

// stripStyles takes out the only control sequences that may be there.
func stripStyles(s string) string {
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(s, "\x1b[")
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		params, after, ok := strings.Cut(rest, "m")
		if !ok || strings.Trim(params, "0123456789;:") != "" {
			return b.String() + "\x1b"
		}
		s = after
	}
}

func BenchmarkLines(b *testing.B) {
	piece := strings.Repeat("tests/test_app.py::test_something \x1b[32mPASSED\x1b[0m\n", 100)
	b.SetBytes(int64(len(piece)))
	l := Lines{Color: true}
	for b.Loop() {
		l.Write(piece, func([]byte) {})
	}
}
