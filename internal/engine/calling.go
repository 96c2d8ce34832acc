package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/event"
	"github.com/towpath/towpath/protocol"
)

// calling is one call of a stage's function, from the engine's side: its log, its steps, and what it holds open.
type calling struct {
	ctx    context.Context // ends when the call does
	stop   context.CancelCauseFunc
	run    *run
	node   *node
	forget func() // set when the call's id is known

	readers readers

	mu              sync.Mutex
	closing, closed bool
	asked           sync.WaitGroup // what is being answered
	steps           int
	log             io.WriteCloser
	logErr          error
	tools           map[string]toolUse
	given           []toolUse // those of tools that the stage asked for
	blobs           map[uint64]*blob
	last            uint64
	lost            []digest.Digest // blobs that operations failed for
	lostErr         error           // the first of those failures
}

func newCalling(ctx context.Context, r *run, n *node) *calling {
	c := &calling{run: r, node: n, steps: n.steps, tools: map[string]toolUse{}, blobs: map[uint64]*blob{}}
	c.ctx, c.stop = context.WithCancelCause(ctx)
	return c
}

// enter begins an answer, which leave ends. It is false once the call has ended.
func (c *calling) enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return false
	}
	c.asked.Add(1)
	return true
}

func (c *calling) leave() { c.asked.Done() }

// errEnded is why something is cancelled that was asked for by a call that did not wait for it.
var errEnded = errors.New("the call has ended")

// close ends the call: nothing can be asked for it any more, and what it began and did not finish is cancelled and dropped. When it returns
// nothing of the call goes on, so that nothing is told of a stage after its end.
func (c *calling) close() {
	if c.forget != nil {
		c.forget()
	}
	c.mu.Lock()
	c.closing = true
	for _, b := range c.blobs {
		_ = b.w.CloseWithError(errDropped) // it never fails, and lets go of who writes
	}
	c.mu.Unlock()
	c.stop(errEnded)
	c.asked.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.closed = true
	for _, b := range c.blobs {
		b.drop()
	}
	c.readers.close()
	if c.log != nil {
		c.logErr = errors.Join(c.logErr, c.log.Close())
	}
}

// err tells what went wrong with the log, which must not go unnoticed: a log that lacks lines is worse than a stage that failed.
func (c *calling) err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.logErr != nil {
		return fmt.Errorf("write the log of stage %s: %w", c.node.name, c.logErr)
	}
	return nil
}

// nextStep numbers the steps of the call from 1.
func (c *calling) nextStep() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.steps++
	return c.steps
}

// writeLog appends to the stage's log.
func (c *calling) writeLog(text string) { c.appendLog([]byte(text)) }

// appendLog appends to the stage's log.
func (c *calling) appendLog(b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.logErr != nil {
		return
	}
	if c.log == nil {
		if c.log, c.logErr = c.run.rec.log(c.node.name); c.logErr != nil {
			return
		}
	}
	_, c.logErr = c.log.Write(b)
}

// message takes a line that the stage's function logged.
func (c *calling) message(p protocol.LogParams) {
	message := protocol.CutMessage(strings.TrimRight(p.Message, "\n"))
	fields := make(map[string]any, len(p.Fields))
	text, room := message, protocol.MaxMessage
	for _, name := range slices.Sorted(maps.Keys(p.Fields)) {
		var v any
		if err := json.Unmarshal(p.Fields[name], &v); err != nil {
			continue // it came in a message that was valid JSON
		}
		if room -= len(name) + len(p.Fields[name]); room < 0 {
			fields["fields_cut"] = true
			text += " (more fields were cut)"
			break
		}
		fields[name] = v
		text += fmt.Sprintf(" %s=%s", name, p.Fields[name])
	}
	c.writeLog(fmt.Sprintf("[%s] %s\n", p.Level, text))
	c.run.rec.emit(event.StageLog{Stage: c.node.name, Level: string(p.Level), Message: message, Fields: fields})
}

func (c *calling) use(t toolUse) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tools[t.Name+"\x00"+t.Search] = t
}

// uses tells whether the stage has been given the tool under another name already.
func (c *calling) uses(t toolUse) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, have := range c.tools {
		if have.Path == t.Path && have.Digest == t.Digest && t.Name == t.Path {
			return true
		}
	}
	return false
}

// toolsUsed lists the tools that the stage was given or has run, by name.
func (c *calling) toolsUsed() []toolUse {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []toolUse
	for _, name := range slices.Sorted(maps.Keys(c.tools)) {
		out = append(out, c.tools[name])
	}
	return out
}

// blob is a file that a stage is storing.
type blob struct {
	w    *io.PipeWriter
	done chan struct{}
	d    digest.Digest
	err  error
}

func (b *blob) drop() {
	_ = b.w.CloseWithError(errDropped) // it never fails
	<-b.done
}

var errDropped = errors.New("the file was not finished")

func (o *operations) blobBegin(ctx context.Context, c *calling, _ protocol.BlobBeginParams) (any, error) {
	r, w := io.Pipe()
	b := &blob{w: w, done: make(chan struct{})}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, invalid("the call has ended")
	}
	if len(c.blobs) >= maxBlobs {
		return nil, protocol.Errorf(protocol.CodeTooLarge, "a stage stores at most %d files at once", maxBlobs)
	}
	putCtx := context.WithoutCancel(ctx) // it goes on after this request; drop ends it
	go func() {
		defer close(b.done)
		b.d, b.err = o.e.c.Store.Put(putCtx, r)
		_ = r.CloseWithError(b.err) // it never fails, and tells the writer
	}()
	c.last++
	c.blobs[c.last] = b
	return protocol.BlobBeginResult{Blob: c.last}, nil
}

// maxBlobs is how many files a call may be storing at once.
const maxBlobs = 100

func (c *calling) blob(id uint64, take bool) (*blob, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.blobs[id]
	if b == nil {
		return nil, protocol.Errorf(protocol.CodeNotFound, "there is no blob %d", id)
	}
	if take {
		delete(c.blobs, id)
	}
	return b, nil
}

func (o *operations) blobAppend(_ context.Context, c *calling, p protocol.BlobAppendParams) (any, error) {
	if len(p.Data) > protocol.MaxChunk {
		return nil, protocol.Errorf(protocol.CodeTooLarge, "a part of a file has %d bytes, at most %d are allowed", len(p.Data), protocol.MaxChunk)
	}
	b, err := c.blob(p.Blob, false)
	if err != nil {
		return nil, err
	}
	if _, err := b.w.Write(p.Data); err != nil {
		return nil, fmt.Errorf("store a file: %w", err)
	}
	return protocol.BlobAppendResult{}, nil
}

func (o *operations) blobCommit(_ context.Context, c *calling, p protocol.BlobCommitParams) (any, error) {
	if p.Name == "" || strings.Contains(p.Name, "/") || p.Name == "." || p.Name == ".." {
		return nil, invalid("%q is no name of a file", p.Name)
	}
	b, err := c.blob(p.Blob, true)
	if err != nil {
		return nil, err
	}
	_ = b.w.Close() // it never fails
	<-b.done
	if b.err != nil {
		return nil, fmt.Errorf("store %s: %w", p.Name, b.err)
	}
	return protocol.BlobCommitResult{Value: protocol.File{Digest: b.d.String(), Executable: p.Executable, Name: p.Name}}, nil
}
