package protocol

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"math"
	"strconv"
)

const headerSize = 4

// ReadFrame reads one frame and returns the JSON object that it carries. At the
// end of r it returns io.EOF; where the protocol was broken, a *ViolationError;
// otherwise what r returned.
func ReadFrame(r io.Reader) ([]byte, error) {
	body, err := readFrame(r)
	if err != nil {
		return nil, err
	}
	if _, err := splitMessage(body); err != nil {
		return nil, err
	}
	return body, nil
}

func readFrame(r io.Reader) ([]byte, error) {
	var header [headerSize]byte
	if n, err := io.ReadFull(r, header[:]); err != nil {
		if n > 0 {
			return nil, insideFrame(err)
		}
		return nil, err
	}
	size := binary.BigEndian.Uint32(header[:])
	if size == 0 {
		return nil, violation("a frame of length 0")
	}
	if size > MaxFrame {
		return nil, violation("a frame of %d bytes, more than %d", size, MaxFrame)
	}
	return readBody(r, int(size))
}

// readBody takes memory for a large frame only as its bytes arrive, so that a
// length costs the peer as much as it costs us.
func readBody(r io.Reader, size int) ([]byte, error) {
	const trusted = 4 << 20
	if size <= trusted {
		body := make([]byte, size)
		if _, err := io.ReadFull(r, body); err != nil {
			return nil, insideFrame(err)
		}
		return body, nil
	}
	var body bytes.Buffer
	body.Grow(trusted)
	if _, err := io.CopyN(&body, r, int64(size)); err != nil {
		return nil, insideFrame(err)
	}
	return body.Bytes(), nil
}

func insideFrame(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return violation("end of file inside a frame")
	}
	return err
}

// WriteFrame writes one frame that carries body, a JSON object, in one call of
// w.Write. It refuses a body that is too large, with an *Error, before it
// writes.
func WriteFrame(w io.Writer, body []byte) error {
	frame := append(make([]byte, headerSize, headerSize+len(body)), body...)
	if err := setLength(frame); err != nil {
		return err
	}
	_, err := w.Write(frame)
	return err
}

// setLength fills in the first bytes of a frame.
func setLength(frame []byte) error {
	size := len(frame) - headerSize
	if size == 0 || size > MaxFrame {
		return Errorf(CodeTooLarge, "a message of %d bytes does not fit into a frame", size)
	}
	binary.BigEndian.PutUint32(frame, uint32(size))
	return nil
}

// message is one message, taken apart at its top level only.
type message struct {
	id     uint64 // 0 for a notification
	method string // "" for a response
	params json.RawMessage
	result json.RawMessage
	err    *Error
}

// members are those of a message that have a meaning; nil is absent.
type members struct {
	id, method, params, result, err json.RawMessage
}

// splitMessage reads a JSON object and finds its members. Its error is a
// *ViolationError.
func splitMessage(body []byte) (members, error) {
	s := scanner{in: body}
	var m members
	if s.peek() != '{' {
		return m, violation("a frame that is not a JSON object")
	}
	seen := make(map[string]bool, 4)
	err := s.object(maxFrameNesting, func() error {
		key, escaped, err := s.str()
		if err != nil {
			return err
		}
		if escaped {
			// A lone surrogate is no name that we know; what counts is that it
			// occurs once, which its text tells as well.
			if plain, err := unescape(nil, key); err == nil {
				key = plain
			}
		}
		if seen[string(key)] {
			return errors.New("key " + strconv.Quote(string(key)) + " occurs twice")
		}
		seen[string(key)] = true
		if err := s.expect(':'); err != nil {
			return err
		}
		s.space()
		start := s.pos
		if err := s.skip(maxFrameNesting - 1); err != nil {
			return err
		}
		value := json.RawMessage(body[start:s.pos:s.pos])
		switch string(key) {
		case "id":
			m.id = value
		case "method":
			m.method = value
		case "params":
			m.params = value
		case "result":
			m.result = value
		case "error":
			m.err = value
		}
		return nil
	})
	if err == nil {
		err = s.finish()
	}
	if err != nil {
		v := violation("byte %d of a frame", s.pos)
		v.Err = err
		return m, v
	}
	return m, nil
}

// parseMessage reads a message of one of the three forms of section 2. Its error
// is a *ViolationError.
func parseMessage(body []byte) (message, error) {
	m, err := splitMessage(body)
	if err != nil {
		return message{}, err
	}
	var out message
	if m.id != nil {
		id, err := strconv.ParseUint(string(m.id), 10, 64)
		if err != nil || id == 0 || id > maxID {
			return message{}, violation("the id %.40s is not an integer from 1 to 2^53-1", m.id)
		}
		out.id = id
	}
	switch {
	case m.method != nil && m.result == nil && m.err == nil:
		if err := json.Unmarshal(m.method, &out.method); err != nil || out.method == "" || m.method[0] != '"' {
			return message{}, violation("the method %.40s is not a name", m.method)
		}
		if !isObject(m.params) {
			return message{}, violation("%s has no object of params", out.method)
		}
		out.params = m.params
	case m.method == nil && m.id != nil && m.result != nil && m.err == nil:
		if !isObject(m.result) {
			return message{}, violation("the result of request %d is not an object", out.id)
		}
		out.result = m.result
	case m.method == nil && m.id != nil && m.result == nil && m.err != nil:
		out.err = new(Error)
		if err := json.Unmarshal(m.err, out.err); err != nil || out.err.Code == "" || !isObject(m.err) {
			return message{}, violation("the error of request %d is not one", out.id)
		}
	default:
		return message{}, violation("a message that is neither request, response nor notification")
	}
	return out, nil
}

const maxID = math.MaxInt64 >> 10 // 2^53-1

func isObject(raw json.RawMessage) bool { return len(raw) > 0 && raw[0] == '{' }
