package towpath

import (
	"context"
	"fmt"
	"slices"

	"github.com/towpath/towpath/internal/sdk"
	"github.com/towpath/towpath/protocol"
)

// request makes one request; what says for whom it fails, such as "read a.txt".
// The parameters are made with the id of the call.
func request[R any](ctx context.Context, what, method string, params func(call uint64) any) (R, error) {
	var result R
	call, err := sdk.CallOf(ctx)
	if err == nil {
		err = call.Engine.Call(ctx, method, params(call.ID), &result)
	}
	if err != nil {
		return result, failed(what, err)
	}
	return result, nil
}

// ReadFile returns the content of a file of this machine, which becomes an input of
// the stage: its result is not used again once the file has changed. The path is
// absolute, or relative to the folder that the globs of Pipeline.Source are
// relative to.
//
// The engine does not see what a stage reads otherwise, as with os.ReadFile. What
// can be a Pipeline.Source is better one.
func ReadFile(ctx context.Context, path string) ([]byte, error) {
	call, err := sdk.CallOf(ctx)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return call.Reads.File(path)
}

// ReadDir returns the names in a folder of this machine, sorted by bytes. They become
// an input of the stage, as with ReadFile; what they name does not.
func ReadDir(ctx context.Context, path string) ([]string, error) {
	call, err := sdk.CallOf(ctx)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", path, err)
	}
	return call.Reads.Dir(path)
}

// ReadFile returns the content of a file of this machine, for a pipeline that is
// declared by what is in it: once the file has changed, the pipeline is declared
// anew. The path is absolute, or relative to the folder that the globs of Source
// are relative to. The engine does not see what is read otherwise.
func (p *Pipeline) ReadFile(path string) ([]byte, error) { return p.reads.File(path) }

// ReadDir returns the names in a folder of this machine, sorted by bytes, as ReadFile
// does with the content of a file.
func (p *Pipeline) ReadDir(path string) ([]string, error) { return p.reads.Dir(path) }

// capableEngine refuses what its engine did not say that it can do.
type capableEngine struct {
	sdk.Engine
	capabilities []string
}

func (e *capableEngine) Call(ctx context.Context, method string, params, result any) error {
	if err := e.check(method); err != nil {
		return err
	}
	if step, ok := params.(protocol.StepRunParams); ok {
		if err := e.check(step.Features()...); err != nil {
			return err
		}
	}
	return e.Engine.Call(ctx, method, params, result)
}

func (e *capableEngine) Notify(method string, params any) error {
	if err := e.check(method); err != nil {
		return err
	}
	return e.Engine.Notify(method, params)
}

func (e *capableEngine) check(needed ...string) error {
	for _, capability := range needed {
		if !slices.Contains(e.capabilities, capability) {
			return &protocol.Error{
				Code: protocol.CodeUnsupported, Message: fmt.Sprintf("the engine cannot do %q", capability),
				Hint: "use a newer tow, or an SDK of the same age",
			}
		}
	}
	return nil
}
