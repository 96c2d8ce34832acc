package plan_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/plan"
	"github.com/towpath/towpath/protocol"
)

// stage declares a pure stage with an int output.
func stage(name string, inputs ...protocol.Input) protocol.Stage {
	function, _, _ := strings.Cut(name, "[")
	return protocol.Stage{Name: name, Function: function, Kind: protocol.KindStage, Inputs: inputs, Output: typ("int")}
}

func effect(name string, inputs ...protocol.Input) protocol.Stage {
	s := stage(name, inputs...)
	s.Kind = protocol.KindEffect
	return s
}

func giving(s protocol.Stage, output protocol.Type) protocol.Stage {
	s.Output = output
	return s
}

func input(name string, t protocol.Type, from protocol.From) protocol.Input {
	return protocol.Input{Name: name, Type: t, From: from}
}

// needs is an input for each of the stages, which give ints.
func needs(names ...string) []protocol.Input {
	var out []protocol.Input
	for i, name := range names {
		out = append(out, input("in"+string(rune('a'+i)), typ("int"), outOf(name)))
	}
	return out
}

func typ(kind protocol.TypeKind) protocol.Type { return protocol.Type{Kind: kind} }

func outOf(name string) protocol.From { return protocol.From{Stage: name} }

func gather(names ...string) protocol.From {
	return protocol.From{Gather: append(protocol.List[string]{}, names...)}
}

func each(from protocol.From) protocol.From { return protocol.From{Each: &from} }

func value(text string) protocol.From { return protocol.From{Value: json.RawMessage(text)} }

func param(name string) protocol.From { return protocol.From{Param: name} }

func source(globs ...string) protocol.From {
	return protocol.From{Source: &protocol.Source{Globs: globs, Root: protocol.RootProgram}}
}

func planOf(stages ...protocol.Stage) protocol.Plan {
	return protocol.Plan{Version: protocol.Version, Stages: stages}
}

// sites says that stage i is declared at line i+1 of pipeline.py.
func sites(p protocol.Plan) map[string]protocol.Site {
	out := map[string]protocol.Site{}
	for i, s := range p.Stages {
		out[s.Name] = protocol.Site{File: "pipeline.py", Line: i + 1}
	}
	return out
}

func mustGraph(tb testing.TB, p protocol.Plan) *plan.Graph {
	tb.Helper()
	g, err := plan.New(p, sites(p))
	if err != nil {
		tb.Fatal(err)
	}
	return g
}

func names(stages []*plan.Stage) string {
	var out []string
	for _, s := range stages {
		out = append(out, s.Name)
	}
	return strings.Join(out, " ")
}

func digestOf(text string) digest.Digest { return digest.OfBytes([]byte(text)) }

func fileValue(name, content string) string {
	return `{"$file":{"digest":"` + digestOf(content).String() + `","executable":false,"name":"` + name + `"}}`
}

func directoryValue(content string) string {
	return `{"$directory":{"digest":"` + digestOf(content).String() + `"}}`
}

func reportValue(tests, junit string) string {
	return `{"$test_report":{"errors":0,"failures":0,"junit":` + junit + `,"skipped":0,"tests":` + tests + `,"time_ms":7}}`
}

// usage returns the text and the hint of a *plan.UsageError.
func usage(t *testing.T, err error) string {
	t.Helper()
	var ue *plan.UsageError
	if !errors.As(err, &ue) {
		t.Fatalf("the error is %T %v, want a *plan.UsageError", err, err)
	}
	return ue.Text + " | " + ue.Hint
}
