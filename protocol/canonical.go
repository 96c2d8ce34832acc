package protocol

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Canonical returns v in canonical JSON: it marshals v as encoding/json does and
// canonicalises that.
//
// encoding/json writes the float 1 as the int 1 and replaces what is not UTF-8;
// a caller to whom that matters uses Float and checks its strings.
func Canonical(v any) ([]byte, error) {
	text, err := marshal(v)
	if err != nil {
		return nil, err
	}
	return Canonicalize(text)
}

// Canonicalize returns the canonical form of one JSON text, as section 6 has it.
// It refuses what has none: text that is not JSON in UTF-8, a key that occurs
// twice in one object, a lone surrogate, an int outside of 64 bits, a float that
// is not finite, and nesting deeper than MaxNesting.
func Canonicalize(text []byte) ([]byte, error) {
	c := canonicalizer{scanner: scanner{in: text}, out: make([]byte, 0, len(text))}
	err := c.value(MaxNesting)
	if err == nil {
		err = c.finish()
	}
	if err != nil {
		return nil, fmt.Errorf("canonical JSON: byte %d: %w", c.pos, err)
	}
	return c.out, nil
}

type canonicalizer struct {
	scanner
	out     []byte
	scratch []byte // holds the members of an object while they are put in order
	members []member
}

// member is one member of an object whose canonical text is out[start:end].
type member struct {
	key        []byte
	start, end int
}

func (c *canonicalizer) value(room int) error {
	switch b := c.peek(); {
	case b == '{':
		return c.canonicalObject(room)
	case b == '[':
		return c.canonicalArray(room)
	case b == '"':
		_, err := c.canonicalString()
		return err
	case b == '-' || '0' <= b && b <= '9':
		return c.canonicalNumber()
	case b == 't':
		c.out = append(c.out, "true"...)
		return c.literal("true")
	case b == 'f':
		c.out = append(c.out, "false"...)
		return c.literal("false")
	case b == 'n':
		c.out = append(c.out, "null"...)
		return c.literal("null")
	}
	return c.unexpected()
}

func (c *canonicalizer) canonicalArray(room int) error {
	c.out = append(c.out, '[')
	first := true
	err := c.array(room, func() error {
		if !first {
			c.out = append(c.out, ',')
		}
		first = false
		return c.value(room - 1)
	})
	c.out = append(c.out, ']')
	return err
}

func (c *canonicalizer) canonicalObject(room int) error {
	c.out = append(c.out, '{')
	// The members of the objects around this one are below base.
	base, sorted := len(c.members), true
	err := c.object(room, func() error {
		if len(c.members) > base {
			c.out = append(c.out, ',')
		}
		start := len(c.out)
		key, err := c.canonicalString()
		if err != nil {
			return err
		}
		if n := len(c.members); n > base {
			switch bytes.Compare(c.members[n-1].key, key) {
			case 0:
				return fmt.Errorf("key %q occurs twice", key)
			case 1:
				sorted = false
			}
		}
		if err := c.expect(':'); err != nil {
			return err
		}
		c.out = append(c.out, ':')
		c.members = append(c.members, member{key: key, start: start})
		at := len(c.members) - 1
		if err := c.value(room - 1); err != nil {
			return err
		}
		c.members[at].end = len(c.out)
		return nil
	})
	if err == nil && !sorted {
		err = c.sortMembers(c.members[base:])
	}
	c.members = c.members[:base]
	c.out = append(c.out, '}')
	return err
}

// sortMembers puts the members, which are the end of out, in order.
func (c *canonicalizer) sortMembers(members []member) error {
	start := members[0].start
	slices.SortFunc(members, func(a, b member) int { return bytes.Compare(a.key, b.key) })
	c.scratch = append(c.scratch[:0], c.out[start:]...)
	c.out = c.out[:start]
	for i, m := range members {
		if i > 0 {
			if bytes.Equal(members[i-1].key, m.key) {
				return fmt.Errorf("key %q occurs twice", m.key)
			}
			c.out = append(c.out, ',')
		}
		c.out = append(c.out, c.scratch[m.start-start:m.end-start]...)
	}
	return nil
}

// canonicalString writes the next string and returns what it stands for.
func (c *canonicalizer) canonicalString() ([]byte, error) {
	body, escaped, err := c.str()
	if err != nil {
		return nil, err
	}
	if escaped {
		if body, err = unescape(make([]byte, 0, len(body)), body); err != nil {
			return nil, err
		}
		c.out = appendString(c.out, body)
		return body, nil
	}
	c.out = append(c.out, '"')
	c.out = append(c.out, body...)
	c.out = append(c.out, '"')
	return body, nil
}

func (c *canonicalizer) canonicalNumber() error {
	text, integer, err := c.number()
	if err != nil {
		return err
	}
	if !integer {
		f, err := strconv.ParseFloat(string(text), 64)
		if err != nil {
			return errors.New("float is out of range")
		}
		c.out = appendFloat(c.out, f)
		return nil
	}
	if string(text) == "-0" {
		text = text[1:]
	}
	// 18 digits always fit.
	if len(text) > 18 {
		if _, err := strconv.ParseInt(string(text), 10, 64); err != nil {
			return errors.New("int is out of range")
		}
	}
	c.out = append(c.out, text...)
	return nil
}

// appendString appends s, which is UTF-8, with the escapes of RFC 8785, section
// 3.2.2.2.
func appendString[S []byte | string](dst []byte, s S) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	done := 0
	for i := range len(s) {
		b := s[i]
		if b >= 0x20 && b != '"' && b != '\\' {
			continue
		}
		dst = append(dst, s[done:i]...)
		done = i + 1
		switch b {
		case '"', '\\':
			dst = append(dst, '\\', b)
		case '\b':
			dst = append(dst, '\\', 'b')
		case '\f':
			dst = append(dst, '\\', 'f')
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[b>>4], hex[b&15])
		}
	}
	dst = append(dst, s[done:]...)
	return append(dst, '"')
}

// appendFloat appends a finite f as ECMAScript writes it, and ".0" where that
// would read as an int.
func appendFloat(dst []byte, f float64) []byte {
	if f == 0 {
		return append(dst, "0.0"...) // ECMAScript knows no negative zero either
	}
	if abs := math.Abs(f); abs < 1e-6 || abs >= 1e21 {
		start := len(dst)
		dst = strconv.AppendFloat(dst, f, 'e', -1, 64)
		// Go writes at least two digits of exponent.
		if n := len(dst); n-start >= 4 && dst[n-4] == 'e' && dst[n-2] == '0' {
			dst[n-2] = dst[n-1]
			dst = dst[:n-1]
		}
		return dst
	}
	start := len(dst)
	dst = strconv.AppendFloat(dst, f, 'f', -1, 64)
	if bytes.IndexByte(dst[start:], '.') < 0 {
		dst = append(dst, ".0"...)
	}
	return dst
}

// Float is a float64 that stays a float in JSON: 1 is written as 1.0.
type Float float64

// MarshalJSON writes the number in canonical form. It refuses one that is not
// finite.
func (f Float) MarshalJSON() ([]byte, error) {
	if math.IsNaN(float64(f)) || math.IsInf(float64(f), 0) {
		return nil, fmt.Errorf("the float %v is not finite", float64(f))
	}
	return appendFloat(nil, float64(f)), nil
}

// String is a string in canonical JSON. Unlike with encoding/json, one that is
// not UTF-8 is refused.
type String string

// MarshalJSON writes the string in canonical form.
func (s String) MarshalJSON() ([]byte, error) {
	if !utf8.ValidString(string(s)) {
		return nil, fmt.Errorf("the string %q is not UTF-8", string(s))
	}
	return appendString(nil, string(s)), nil
}

// Binding is one bound input of a stage.
type Binding struct {
	Name  string
	Value []byte // JSON
}

// BoundName returns the name of a node: the function, and the bound inputs in
// the order of their declaration. It fails where a value is not JSON.
func BoundName(function string, bound []Binding) (string, error) {
	if len(bound) == 0 {
		return function, nil
	}
	var b strings.Builder
	b.WriteString(function)
	for i, binding := range bound {
		if i == 0 {
			b.WriteByte('[')
		} else {
			b.WriteByte(',')
		}
		value, err := Canonicalize(binding.Value)
		if err != nil {
			return "", fmt.Errorf("input %s: %w", binding.Name, err)
		}
		if n := len(value); n > 2 && value[0] == '"' && isBare(value[1:n-1]) {
			value = value[1 : n-1]
		}
		b.WriteString(binding.Name)
		b.WriteByte('=')
		b.Write(value)
	}
	b.WriteByte(']')
	return b.String(), nil
}

func isBare(s []byte) bool {
	for _, c := range s {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("_.+:/@-", c) >= 0:
		default:
			return false
		}
	}
	return true
}
