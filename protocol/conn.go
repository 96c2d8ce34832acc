package protocol

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"syscall"
)

// Handler answers what the peer sends.
type Handler interface {
	// Handle answers one request. It runs in a goroutine of its own, under a
	// context that ends when the peer cancels the request or the connection
	// ends. The id is the peer's: in a worker it is the call id.
	//
	// The result has to marshal to an object; nil stands for an empty one. An
	// error that is or wraps an *Error is sent as that; one of the request's
	// ended context as CodeCancelled, and any other as CodeInternal.
	Handle(ctx context.Context, id uint64, method string, params json.RawMessage) (any, error)

	// Notify takes one notification, in the order in which they and the answers
	// to our own requests arrive. The connection reads nothing until it returns.
	// Any error, as for a method that is not known, ends the connection as a
	// violation.
	Notify(method string, params json.RawMessage) error
}

// Conn is one side of a connection. Both sides send requests and answer those of
// the other, many at once:
//
//	Call ---- request ---->  peer       peer ---- request ----> Handler.Handle
//	     <--- response ----                  <--- response ----
//
// A Conn does nothing until Serve runs, which reads until the connection ends: by
// Close, by the end of Serve's context, by the peer's end of file, or by a
// violation. It ends once; every open call then fails with the reason, and the
// contexts of the open requests end. All methods may be called at the same time.
type Conn struct {
	r       *bufio.Reader
	w       io.Writer
	closers []io.Closer
	maxOpen int

	writing sync.Mutex // held while a frame is written

	done     chan struct{} // closed when the connection has ended
	handlers sync.WaitGroup

	mu    sync.Mutex // guards what follows
	next  uint64     // the id of the last request that we sent
	calls map[uint64]chan<- answer
	open  map[uint64]context.CancelCauseFunc // the peer's requests
	err   error                              // why the connection has ended
}

type answer struct {
	result json.RawMessage
	err    error
}

// Options changes how a Conn behaves. The zero value is what the protocol says.
type Options struct {
	// MaxOpen is how many requests of the peer may be open at once. More are
	// answered with CodeTooLarge. 0 stands for the constant MaxOpen.
	MaxOpen int
}

// NewConn returns a connection that reads from r and writes to w. It owns them:
// where they have a Close method, the end of the connection closes them, which
// has to end a Read or Write that is under way.
func NewConn(r io.Reader, w io.Writer, opts Options) *Conn {
	if opts.MaxOpen == 0 {
		opts.MaxOpen = MaxOpen
	}
	c := &Conn{
		r: bufio.NewReaderSize(r, 64<<10), w: w, maxOpen: opts.MaxOpen,
		done:  make(chan struct{}),
		calls: make(map[uint64]chan<- answer),
		open:  make(map[uint64]context.CancelCauseFunc),
	}
	for _, end := range [...]any{r, w} {
		if closer, ok := end.(io.Closer); ok {
			c.closers = append(c.closers, closer)
		}
	}
	return c
}

// Done returns a channel that is closed when the connection has ended. Requests
// may still be handled then; Serve waits for them.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err returns why the connection has ended, and nil while it has not.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close ends the connection. It does not wait for requests that are handled;
// Serve does.
func (c *Conn) Close() error {
	c.end(ErrClosed)
	return nil
}

// Serve reads and answers until the connection has ended and every Handle has
// returned. It is called once. Its error is never nil: ErrClosed after Close or
// the peer's end of file, a *ViolationError, the cause of ctx, or what reading or
// writing returned.
func (c *Conn) Serve(ctx context.Context, h Handler) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { c.end(context.Cause(ctx)) })
	c.end(c.readAll(ctx, h))
	stop()
	c.handlers.Wait()
	return c.Err()
}

func (c *Conn) readAll(ctx context.Context, h Handler) error {
	for {
		body, err := readFrame(c.r)
		if err != nil {
			if errors.Is(err, io.EOF) {
				return ErrClosed
			}
			return err
		}
		m, err := parseMessage(body)
		if err != nil {
			return err
		}
		if err := c.take(ctx, h, m); err != nil {
			return err
		}
	}
}

// take deals with one message of the peer.
func (c *Conn) take(ctx context.Context, h Handler, m message) error {
	switch {
	case m.method == "":
		return c.takeAnswer(m)
	case m.id != 0:
		return c.takeRequest(ctx, h, m)
	case m.method == MethodCancel:
		var params CancelParams
		if err := json.Unmarshal(m.params, &params); err != nil {
			return &ViolationError{Reason: "cancel", Err: err}
		}
		c.mu.Lock()
		cancel := c.open[params.ID]
		c.mu.Unlock()
		if cancel != nil {
			cancel(context.Canceled)
		}
		return nil
	}
	if err := h.Notify(m.method, m.params); err != nil {
		return &ViolationError{Reason: "notification " + strconv.Quote(m.method), Err: err}
	}
	return nil
}

func (c *Conn) takeAnswer(m message) error {
	c.mu.Lock()
	call, ok := c.calls[m.id]
	delete(c.calls, m.id)
	c.mu.Unlock()
	if !ok {
		return violation("an answer to request %d, which is not open", m.id)
	}
	a := answer{result: m.result}
	if m.err != nil {
		a.err = m.err
	}
	call <- a // has room for one, and there is but one
	return nil
}

func (c *Conn) takeRequest(ctx context.Context, h Handler, m message) error {
	ctx, cancel := context.WithCancelCause(ctx)
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		cancel(nil)
		return c.Err()
	}
	_, twice := c.open[m.id]
	full := len(c.open) >= c.maxOpen
	if !twice && !full {
		c.open[m.id] = cancel
		c.handlers.Add(1)
	}
	c.mu.Unlock()
	switch {
	case twice:
		cancel(nil)
		return violation("request %d is sent twice", m.id)
	case full:
		cancel(nil)
		// Written before anything else is read: a peer that floods us waits.
		return c.respond(m.id, nil, Errorf(CodeTooLarge, "more than %d requests are open", c.maxOpen))
	}
	go func() {
		defer c.handlers.Done()
		result, err := h.Handle(ctx, m.id, m.method, m.params)
		if err != nil {
			err = asError(ctx, err)
		}
		err = c.respond(m.id, result, err)
		cancel(nil)
		if err != nil {
			c.end(err)
		}
	}()
	return nil
}

// asError returns the *Error to send for err.
func asError(ctx context.Context, err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		cut := *e
		cut.Message, cut.Hint, cut.Trace = CutMessage(e.Message), CutMessage(e.Hint), CutMessage(e.Trace)
		return &cut
	}
	code := CodeInternal
	if ctx.Err() != nil && (errors.Is(err, ctx.Err()) || errors.Is(err, context.Cause(ctx))) {
		code = CodeCancelled
	}
	return &Error{Code: code, Message: CutMessage(err.Error())}
}

// respond answers a request. Its error is that of writing; a result that cannot
// be sent is answered with an error instead.
func (c *Conn) respond(id uint64, result any, failure error) error {
	head := append(appendID(nil, id), ',')
	if failure == nil {
		if result == nil {
			result = struct{}{}
		}
		text, err := marshal(result)
		switch {
		case err != nil:
			failure = Errorf(CodeInternal, "result of the request: %v", err)
		case !isObject(text):
			failure = Errorf(CodeInternal, "result of the request is not an object")
		case len(text) > MaxFrame-100:
			failure = Errorf(CodeTooLarge, "a result of %d bytes does not fit into a frame", len(text))
		default:
			return c.write(id, append(head, `"result":`...), text)
		}
	}
	text, err := marshal(failure)
	if err != nil {
		return fmt.Errorf("error of a request: %w", err)
	}
	return c.write(id, append(head, `"error":`...), text)
}

// write sends a message: head, an object that lacks its last member's value, and
// that value. Where it answers a request of the peer, that request stops being
// open when its turn to be written comes: later, and a peer that had the answer
// could not send its next request at once; earlier, and one that reads nothing
// could make us hold any number of answers.
func (c *Conn) write(answers uint64, head, value []byte) error {
	frame := make([]byte, headerSize, headerSize+len(head)+len(value)+1)
	frame = append(append(append(frame, head...), value...), '}')
	if err := setLength(frame); err != nil {
		return err
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	c.mu.Lock()
	err := c.err
	delete(c.open, answers)
	c.mu.Unlock()
	if err != nil {
		return err
	}
	if _, err := c.w.Write(frame); err != nil {
		if errors.Is(err, os.ErrClosed) || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, syscall.EPIPE) {
			return fmt.Errorf("%w: %w", ErrClosed, err)
		}
		return err
	}
	return nil
}

// Call sends a request and fills result, a pointer or nil, from the answer. Its
// error is the peer's *Error, or why the connection ended. A result that lacks
// what the protocol demands, such as the value of a stage.call, is a violation.
//
// When ctx ends, Call asks the peer to cancel the request and waits for its
// answer all the same, because only that tells what the peer did. The cause of
// ctx is then returned for an answer of CodeCancelled; any other answer counts as
// if ctx had not ended. To stop waiting for a peer that does not answer, end the
// connection.
func (c *Conn) Call(ctx context.Context, method string, params, result any) error {
	return c.CallWithID(ctx, method, params, result, nil)
}

// CallWithID is Call for a caller that has to know the id of its request, as the
// engine does of a stage.call: opened is called with it before the request is
// written. It may be nil.
func (c *Conn) CallWithID(ctx context.Context, method string, params, result any, opened func(id uint64)) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	text, err := marshalParams(method, params)
	if err != nil {
		return err
	}
	id, answered, err := c.openCall()
	if err != nil {
		return err
	}
	if opened != nil {
		opened(id)
	}
	if err := c.write(0, appendMethod(append(appendID(nil, id), ','), method), text); err != nil {
		return c.failed(err)
	}
	var a answer
	select {
	case a = <-answered:
	case <-ctx.Done():
		// Where this fails, the connection has ended, and that is the answer.
		_ = c.Notify(MethodCancel, CancelParams{ID: id})
		a = <-answered
	}
	if a.err != nil {
		if ctx.Err() != nil && CodeOf(a.err) == CodeCancelled {
			return context.Cause(ctx)
		}
		return a.err
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(a.result, result); err != nil {
		if broken, ok := errors.AsType[*ViolationError](err); ok {
			return c.failed(broken)
		}
		return Errorf(CodeInternal, "result of %s: %v", method, err)
	}
	return nil
}

// openCall takes the next id. Its answer comes in the channel, also when the
// connection ends.
func (c *Conn) openCall() (uint64, <-chan answer, error) {
	answered := make(chan answer, 1)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return 0, nil, c.err
	}
	c.next++
	c.calls[c.next] = answered
	return c.next, answered, nil
}

// Notify sends a notification. It returns once that is written.
func (c *Conn) Notify(method string, params any) error {
	text, err := marshalParams(method, params)
	if err != nil {
		return err
	}
	if err := c.write(0, appendMethod([]byte{'{'}, method), text); err != nil {
		return c.failed(err)
	}
	return nil
}

func appendID(head []byte, id uint64) []byte {
	return strconv.AppendUint(append(head, `{"id":`...), id, 10)
}

func appendMethod(head []byte, method string) []byte {
	head = append(head, `"method":`...)
	head = appendString(head, method)
	return append(head, `,"params":`...)
}

func marshalParams(method string, params any) ([]byte, error) {
	if params == nil {
		params = struct{}{}
	}
	text, err := marshal(params)
	if err != nil {
		return nil, Errorf(CodeInvalid, "parameters of %s: %v", method, err)
	}
	if len(text) > MaxFrame-1000 {
		return nil, Errorf(CodeTooLarge, "the parameters of %s take %d bytes, which do not fit into a frame", method, len(text))
	}
	return text, nil
}

// failed ends the connection because of an error, and returns why it ended, which
// may have been before.
func (c *Conn) failed(err error) error {
	c.end(err)
	return c.Err()
}

// end ends the connection, unless it has ended already.
func (c *Conn) end(err error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = err
	calls := c.calls
	c.calls = nil
	for _, cancel := range c.open {
		cancel(err)
	}
	c.mu.Unlock()
	close(c.done)
	for _, call := range calls {
		call <- answer{err: err}
	}
	for _, closer := range c.closers {
		_ = closer.Close() // whatever it says, nothing is read or written any more
	}
}
