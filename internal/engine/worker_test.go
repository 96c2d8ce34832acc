package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/protocol"
)

// TestMain is also the worker of the tests' pipelines: a program is a plan in JSON, and what a function does goes by its name.
func TestMain(m *testing.M) {
	switch {
	case os.Getenv(protocol.FDsVariable) != "":
		w := &scripted{}
		w.conn = protocol.NewConn(os.NewFile(3, "in"), os.NewFile(4, "out"), protocol.Options{})
		if err := w.conn.Serve(context.Background(), w); !errors.Is(err, protocol.ErrClosed) {
			fmt.Fprintln(os.Stderr, err)
		}
		// The race detector would wait a second before the process ends.
		if self, err := os.FindProcess(os.Getpid()); err == nil {
			_ = self.Kill()
		}
	default:
		os.Exit(m.Run())
	}
}

// scripted is the worker of a program that is a plan in JSON.
type scripted struct {
	conn *protocol.Conn
}

// Notify implements protocol.Handler.
func (*scripted) Notify(string, json.RawMessage) error { return nil }

// Handle implements protocol.Handler.
func (w *scripted) Handle(ctx context.Context, id uint64, method string, params json.RawMessage) (any, error) {
	switch method {
	case protocol.MethodHello:
		return protocol.HelloResult{Protocol: protocol.Version, SDK: protocol.SDKInfo{Language: "python", Version: "0", Runtime: "cpython 3.11"}}, nil
	case protocol.MethodDescribe, protocol.MethodLoad:
		var p protocol.DescribeParams
		if err := json.Unmarshal(params, &p); err != nil {
			return nil, err
		}
		plan, err := os.ReadFile(p.Program)
		files := protocol.List[protocol.ProgramFile]{{Path: p.Program, Digest: digest.OfBytes(plan).String()}}
		if method == protocol.MethodLoad {
			return protocol.LoadResult{Files: files}, err
		}
		return protocol.DescribeResult{Plan: plan, Files: files}, err
	case protocol.MethodStageCall:
		var p protocol.StageCallParams
		if err := json.Unmarshal(params, &p); err != nil {
			return nil, err
		}
		value, err := w.call(ctx, id, p)
		return protocol.StageCallResult{Value: value}, err
	}
	return struct{}{}, nil
}

// call does what the name of a function says.
func (w *scripted) call(ctx context.Context, id uint64, p protocol.StageCallParams) (json.RawMessage, error) {
	step := func(args ...string) error {
		return w.conn.Call(ctx, protocol.MethodStepRun, protocol.StepRunParams{Call: id, Args: args}, nil)
	}
	what, rest, _ := strings.Cut(p.Function, "_")
	switch what {
	case "list":
		var n int
		_, err := fmt.Sscan(rest, &n)
		return json.RawMessage("[" + strings.TrimSuffix(strings.Repeat("7,", n), ",") + "]"), err
	case "fail":
		return nil, protocol.Errorf(protocol.CodeFailed, "no luck")
	case "step":
		return json.RawMessage("1"), step("echo", p.Stage)
	case "forget": // starts a step and does not wait for it
		go func() { _ = step("wait", p.Stage) }()
		return json.RawMessage("1"), step("echo", p.Stage)
	case "wait":
		<-ctx.Done()
		return nil, ctx.Err()
	case "text": // is not what the plan says
		return json.RawMessage(`"x"`), nil
	case "blob": // neither
		return json.RawMessage(`{"$file":{"digest":"` + absent + `","executable":false,"name":"x"}}`), nil
	case "exit":
		os.Exit(9)
	case "make": // returns a file that a step has made
		var made protocol.StepRunResult
		params := protocol.StepRunParams{Call: id, Args: []string{"make", p.Stage}, Outputs: []string{"f"}}
		if err := w.conn.Call(ctx, protocol.MethodStepRun, params, &made); err != nil {
			return nil, err
		}
		return json.Marshal(made.Outputs[0].Value)
	case "makes": // returns a list of two of them
		one, err := w.call(ctx, id, protocol.StageCallParams{Stage: "1", Function: "make"})
		if err != nil {
			return nil, err
		}
		two, err := w.call(ctx, id, protocol.StageCallParams{Stage: "2", Function: "make"})
		return slices.Concat([]byte("["), one, []byte(","), two, []byte("]")), err
	case "pass":
		return p.Inputs["i0"], nil
	case "read", "hide":
		err := w.conn.Call(ctx, protocol.MethodFileRead, json.RawMessage(fmt.Sprintf(`{"call":%d,"file":%s,"offset":0,"length":100}`, id, p.Inputs["i0"])), nil)
		if what == "hide" {
			err = nil
		}
		return json.RawMessage("1"), err
	case "invent": // runs a step and then reads what never was
		if err := step("echo", p.Stage); err != nil {
			return nil, err
		}
		file := `{"$file":{"digest":"` + absent + `","executable":false,"name":"x"}}`
		return nil, w.conn.Call(ctx, protocol.MethodFileRead, json.RawMessage(fmt.Sprintf(`{"call":%d,"file":%s,"offset":0,"length":100}`, id, file)), nil)
	case "use": // runs a step with its input in the tree
		at := map[bool]string{true: "", false: "f"}[strings.HasPrefix(string(p.Inputs["i0"]), `{"$directory"`)]
		tree := fmt.Sprintf(`[{"path":"%s","value":%s}]`, at, p.Inputs["i0"])
		return json.RawMessage("1"), w.conn.Call(ctx, protocol.MethodStepRun, json.RawMessage(fmt.Sprintf(
			`{"call":%d,"args":["use","%s"],"tree":%s,"cwd":"","env":{},"outputs":[],"ok":[0]}`, id, p.Stage, tree)), nil)
	}
	return json.RawMessage("1"), nil
}
