package towpathtest

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/towpath/towpath"
	"github.com/towpath/towpath/internal/sdk"
	"github.com/towpath/towpath/protocol"
)

// Plan returns what build declares. Where declarations are wrong, the error is a
// *towpath.PipelineError; its message has a line for each. The folder of the program
// is that of the test.
func Plan(build func(p *towpath.Pipeline)) (protocol.Plan, error) {
	fromEngine, toWorker := io.Pipe()
	fromWorker, toEngine := io.Pipe()
	served := make(chan error, 2)
	go func() { served <- sdk.Serve(context.Background(), fromEngine, toEngine, build) }()
	conn := protocol.NewConn(fromWorker, toWorker, protocol.Options{})
	go func() { served <- conn.Serve(context.Background(), noEngine{}) }()
	defer func() {
		_ = conn.Close()
		<-served
		<-served
	}()

	ctx := context.Background()
	hello := protocol.HelloParams{
		Protocol: protocol.VersionRange{Min: protocol.Version, Max: protocol.Version},
		Engine:   protocol.EngineInfo{Name: "towpathtest", Version: "1"},
	}
	if err := conn.Call(ctx, protocol.MethodHello, hello, nil); err != nil {
		return protocol.Plan{}, err
	}
	folder, err := os.Getwd()
	if err != nil {
		return protocol.Plan{}, err
	}
	var result protocol.DescribeResult
	params := protocol.DescribeParams{Program: folder, Root: filepath.Dir(folder)}
	if err := conn.Call(ctx, protocol.MethodDescribe, params, &result); err != nil {
		return protocol.Plan{}, pipelineError(err)
	}
	return protocol.DecodePlan(result.Plan)
}

func pipelineError(err error) error {
	failure, ok := errors.AsType[*protocol.Error](err)
	if !ok || failure.Code != protocol.CodePipeline {
		return err
	}
	out := &towpath.PipelineError{Message: failure.Message, Hint: failure.Hint}
	if failure.Site != nil {
		out.File, out.Line = failure.Site.File, failure.Site.Line
	}
	return out
}

// noEngine answers a pipeline that asks for something while it is declared.
type noEngine struct{}

func (noEngine) Handle(_ context.Context, _ uint64, method string, _ json.RawMessage) (any, error) {
	return nil, protocol.Errorf(protocol.CodeInvalid, "%s while the pipeline is declared", method)
}

func (noEngine) Notify(method string, _ json.RawMessage) error {
	return protocol.Errorf(protocol.CodeInvalid, "%s while the pipeline is declared", method)
}
