package sdk

import (
	"context"
	"errors"
	"io"
)

// Engine carries out operations. *protocol.Conn is one.
type Engine interface {
	// Call makes one of the requests of section 5 of the protocol and fills
	// result, a pointer, from the answer.
	Call(ctx context.Context, method string, params, result any) error
	// Notify sends a notification.
	Notify(method string, params any) error
}

// Call is the call of a stage, which operations are done for.
type Call struct {
	Engine Engine
	ID     uint64
	Reads  *Reads
}

type callKey struct{}

// WithCall returns a context in which operations are done for the call.
func WithCall(ctx context.Context, call *Call) context.Context {
	return context.WithValue(ctx, callKey{}, call)
}

// CallOf returns the call of a context. Its error says that there is none.
func CallOf(ctx context.Context) (*Call, error) {
	call, ok := ctx.Value(callKey{}).(*Call)
	if !ok {
		return nil, errNoCall
	}
	return call, nil
}

var errNoCall = errors.New("no stage is running here: pass on the context that the stage was given, " +
	"or in a unit test the one of towpathtest.New")

// Server serves what build, a func(*towpath.Pipeline), declares to the engine at the
// other ends of r and w. It returns why the connection ended, once every stage has
// returned.
type Server func(ctx context.Context, r io.Reader, w io.Writer, build any) error

var server Server

// SetServer is called by package towpath, which this package cannot import. It
// returns true, so that the declaration of a variable can call it.
func SetServer(s Server) bool {
	server = s
	return true
}

// Serve is the Server of package towpath.
func Serve(ctx context.Context, r io.Reader, w io.Writer, build any) error {
	return server(ctx, r, w, build)
}
