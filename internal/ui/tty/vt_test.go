package tty

import (
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
)

// vt is a small terminal: rows of cells, a history of what scrolled off, and the modes that frames set. It knows the control sequences that
// frames use and fails the test on any other.
type vt struct {
	t       *testing.T
	width   int
	history []string
	rows    [][]string // a wide character is a cell with it and an empty one
	x, y    int
	pending bool // the last column was written and the next character wraps
	wrap    bool
	hidden  bool
	sync    bool
	writes  int
}

func newVT(t *testing.T, width, height int) *vt {
	v := &vt{t: t, width: width, wrap: true, rows: make([][]string, height)}
	for i := range v.rows {
		v.rows[i] = v.blank()
	}
	return v
}

func (v *vt) blank() []string {
	row := make([]string, v.width)
	for i := range row {
		row[i] = " "
	}
	return row
}

// Write shows a frame. Each has to be complete: synchronized, with the cursor and the wrapping as they were.
func (v *vt) Write(b []byte) (int, error) {
	v.writes++
	for s := string(b); s != ""; {
		if strings.HasPrefix(s, "\x1b[") {
			end := strings.IndexFunc(s[2:], func(r rune) bool { return r >= '@' && r <= '~' })
			if end < 0 {
				v.t.Fatalf("an unfinished sequence in %q", s)
			}
			v.csi(s[2:2+end], s[2+end])
			s = s[3+end:]
			continue
		}
		r, n := utf8.DecodeRuneInString(s)
		v.put(r)
		s = s[n:]
	}
	if v.sync || v.hidden || !v.wrap {
		v.t.Errorf("after a frame: synchronized %v, cursor hidden %v, wrapping %v", v.sync, v.hidden, v.wrap)
	}
	return len(b), nil
}

func (v *vt) csi(params string, final byte) {
	switch seq := params + string(final); seq {
	case "?2026h", "?2026l":
		v.sync = final == 'h'
	case "?25h", "?25l":
		v.hidden = final == 'l'
	case "?7h", "?7l":
		v.wrap = final == 'h'
	case "K":
		v.clear(v.y, v.x)
	case "J":
		v.clear(v.y, v.x)
		for y := v.y + 1; y < len(v.rows); y++ {
			v.clear(y, 0)
		}
	default:
		if final == 'm' {
			return
		}
		n, err := strconv.Atoi(params)
		if final != 'A' && final != 'B' || err != nil && params != "" {
			v.t.Fatalf("a sequence that no frame should have: %q", seq)
		}
		if final == 'A' {
			v.y = max(v.y-max(n, 1), 0)
		} else {
			v.y = min(v.y+max(n, 1), len(v.rows)-1)
		}
		v.pending = false
	}
	if !v.sync && params != "?2026" {
		v.t.Errorf("%q outside of the marks of a frame", params+string(final))
	}
}

func (v *vt) clear(y, from int) {
	for x := from; x < v.width; x++ {
		v.rows[y][x] = " "
	}
}

func (v *vt) put(r rune) {
	switch r {
	case '\r':
		v.x, v.pending = 0, false
		return
	case '\n':
		v.down()
		return
	}
	if r < ' ' || r == 0x7f {
		v.t.Fatalf("a control character %q on the screen", r)
	}
	w := ansi.StringWidth(string(r))
	if w == 0 {
		return
	}
	if v.pending || v.x+w > v.width {
		if v.wrap {
			v.x, v.pending = 0, false
			v.down()
		} else {
			v.x = v.width - w
		}
	}
	v.rows[v.y][v.x] = string(r)
	if w == 2 {
		v.rows[v.y][v.x+1] = ""
	}
	v.x += w
	if v.x >= v.width {
		v.x, v.pending = v.width-1, true
	}
}

func (v *vt) down() {
	if v.y < len(v.rows)-1 {
		v.y++
		return
	}
	v.history = append(v.history, strings.TrimRight(strings.Join(v.rows[0], ""), " "))
	v.rows = append(v.rows[1:], v.blank())
}

// narrow makes the terminal narrower, as most do: what does not fit any more is wrapped, and the cursor stays with its row.
func (v *vt) narrow(width int) {
	var rows [][]string
	height, cursor := len(v.rows), 0
	v.width = width
	last := len(v.rows) - 1
	for last > v.y && strings.TrimRight(strings.Join(v.rows[last], ""), " ") == "" {
		last--
	}
	for y := 0; y <= last; y++ {
		if y == v.y {
			cursor = len(rows)
		}
		cells := v.rows[y]
		for len(cells) > 0 && cells[len(cells)-1] == " " {
			cells = cells[:len(cells)-1]
		}
		for {
			n := min(width, len(cells))
			if n < len(cells) && cells[n] == "" {
				n-- // a wide character is not cut
			}
			row := v.blank()
			copy(row, cells[:n])
			rows = append(rows, row)
			cells = cells[n:]
			if len(cells) == 0 {
				break
			}
		}
	}
	for len(rows) > height {
		v.history = append(v.history, strings.TrimRight(strings.Join(rows[0], ""), " "))
		rows = rows[1:]
		cursor--
	}
	for len(rows) < height {
		rows = append(rows, v.blank())
	}
	v.rows, v.y = rows, cursor
}

// wider makes the terminal wider. Rows stay as they are.
func (v *vt) wider(width int) {
	for y := range v.rows {
		for len(v.rows[y]) < width {
			v.rows[y] = append(v.rows[y], " ")
		}
	}
	v.width = width
}

// screen returns the visible rows up to the last one that has something in it.
func (v *vt) screen() []string {
	var rows []string
	for _, r := range v.rows {
		rows = append(rows, strings.TrimRight(strings.Join(r, ""), " "))
	}
	for len(rows) > 0 && rows[len(rows)-1] == "" {
		rows = rows[:len(rows)-1]
	}
	return rows
}

// all returns what scrolled off and what is visible.
func (v *vt) all() []string { return append(append([]string(nil), v.history...), v.screen()...) }
