package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/event"
)

const (
	// maxText bounds a piece of output in an event.
	maxText = 32 << 10
	// maxTold is how much of a stream is told in events as it comes. A log has everything; nobody reads more than this in a terminal.
	maxTold = 8 << 20
	// keptEnd is how much of the end of a longer stream is told when the step ends: why it failed stands there.
	keptEnd = 16 << 10
	// inMemory is how much of a stream is held before storing it begins: most steps print less.
	inMemory = 64 << 10
	// chunk is how much of a longer stream is handed over to the store at once, and chunks how often, before the step has to wait.
	chunk  = 256 << 10
	chunks = 4
)

// captured takes what a step prints on one stream: whole into the store, in lines into the log and the events.
//
// The log is written as the step prints, so that it can be read meanwhile. Storing, which hashes, goes on beside it. Memory is bounded however
// much is printed.
type captured struct {
	s      *step
	ctx    context.Context
	stream string

	part []byte // of a line that has not ended
	told int64  // how much of the stream was told in events
	end  []byte // the last lines that were not
	left int64  // how much was not, end included

	head    []byte // what was printed, until it is handed over to storing
	storing *storing
}

func (s *step) capture(ctx context.Context, stream string) *captured {
	return &captured{s: s, ctx: context.WithoutCancel(ctx), stream: stream}
}

// Write implements io.Writer.
func (c *captured) Write(p []byte) (int, error) {
	if err := c.store(p); err != nil {
		return 0, err
	}
	c.lines(p)
	return len(p), nil
}

// store hands p over to the store, or holds it while there is little.
func (c *captured) store(p []byte) error {
	if c.storing == nil && len(c.head)+len(p) <= inMemory {
		c.head = append(c.head, p...)
		return nil
	}
	if c.storing == nil {
		c.storing = startStoring(c.ctx, c.s.o.e.c.Store)
		head := c.head
		c.head = nil
		if err := c.storing.write(head); err != nil {
			return err
		}
	}
	return c.storing.write(p)
}

// lines tells the lines that end in p.
func (c *captured) lines(p []byte) {
	if len(c.part) == 0 {
		if end := bytes.LastIndexByte(p, '\n') + 1; end > 0 {
			c.tell(p[:end])
			p = p[end:]
		}
	}
	c.part = append(c.part, p...)
	if len(p) == 0 {
		return
	}
	if end := bytes.LastIndexByte(c.part, '\n') + 1; end > 0 {
		c.tell(c.part[:end])
		c.part = append(c.part[:0], c.part[end:]...)
	}
	for len(c.part) > maxText { // a line that does not end
		end := cut(c.part)
		c.tell(c.part[:end])
		c.part = append(c.part[:0], c.part[end:]...)
	}
}

// cut returns how much of b to tell at once: whole lines up to maxText, or a part of a longer line that ends with a whole character.
func cut(b []byte) int {
	if len(b) <= maxText {
		return len(b)
	}
	if end := bytes.LastIndexByte(b[:maxText], '\n') + 1; end > 0 {
		return end
	}
	end := maxText
	for end > maxText-utf8.UTFMax && !utf8.RuneStart(b[end]) {
		end--
	}
	return end
}

// tell writes b to the log and tells it in events. Once there was too much of it, only the end is kept, for finish.
func (c *captured) tell(b []byte) {
	if !utf8.Valid(b) {
		b = bytes.ToValidUTF8(b, []byte("\uFFFD"))
	}
	c.s.c.appendLog(b)
	for len(b) > 0 && c.told < maxTold {
		n := cut(b)
		c.emit(string(b[:n]), 0)
		c.told += int64(n)
		b = b[n:]
	}
	c.left += int64(len(b))
	if b = b[max(0, len(b)-keptEnd):]; len(c.end)+len(b) > 2*keptEnd {
		keep := max(0, keptEnd-len(b))
		c.end = append(c.end[:0], c.end[len(c.end)-keep:]...)
	}
	c.end = append(c.end, b...)
}

func (c *captured) emit(text string, omitted int64) {
	c.s.o.run.rec.emit(event.StepOutput{Stage: c.s.c.node.name, Step: c.s.number, Stream: c.stream, Text: text, Omitted: omitted})
}

// tellEnd tells the last lines of what was not told, and how much is left out before them.
func (c *captured) tellEnd() {
	end := c.end
	if int64(len(end)) < c.left { // it begins somewhere in a line
		end = end[max(0, len(end)-keptEnd):]
		end = end[bytes.IndexByte(end, '\n')+1:]
	}
	omitted := c.left - int64(len(end))
	for first := true; len(end) > 0 || first && omitted > 0; first = false {
		n := cut(end)
		c.emit(strings.ToValidUTF8(string(end[:n]), "\uFFFD"), omitted)
		end, omitted = end[n:], 0
	}
}

// finish returns the digest of everything that was written.
func (c *captured) finish() (d digest.Digest, err error) {
	if len(c.part) > 0 {
		c.tell(append(c.part, '\n'))
	}
	c.tellEnd()
	if c.storing != nil {
		d, err = c.storing.finish()
	} else {
		d, err = cas.PutBytes(c.ctx, c.s.o.e.c.Store, c.head)
	}
	if err != nil {
		return d, fmt.Errorf("store what the step printed on %s: %w", c.stream, err)
	}
	return d, nil
}

// storing puts a long stream into the store beside whoever writes it. It is what the store reads from.
type storing struct {
	free, full chan []byte
	done       chan struct{} // closed when the store has ended
	d          digest.Digest
	err        error

	filling []byte // by write
	reading []byte // by Read: what is left of current
	current []byte
}

func startStoring(ctx context.Context, store cas.Store) *storing {
	s := &storing{free: make(chan []byte, chunks), full: make(chan []byte, chunks), done: make(chan struct{})}
	for range chunks {
		s.free <- nil // made when it is needed
	}
	go func() {
		defer close(s.done)
		s.d, s.err = store.Put(ctx, s)
	}()
	return s
}

// write takes p, and waits while the store is far behind.
func (s *storing) write(p []byte) error {
	for len(p) > 0 {
		if s.filling == nil {
			select {
			case s.filling = <-s.free:
			case <-s.done:
				return s.ended()
			}
			if s.filling == nil {
				s.filling = make([]byte, 0, chunk)
			}
		}
		n := min(len(p), chunk-len(s.filling))
		s.filling = append(s.filling, p[:n]...)
		p = p[n:]
		if len(s.filling) == chunk {
			s.full <- s.filling // there is a place for each chunk
			s.filling = nil
		}
	}
	return nil
}

// ended says why the store ended before everything was written.
func (s *storing) ended() error {
	if s.err == nil {
		return errors.New("the store did not take all of it")
	}
	return s.err
}

// Read implements io.Reader, for the store.
func (s *storing) Read(p []byte) (int, error) {
	for len(s.reading) == 0 {
		if s.current != nil {
			s.free <- s.current[:0] // there is a place for each chunk
			s.current = nil
		}
		b, more := <-s.full
		if !more {
			return 0, io.EOF
		}
		s.current, s.reading = b, b
	}
	n := copy(p, s.reading)
	s.reading = s.reading[n:]
	return n, nil
}

// finish ends the stream and waits for the store.
func (s *storing) finish() (digest.Digest, error) {
	if len(s.filling) > 0 {
		s.full <- s.filling // there is a place for each chunk
	}
	close(s.full)
	<-s.done
	return s.d, s.err
}
