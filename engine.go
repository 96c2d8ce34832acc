package towpath

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/towpath/towpath/protocol"
)

// Error is an error of the engine. Its code tells what kind of failure it is;
// errors.Is finds fs.ErrNotExist in one that says that something does not exist.
type Error = protocol.Error

// Engine is what carries out the operations of this package. It is there for test
// kits: the context of a stage has one already. *protocol.Conn is one.
type Engine interface {
	// Call makes one of the requests of section 5 of the protocol and fills
	// result, a pointer, from the answer.
	Call(ctx context.Context, method string, params, result any) error
	// Notify sends a notification.
	Notify(method string, params any) error
}

// WithEngine returns a context in which operations are carried out by the engine,
// on behalf of the call with this id.
func WithEngine(ctx context.Context, engine Engine, call uint64) context.Context {
	return context.WithValue(ctx, engineKey{}, &stageCall{engine: engine, id: call})
}

type engineKey struct{}

// stageCall is the call of a stage that an operation is done for.
type stageCall struct {
	engine Engine
	id     uint64
}

var errNoEngine = errors.New("no stage is running here: pass on the context that the stage was given, " +
	"or in a unit test the one of towpathtest.New")

func callOf(ctx context.Context) (*stageCall, error) {
	call, ok := ctx.Value(engineKey{}).(*stageCall)
	if !ok {
		return nil, errNoEngine
	}
	return call, nil
}

// request makes one request; what says for whom it fails, such as "read a.txt".
// The parameters are made with the id of the call.
func request[R any](ctx context.Context, what, method string, params func(call uint64) any) (R, error) {
	var result R
	call, err := callOf(ctx)
	if err == nil {
		err = call.engine.Call(ctx, method, params(call.id), &result)
	}
	if err != nil {
		return result, &operationError{what: what, err: err}
	}
	return result, nil
}

// operationError says which operation failed.
type operationError struct {
	what string
	err  error
}

func (e *operationError) Error() string { return e.what + ": " + e.err.Error() }

func (e *operationError) Unwrap() error { return e.err }

// Is lets a program ask for a file that is not there as it does elsewhere in Go.
func (e *operationError) Is(target error) bool {
	return target == fs.ErrNotExist && protocol.CodeOf(e.err) == protocol.CodeNotFound
}

// capableEngine refuses what its engine did not say that it can do.
type capableEngine struct {
	Engine
	capabilities []string
}

func (e *capableEngine) Call(ctx context.Context, method string, params, result any) error {
	if err := e.check(method); err != nil {
		return err
	}
	return e.Engine.Call(ctx, method, params, result)
}

func (e *capableEngine) Notify(method string, params any) error {
	if err := e.check(method); err != nil {
		return err
	}
	return e.Engine.Notify(method, params)
}

func (e *capableEngine) check(method string) error {
	if slices.Contains(e.capabilities, method) {
		return nil
	}
	return &protocol.Error{
		Code: protocol.CodeUnsupported, Message: fmt.Sprintf("the engine cannot do %q", method),
		Hint: "use a newer tow, or an SDK of the same age",
	}
}
