package protocol_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/towpath/towpath/protocol"
)

// handler answers with functions.
type handler struct {
	handle func(ctx context.Context, id uint64, method string, params json.RawMessage) (any, error)
	notify func(method string, params json.RawMessage) error
}

func (h handler) Handle(ctx context.Context, id uint64, method string, params json.RawMessage) (any, error) {
	if h.handle == nil {
		return nil, protocol.Errorf(protocol.CodeUnsupported, "no method %s", method)
	}
	return h.handle(ctx, id, method, params)
}

func (h handler) Notify(method string, params json.RawMessage) error {
	if h.notify == nil {
		return errors.New("not known")
	}
	return h.notify(method, params)
}

// side is one side of a connection that is served.
type side struct {
	*protocol.Conn
	ended chan error
}

func serve(r io.Reader, w io.Writer, opts protocol.Options, h protocol.Handler) side {
	s := side{Conn: protocol.NewConn(r, w, opts), ended: make(chan error, 1)}
	go func() { s.ended <- s.Serve(context.Background(), h) }()
	return s
}

// pair connects two sides; the test fails when one of them leaves a goroutine.
func pair(t *testing.T, opts protocol.Options, a, b protocol.Handler) (side, side) {
	t.Helper()
	checkGoroutines(t)
	ar, bw := io.Pipe()
	br, aw := io.Pipe()
	left, right := serve(ar, aw, opts, a), serve(br, bw, opts, b)
	t.Cleanup(func() {
		_ = left.Close()
		_ = right.Close()
		_ = wait(t, left.ended)
		_ = wait(t, right.ended)
	})
	return left, right
}

func checkGoroutines(t *testing.T) {
	t.Helper()
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		for range 200 {
			if runtime.NumGoroutine() <= before {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
		stacks := make([]byte, 1<<16)
		t.Errorf("%d goroutines, %d before the test:\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
	})
}

func wait[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(10 * time.Second):
		stacks := make([]byte, 1<<16)
		t.Fatalf("nothing happened:\n%s", stacks[:runtime.Stack(stacks, true)])
		panic("unreachable")
	}
}

func echo(_ context.Context, id uint64, method string, params json.RawMessage) (any, error) {
	return map[string]any{"id": id, "method": method, "params": params}, nil
}

func TestCallsGoBothWaysAtOnce(t *testing.T) {
	left, right := pair(t, protocol.Options{}, handler{handle: echo}, handler{handle: echo})
	var group sync.WaitGroup
	for i := range 200 {
		for _, conn := range []side{left, right} {
			group.Go(func() {
				method := fmt.Sprintf("m%d", i)
				var got struct {
					Method string
					Params struct{ N int }
				}
				err := conn.Call(t.Context(), method, map[string]int{"n": i}, &got)
				if err != nil || got.Method != method || got.Params.N != i {
					t.Errorf("Call(%s) = %+v, %v", method, got, err)
				}
			})
		}
	}
	group.Wait()
}

func TestHandlersMayCall(t *testing.T) {
	var inner, outer side
	inner, outer = pair(t, protocol.Options{}, handler{handle: func(ctx context.Context, id uint64, _ string, _ json.RawMessage) (any, error) {
		var got struct{ ID uint64 }
		err := inner.Call(ctx, "back", map[string]uint64{"call": id}, &got)
		return map[string]uint64{"back": got.ID}, err
	}}, handler{handle: echo})
	var got struct{ Back uint64 }
	if err := outer.Call(t.Context(), "there", nil, &got); err != nil || got.Back != 1 {
		t.Errorf("Call = %+v, %v", got, err)
	}
}

func TestErrorsArriveWhole(t *testing.T) {
	sent := &protocol.Error{
		Code: protocol.CodeStepFailed, Message: "pytest failed", Hint: "look at the log", Trace: "at x",
		Site: &protocol.Site{File: "pipeline.go", Line: 3}, Step: &protocol.StepFailure{ExitCode: 2, Args: []string{"pytest"}},
	}
	long := strings.Repeat("é", protocol.MaxMessage)
	left, _ := pair(t, protocol.Options{}, handler{}, handler{handle: func(_ context.Context, _ uint64, method string, _ json.RawMessage) (any, error) {
		switch method {
		case "wrapped":
			return nil, fmt.Errorf("outer: %w", sent)
		case "plain":
			return nil, errors.New("a fault")
		case "long":
			return nil, errors.New(long)
		case "hinted":
			return nil, &protocol.Error{Code: protocol.CodeInvalid, Hint: long}
		case "list":
			return []int{1}, nil
		case "unmarshalable":
			return map[string]any{"x": func() {}}, nil
		case "large":
			return map[string]string{"x": strings.Repeat("x", protocol.MaxFrame)}, nil
		}
		return nil, nil
	}})
	var got *protocol.Error
	if err := left.Call(t.Context(), "wrapped", nil, nil); !errors.As(err, &got) || got.Step.ExitCode != 2 || *got.Site != *sent.Site || got.Hint != sent.Hint {
		t.Errorf("wrapped: %+v", err)
	}
	for method, want := range map[string]protocol.Code{
		"plain": protocol.CodeInternal, "long": protocol.CodeInternal, "hinted": protocol.CodeInvalid, "list": protocol.CodeInternal,
		"unmarshalable": protocol.CodeInternal, "large": protocol.CodeTooLarge, "nothing": "",
	} {
		err := left.Call(t.Context(), method, nil, nil)
		if protocol.CodeOf(err) != want {
			t.Errorf("%s: %v, want code %q", method, err, want)
		}
		if failure, ok := errors.AsType[*protocol.Error](err); method == "hinted" && (!ok || len(failure.Hint) > protocol.MaxMessage) {
			t.Errorf("the hint has %d bytes", len(failure.Hint))
		}
		if method == "long" && (len(err.Error()) > protocol.MaxMessage || !strings.HasPrefix(long, strings.TrimSuffix(err.Error(), " […]"))) {
			t.Errorf("the message has %d bytes", len(err.Error()))
		}
	}
	if err := left.Call(t.Context(), "nothing", map[string]string{"x": strings.Repeat("x", protocol.MaxFrame)}, nil); protocol.CodeOf(err) != protocol.CodeTooLarge {
		t.Errorf("large parameters: %v", err)
	}
	if err := left.Call(t.Context(), "nothing", nil, new([]int)); protocol.CodeOf(err) != protocol.CodeInternal {
		t.Errorf("a result of another type: %v", err)
	}
	if err := left.Err(); err != nil {
		t.Errorf("the connection has ended: %v", err)
	}
}

func TestAResultWithoutItsValueIsAViolation(t *testing.T) {
	left, _ := pair(t, protocol.Options{}, handler{}, handler{handle: func(_ context.Context, _ uint64, method string, _ json.RawMessage) (any, error) {
		if method == "null" {
			return protocol.StageCallResult{}, nil // written as null
		}
		return map[string]any{"files": []any{}}, nil
	}})
	var result protocol.StageCallResult
	if err := left.Call(t.Context(), "null", nil, &result); err != nil || string(result.Value) != "null" {
		t.Errorf("null: %+v, %v", result, err)
	}
	err := left.Call(t.Context(), protocol.MethodStageCall, nil, &result)
	if _, ok := errors.AsType[*protocol.ViolationError](err); !ok || !errors.Is(left.Err(), err) {
		t.Errorf("no value: %v, and the connection: %v", err, left.Err())
	}
}

func TestCutFields(t *testing.T) {
	fits := protocol.Map[json.RawMessage]{"x": json.RawMessage(`"` + strings.Repeat("x", protocol.MaxFields-8) + `"`)}
	if got, err := protocol.CutFields(fits); err != nil || len(got["x"]) != protocol.MaxFields-6 {
		t.Errorf("CutFields = %.100s, %v", got, err)
	}
	fits["x"] = json.RawMessage(` "` + strings.Repeat("x", protocol.MaxFields-7) + `"`) // white space does not count
	got, err := protocol.CutFields(fits)
	if err != nil || len(got) != 1 || string(got["fields_cut"]) != "65537" {
		t.Errorf("CutFields = %.100s, %v", got, err)
	}
	if _, err := protocol.CutFields(protocol.Map[json.RawMessage]{"x": json.RawMessage(`{`)}); err == nil {
		t.Error("fields that are not JSON were taken")
	}
}

func TestCancel(t *testing.T) {
	started := make(chan struct{}, 1)
	left, _ := pair(t, protocol.Options{}, handler{}, handler{handle: func(ctx context.Context, _ uint64, method string, _ json.RawMessage) (any, error) {
		started <- struct{}{}
		<-ctx.Done()
		switch method {
		case "done anyway":
			return map[string]bool{"done": true}, nil
		case "failed anyway":
			return nil, protocol.Errorf(protocol.CodeFailed, "it had failed")
		}
		return nil, fmt.Errorf("stopped: %w", ctx.Err())
	}})
	why := errors.New("another stage failed")
	for method, want := range map[string]string{"stop": why.Error(), "done anyway": "", "failed anyway": "it had failed"} {
		ctx, cancel := context.WithCancelCause(t.Context())
		result := make(chan error, 1)
		go func() { result <- left.Call(ctx, method, nil, nil) }()
		wait(t, started)
		cancel(why)
		if err := wait(t, result); (err == nil) != (want == "") || err != nil && err.Error() != want {
			t.Errorf("%s: %v, want %q", method, err, want)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if err := left.Call(ctx, "never sent", nil, nil); err != why {
		t.Errorf("a call with an ended context: %v", err)
	}
	if err := left.Notify(protocol.MethodCancel, protocol.CancelParams{ID: 12345}); err != nil {
		t.Errorf("cancel of an unknown id: %v", err)
	}
}

func TestClosingFailsWhatIsOpen(t *testing.T) {
	started := make(chan struct{}, 10)
	var stopped atomic.Int32
	left, right := pair(t, protocol.Options{}, handler{}, handler{handle: func(ctx context.Context, _ uint64, _ string, _ json.RawMessage) (any, error) {
		started <- struct{}{}
		<-ctx.Done()
		stopped.Add(1)
		return nil, ctx.Err()
	}})
	results := make(chan error, 10)
	for range 10 {
		go func() { results <- left.Call(context.Background(), "wait", nil, nil) }()
	}
	for range 10 {
		wait(t, started)
	}
	_ = left.Close()
	for range 10 {
		if err := wait(t, results); !errors.Is(err, protocol.ErrClosed) {
			t.Errorf("an open call: %v", err)
		}
	}
	wait(t, right.Done())
	if err := wait(t, right.ended); !errors.Is(err, protocol.ErrClosed) {
		t.Errorf("Serve of the other side: %v", err)
	}
	right.ended <- nil // for the cleanup
	if stopped.Load() != 10 {
		t.Errorf("Serve returned while %d requests were handled", 10-stopped.Load())
	}
	if err := left.Call(context.Background(), "late", nil, nil); !errors.Is(err, protocol.ErrClosed) {
		t.Errorf("a late call: %v", err)
	}
	if err := left.Notify("late", nil); !errors.Is(err, protocol.ErrClosed) {
		t.Errorf("a late notification: %v", err)
	}
}

func TestServeEndsWithItsContext(t *testing.T) {
	checkGoroutines(t)
	near, far := net.Pipe()
	defer far.Close()
	conn := protocol.NewConn(near, near, protocol.Options{})
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- conn.Serve(ctx, handler{}) }()
	why := errors.New("enough")
	cancel(why)
	if err := wait(t, ended); err != why {
		t.Errorf("Serve: %v", err)
	}
}

func TestOpenRequestsAreBounded(t *testing.T) {
	release := make(chan struct{})
	started := make(chan struct{}, 3)
	left, _ := pair(t, protocol.Options{MaxOpen: 3}, handler{}, handler{handle: func(context.Context, uint64, string, json.RawMessage) (any, error) {
		started <- struct{}{}
		<-release
		return nil, nil
	}})
	results := make(chan error, 3)
	for range 3 {
		go func() { results <- left.Call(context.Background(), "wait", nil, nil) }()
	}
	for range 3 {
		wait(t, started)
	}
	if err := left.Call(t.Context(), "one more", nil, nil); protocol.CodeOf(err) != protocol.CodeTooLarge {
		t.Errorf("a request too many: %v", err)
	}
	close(release)
	for range 3 {
		if err := wait(t, results); err != nil {
			t.Error(err)
		}
	}
	// A peer that has an answer may send its next request at once.
	for range 100 {
		if err := left.Call(t.Context(), "again", nil, nil); err != nil {
			t.Fatal(err)
		}
		<-started
	}
}

func TestNotificationsKeepTheirOrder(t *testing.T) {
	got := make(chan string, 100)
	left, _ := pair(t, protocol.Options{}, handler{}, handler{notify: func(method string, _ json.RawMessage) error {
		got <- method
		return nil
	}})
	for i := range 100 {
		if err := left.Notify(fmt.Sprint(i), nil); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 100 {
		if method := wait(t, got); method != fmt.Sprint(i) {
			t.Fatalf("notification %d is %s", i, method)
		}
	}
}

func TestNotificationsArriveBeforeTheAnswerAfterThem(t *testing.T) {
	var lines atomic.Int32
	var right side
	left, right := pair(t, protocol.Options{}, handler{notify: func(string, json.RawMessage) error {
		time.Sleep(time.Millisecond)
		lines.Add(1)
		return nil
	}}, handler{handle: func(context.Context, uint64, string, json.RawMessage) (any, error) {
		for range 20 {
			if err := right.Notify("log", nil); err != nil {
				return nil, err
			}
		}
		return nil, nil
	}})
	if err := left.Call(t.Context(), "work", nil, nil); err != nil || lines.Load() != 20 {
		t.Errorf("%d lines before the answer, %v", lines.Load(), err)
	}
}

func frame(body string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

func TestViolationsEndTheConnection(t *testing.T) {
	for name, body := range map[string]string{
		"empty object":               `{}`,
		"id alone":                   `{"id":1}`,
		"id 0":                       `{"id":0,"method":"ping","params":{}}`,
		"negative id":                `{"id":-1,"method":"ping","params":{}}`,
		"large id":                   `{"id":9007199254740992,"method":"ping","params":{}}`,
		"float id":                   `{"id":1.0,"method":"ping","params":{}}`,
		"exponent id":                `{"id":1e3,"method":"ping","params":{}}`,
		"text id":                    `{"id":"1","method":"ping","params":{}}`,
		"null id":                    `{"id":null,"method":"ping","params":{}}`,
		"number as method":           `{"id":1,"method":5,"params":{}}`,
		"null method":                `{"id":1,"method":null,"params":{}}`,
		"empty method":               `{"id":1,"method":"","params":{}}`,
		"no params":                  `{"id":1,"method":"ping"}`,
		"params of a list":           `{"id":1,"method":"ping","params":[]}`,
		"null params":                `{"id":1,"method":"ping","params":null}`,
		"request and response":       `{"id":1,"method":"ping","params":{},"result":{}}`,
		"result and error":           `{"id":1,"result":{},"error":{"code":"failed","message":""}}`,
		"result of a list":           `{"id":1,"result":[]}`,
		"null result":                `{"id":1,"result":null}`,
		"error without a code":       `{"id":1,"error":{"message":"x"}}`,
		"error of text":              `{"id":1,"error":"x"}`,
		"null error":                 `{"id":1,"error":null}`,
		"response without a request": `{"id":1,"result":{}}`,
		"response without an id":     `{"result":{}}`,
		"unknown notification":       `{"method":"gossip","params":{}}`,
		"cancel of text":             `{"method":"cancel","params":{"id":"x"}}`,
		"duplicate key":              `{"id":1,"id":2,"method":"ping","params":{}}`,
		"too deep":                   `{"id":1,"method":"ping","params":{"x":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}}`,
		"not JSON":                   `{"id":1,`,
	} {
		t.Run(name, func(t *testing.T) {
			checkGoroutines(t)
			// A second, good frame must not be looked at.
			in := append(frame(body), frame(`{"method":"never","params":{}}`)...)
			conn := protocol.NewConn(bytes.NewReader(in), io.Discard, protocol.Options{})
			err := conn.Serve(t.Context(), handler{notify: func(method string, _ json.RawMessage) error {
				if method == "never" {
					t.Error("what came after the violation was read")
				}
				return errors.New("not known")
			}})
			if _, ok := errors.AsType[*protocol.ViolationError](err); !ok {
				t.Errorf("Serve: %v, want a violation", err)
			}
		})
	}
}

func TestUnknownMembersAreIgnored(t *testing.T) {
	var out bytes.Buffer
	in := frame(`{"later":[{}],"id":7,"method":"echo","params":{"later":1},"x":null}`)
	conn := protocol.NewConn(bytes.NewReader(in), &out, protocol.Options{})
	if err := conn.Serve(t.Context(), handler{handle: echo}); !errors.Is(err, protocol.ErrClosed) {
		t.Fatal(err)
	}
	// The reader's end may have come before the answer; what was written is whole.
	if out.Len() > 0 {
		if _, err := protocol.ReadFrame(&out); err != nil {
			t.Error(err)
		}
	}
}

func TestRequestSentTwice(t *testing.T) {
	checkGoroutines(t)
	request := frame(`{"id":7,"method":"wait","params":{}}`)
	conn := protocol.NewConn(bytes.NewReader(append(request, request...)), io.Discard, protocol.Options{})
	err := conn.Serve(t.Context(), handler{handle: func(ctx context.Context, _ uint64, _ string, _ json.RawMessage) (any, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	if _, ok := errors.AsType[*protocol.ViolationError](err); !ok {
		t.Errorf("Serve: %v, want a violation", err)
	}
}

func TestSecondAnswer(t *testing.T) {
	near, far := net.Pipe()
	conn := serve(near, near, protocol.Options{}, handler{})
	defer conn.Close()
	go func() {
		_, _ = protocol.ReadFrame(far)
		answer := frame(`{"id":1,"result":{}}`)
		_, _ = far.Write(append(answer, answer...))
	}()
	if err := conn.Call(t.Context(), "ping", nil, nil); err != nil {
		t.Errorf("the first answer: %v", err)
	}
	if _, ok := errors.AsType[*protocol.ViolationError](wait(t, conn.ended)); !ok {
		t.Errorf("the second answer: %v, want a violation", conn.Err())
	}
	_ = far.Close()
}

func TestLostPeer(t *testing.T) {
	for name, sent := range map[string][]byte{"between frames": nil, "inside a frame": frame(`{"id":1,"result":{}}`)[:9]} {
		t.Run(name, func(t *testing.T) {
			checkGoroutines(t)
			near, far := net.Pipe()
			conn := serve(near, near, protocol.Options{}, handler{})
			go func() {
				_, _ = protocol.ReadFrame(far)
				_, _ = far.Write(sent)
				_ = far.Close()
			}()
			err := conn.Call(t.Context(), "ping", nil, nil)
			_, violated := errors.AsType[*protocol.ViolationError](err)
			if violated != (sent != nil) || !violated && !errors.Is(err, protocol.ErrClosed) {
				t.Errorf("Call: %v", err)
			}
			_ = wait(t, conn.ended)
		})
	}
}

func TestWritingToNobody(t *testing.T) {
	near, far := net.Pipe()
	_ = far.Close()
	conn := protocol.NewConn(strings.NewReader(""), near, protocol.Options{})
	if err := conn.Notify("log", nil); !errors.Is(err, protocol.ErrClosed) {
		t.Errorf("Notify: %v", err)
	}
	wait(t, conn.Done())
}

func TestWriteFrameRefuses(t *testing.T) {
	for _, body := range [][]byte{nil, make([]byte, protocol.MaxFrame+1)} {
		var out bytes.Buffer
		if err := protocol.WriteFrame(&out, body); err == nil || out.Len() > 0 {
			t.Errorf("WriteFrame of %d bytes: %v, %d bytes written", len(body), err, out.Len())
		}
	}
}

func TestLargeFramesAreReadWhole(t *testing.T) {
	body := `{"x":"` + strings.Repeat("y", 10<<20) + `"}`
	got, err := protocol.ReadFrame(bytes.NewReader(frame(body)))
	if err != nil || string(got) != body {
		t.Errorf("ReadFrame: %d bytes, %v", len(got), err)
	}
}

func BenchmarkCall(b *testing.B) {
	ar, bw := io.Pipe()
	br, aw := io.Pipe()
	left, right := serve(ar, aw, protocol.Options{}, handler{}), serve(br, bw, protocol.Options{}, handler{handle: echo})
	defer left.Close()
	defer right.Close()
	for b.Loop() {
		if err := left.Call(context.Background(), "ping", nil, nil); err != nil {
			b.Fatal(err)
		}
	}
}
