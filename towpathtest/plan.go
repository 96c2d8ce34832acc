package towpathtest

import (
	"context"
	"encoding/json"
	"io"

	"github.com/towpath/towpath"
	"github.com/towpath/towpath/protocol"
)

// Plan returns what build declares. What is wrong with a declaration is an
// *towpath.Error with the code pipeline; its message has a line for everything.
func Plan(build func(p *towpath.Pipeline)) (protocol.Plan, error) {
	fromEngine, toWorker := io.Pipe()
	fromWorker, toEngine := io.Pipe()
	served := make(chan error, 2)
	go func() { served <- towpath.Serve(context.Background(), fromEngine, toEngine, build) }()
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
	var result protocol.DescribeResult
	if err := conn.Call(ctx, protocol.MethodDescribe, protocol.DescribeParams{}, &result); err != nil {
		return protocol.Plan{}, err
	}
	return protocol.DecodePlan(result.Plan)
}

// noEngine answers a pipeline that asks for something while it is declared.
type noEngine struct{}

func (noEngine) Handle(_ context.Context, _ uint64, method string, _ json.RawMessage) (any, error) {
	return nil, protocol.Errorf(protocol.CodeInvalid, "%s while the pipeline is declared", method)
}

func (noEngine) Notify(method string, _ json.RawMessage) error {
	return protocol.Errorf(protocol.CodeInvalid, "%s while the pipeline is declared", method)
}
