package protocol

import (
	"errors"
	"fmt"
	"unicode/utf16"
	"unicode/utf8"
)

// maxFrameNesting bounds a whole frame. It leaves room for a canonical document
// of MaxNesting inside of messages and plans, and keeps a peer from exhausting
// the stack.
const maxFrameNesting = 2 * MaxNesting

// scanner reads JSON text strictly as RFC 8259 has it. It allocates nothing.
type scanner struct {
	in  []byte
	pos int
}

var (
	errEnd     = errors.New("unexpected end")
	errNesting = errors.New("nested too deeply")
)

func (s *scanner) space() {
	for s.pos < len(s.in) {
		switch s.in[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

// peek returns the next byte that is not white space, or 0 at the end, which no
// JSON token starts with.
func (s *scanner) peek() byte {
	s.space()
	if s.pos == len(s.in) {
		return 0
	}
	return s.in[s.pos]
}

func (s *scanner) expect(c byte) error {
	if s.peek() != c || s.pos == len(s.in) {
		return s.unexpected()
	}
	s.pos++
	return nil
}

func (s *scanner) unexpected() error {
	if s.pos >= len(s.in) {
		return errEnd
	}
	return fmt.Errorf("unexpected %q", s.in[s.pos])
}

func (s *scanner) literal(word string) error {
	if len(s.in)-s.pos < len(word) || string(s.in[s.pos:s.pos+len(word)]) != word {
		return fmt.Errorf("not %s", word)
	}
	s.pos += len(word)
	return nil
}

// str reads a string and returns what is between its quotes. Where escaped is
// false, that is the string itself.
func (s *scanner) str() (body []byte, escaped bool, err error) {
	s.pos++ // the quote that the caller saw
	start, ascii := s.pos, true
	for s.pos < len(s.in) {
		switch c := s.in[s.pos]; {
		case c == '"':
			body = s.in[start:s.pos]
			if !ascii && !utf8.Valid(body) {
				return nil, false, errors.New("string is not UTF-8")
			}
			s.pos++
			return body, escaped, nil
		case c == '\\':
			escaped = true
			if err := s.escape(); err != nil {
				return nil, false, err
			}
		case c < 0x20:
			return nil, false, fmt.Errorf("control character %#x in a string", c)
		default:
			ascii = ascii && c < utf8.RuneSelf
			s.pos++
		}
	}
	return nil, false, errEnd
}

// escape steps over one escape sequence.
func (s *scanner) escape() error {
	if s.pos+1 >= len(s.in) {
		return errEnd
	}
	switch c := s.in[s.pos+1]; c {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.pos += 2
		return nil
	case 'u':
		if len(s.in)-s.pos < 6 {
			return errEnd
		}
		if hex4(s.in[s.pos+2:]) < 0 {
			return errors.New(`\u without four hexadecimal digits`)
		}
		s.pos += 6
		return nil
	default:
		return fmt.Errorf(`unknown escape \%c`, c)
	}
}

// hex4 reads four hexadecimal digits; it returns -1 where they are none.
func hex4(b []byte) rune {
	var r rune
	for _, c := range b[:4] {
		switch {
		case '0' <= c && c <= '9':
			r = r<<4 | rune(c-'0')
		case 'a' <= c && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case 'A' <= c && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return -1
		}
	}
	return r
}

// number reads a number and reports whether it has neither fraction nor
// exponent.
func (s *scanner) number() (text []byte, integer bool, err error) {
	start := s.pos
	if s.at('-') {
		s.pos++
	}
	first := s.pos
	if !s.digits() {
		return nil, false, errors.New("number without digits")
	}
	if s.in[first] == '0' && s.pos-first > 1 {
		return nil, false, errors.New("number with a leading zero")
	}
	integer = true
	if s.at('.') {
		integer = false
		s.pos++
		if !s.digits() {
			return nil, false, errors.New("number without digits after its point")
		}
	}
	if s.at('e') || s.at('E') {
		integer = false
		s.pos++
		if s.at('+') || s.at('-') {
			s.pos++
		}
		if !s.digits() {
			return nil, false, errors.New("number without digits in its exponent")
		}
	}
	return s.in[start:s.pos], integer, nil
}

func (s *scanner) at(c byte) bool { return s.pos < len(s.in) && s.in[s.pos] == c }

func (s *scanner) digits() bool {
	start := s.pos
	for s.pos < len(s.in) && '0' <= s.in[s.pos] && s.in[s.pos] <= '9' {
		s.pos++
	}
	return s.pos > start
}

// skip steps over one value, inside of which room levels may be open.
func (s *scanner) skip(room int) error {
	switch c := s.peek(); {
	case c == '{':
		return s.object(room, func() error {
			if _, _, err := s.str(); err != nil {
				return err
			}
			if err := s.expect(':'); err != nil {
				return err
			}
			return s.skip(room - 1)
		})
	case c == '[':
		return s.array(room, func() error { return s.skip(room - 1) })
	case c == '"':
		_, _, err := s.str()
		return err
	case c == '-' || '0' <= c && c <= '9':
		_, _, err := s.number()
		return err
	case c == 't':
		return s.literal("true")
	case c == 'f':
		return s.literal("false")
	case c == 'n':
		return s.literal("null")
	}
	return s.unexpected()
}

// object steps over an object; member reads one, from the quote of its key on.
func (s *scanner) object(room int, member func() error) error {
	return s.sequence(room, '}', func() error {
		if s.peek() != '"' {
			return s.unexpected()
		}
		return member()
	})
}

func (s *scanner) array(room int, element func() error) error {
	return s.sequence(room, ']', element)
}

func (s *scanner) sequence(room int, end byte, item func() error) error {
	if room <= 0 {
		return errNesting
	}
	s.pos++ // the bracket that the caller saw
	if s.peek() == end {
		s.pos++
		return nil
	}
	for {
		if err := item(); err != nil {
			return err
		}
		switch s.peek() {
		case ',':
			s.pos++
		case end:
			s.pos++
			return nil
		default:
			return s.unexpected()
		}
	}
}

// finish refuses anything but white space after the value.
func (s *scanner) finish() error {
	s.space()
	if s.pos != len(s.in) {
		return s.unexpected()
	}
	return nil
}

// unescape appends the characters that body, a string as str returns it, stands
// for. It refuses lone surrogates.
func unescape(dst, body []byte) ([]byte, error) {
	for i := 0; i < len(body); {
		c := body[i]
		if c != '\\' {
			dst = append(dst, c)
			i++
			continue
		}
		switch c := body[i+1]; c {
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			r := hex4(body[i+2:])
			if utf16.IsSurrogate(r) {
				if len(body)-i < 12 || body[i+6] != '\\' || body[i+7] != 'u' {
					return nil, errors.New("lone surrogate")
				}
				if r = utf16.DecodeRune(r, hex4(body[i+8:])); r == utf8.RuneError {
					return nil, errors.New("lone surrogate")
				}
				i += 6
			}
			dst = utf8.AppendRune(dst, r)
			i += 4
		default: // a quote, a backslash or a slash
			dst = append(dst, c)
		}
		i += 2
	}
	return dst, nil
}
