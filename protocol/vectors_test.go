package protocol_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/towpath/towpath/protocol"
)

func readVectors[T any](tb testing.TB, name string) []T {
	tb.Helper()
	text, err := os.ReadFile(filepath.Join("vectors", name))
	if err != nil {
		tb.Fatal(err)
	}
	var vectors []T
	if err := json.Unmarshal(text, &vectors); err != nil {
		tb.Fatalf("%s: %v", name, err)
	}
	if len(vectors) == 0 {
		tb.Fatalf("%s is empty", name)
	}
	return vectors
}

type canonicalVector struct {
	Name      string `json:"name"`
	Input     string `json:"input"`
	Canonical string `json:"canonical"`
	Error     bool   `json:"error"`
}

func TestCanonicalVectors(t *testing.T) {
	for _, v := range readVectors[canonicalVector](t, "canonical.json") {
		t.Run(v.Name, func(t *testing.T) {
			got, err := protocol.Canonicalize([]byte(v.Input))
			switch {
			case v.Error && err == nil:
				t.Errorf("Canonicalize(%.100q) = %.100q, want an error", v.Input, got)
			case !v.Error && err != nil:
				t.Errorf("Canonicalize(%.100q): %v", v.Input, err)
			case !v.Error && string(got) != v.Canonical:
				t.Errorf("Canonicalize(%.100q) = %.200s, want %.200s", v.Input, got, v.Canonical)
			}
		})
	}
}

type frameVector struct {
	Name     string            `json:"name"`
	Hex      string            `json:"hex"`
	Messages []json.RawMessage `json:"messages"`
	Error    bool              `json:"error"`
}

func TestLimitsAreNotNegative(t *testing.T) {
	for text, want := range map[string]bool{
		`{}`: true, `{"cpus":1.5,"memory":1,"output":0,"pids":3,"later":-1}`: true,
		`{"cpus":-0.5}`: false, `{"memory":-1}`: false, `{"output":-1}`: false, `{"pids":-1}`: false, `{"pids":1.5}`: false, `{"memory":"1GB"}`: false,
	} {
		var step protocol.StepRunParams
		err := protocol.Decode(json.RawMessage(`{"limits":`+text+`}`), &step)
		if got := err == nil; got != want || (!want && protocol.CodeOf(err) != protocol.CodeInvalid) {
			t.Errorf("limits %s: %v", text, err)
		}
	}
}

func TestFrameVectors(t *testing.T) {
	for _, v := range readVectors[frameVector](t, "frames.json") {
		t.Run(v.Name, func(t *testing.T) {
			stream, err := hex.DecodeString(v.Hex)
			if err != nil {
				t.Fatal(err)
			}
			got, err := readFrames(bytes.NewReader(stream))
			if v.Error {
				if _, ok := errors.AsType[*protocol.ViolationError](err); !ok {
					t.Errorf("error %v, want a violation", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != len(v.Messages) {
				t.Fatalf("%d messages, want %d", len(got), len(v.Messages))
			}
			for i := range got {
				if !sameJSON(t, got[i], v.Messages[i]) {
					t.Errorf("message %d is %s, want %s", i, got[i], v.Messages[i])
				}
			}
		})
	}
}

func readFrames(r io.Reader) ([][]byte, error) {
	var frames [][]byte
	for {
		frame, err := protocol.ReadFrame(r)
		if err == io.EOF {
			return frames, nil
		}
		if err != nil {
			return nil, err
		}
		frames = append(frames, frame)
	}
}

func sameJSON(t *testing.T, a, b []byte) bool {
	t.Helper()
	var x, y any
	if err := json.Unmarshal(a, &x); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &y); err != nil {
		t.Fatal(err)
	}
	return reflect.DeepEqual(x, y)
}

func TestBoundNameVectors(t *testing.T) {
	type vector struct {
		Function string               `json:"function"`
		Bound    [][2]json.RawMessage `json:"bound"`
		Name     string               `json:"name"`
	}
	for _, v := range readVectors[vector](t, "bound_names.json") {
		var bound []protocol.Binding
		for _, pair := range v.Bound {
			var name string
			if err := json.Unmarshal(pair[0], &name); err != nil {
				t.Fatal(err)
			}
			bound = append(bound, protocol.Binding{Name: name, Value: pair[1]})
		}
		got, err := protocol.BoundName(v.Function, bound)
		if err != nil || got != v.Name {
			t.Errorf("BoundName(%q, %s) = %q, %v, want %q", v.Function, v.Bound, got, err, v.Name)
		}
	}
}

func TestResultVectors(t *testing.T) {
	type vector struct {
		Name   string          `json:"name"`
		Method string          `json:"method"`
		Result json.RawMessage `json:"result"`
		Error  bool            `json:"error"`
	}
	for _, v := range readVectors[vector](t, "results.json") {
		t.Run(v.Name, func(t *testing.T) {
			if v.Method != protocol.MethodStageCall {
				t.Fatalf("no type for the results of %s", v.Method)
			}
			var result protocol.StageCallResult
			err := json.Unmarshal(v.Result, &result)
			_, violated := errors.AsType[*protocol.ViolationError](err)
			if violated != v.Error || err != nil && !v.Error {
				t.Errorf("read as %+v, %v", result, err)
			}
		})
	}
}

func FuzzReadFrame(f *testing.F) {
	for _, v := range readVectors[frameVector](f, "frames.json") {
		stream, err := hex.DecodeString(v.Hex)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(stream)
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		r := bytes.NewReader(stream)
		frame, err := protocol.ReadFrame(r)
		if err != nil {
			return
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal(frame, &members); err != nil {
			t.Fatalf("ReadFrame took %q, which is not an object: %v", frame, err)
		}
		var again bytes.Buffer
		if err := protocol.WriteFrame(&again, frame); err != nil {
			t.Fatal(err)
		}
		if read := stream[:len(stream)-r.Len()]; !bytes.Equal(again.Bytes(), read) {
			t.Errorf("WriteFrame writes %q for what was read from %q", again.Bytes(), read)
		}
	})
}

func FuzzCanonicalize(f *testing.F) {
	for _, v := range readVectors[canonicalVector](f, "canonical.json") {
		f.Add([]byte(v.Input))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		canonical, err := protocol.Canonicalize(text)
		if err != nil {
			return
		}
		if !json.Valid(text) {
			t.Fatalf("Canonicalize took %q, which is not JSON", text)
		}
		again, err := protocol.Canonicalize(canonical)
		if err != nil || !bytes.Equal(again, canonical) {
			t.Errorf("Canonicalize(%q) = %q, %v: not the same", canonical, again, err)
		}
		var before, after any
		if json.Unmarshal(text, &before) == nil && json.Unmarshal(canonical, &after) == nil && !reflect.DeepEqual(before, after) {
			t.Errorf("Canonicalize(%q) = %q: another value", text, canonical)
		}
	})
}
