package protocol_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/towpath/towpath/protocol"
)

func examplePlan() protocol.Plan {
	wheel := protocol.RecordOf("Wheel",
		protocol.Field{Name: "file", Type: protocol.Type{Kind: protocol.TypeFile}},
		protocol.Field{Name: "tags", Type: protocol.ListOf(protocol.Type{Kind: protocol.TypeString})},
	)
	text := protocol.Type{Kind: protocol.TypeString}
	return protocol.Plan{
		Version: protocol.Version,
		Stages: protocol.List[protocol.Stage]{
			{
				Name: "build[os=linux]", Function: "build", Doc: "Build.", Kind: protocol.KindStage, Output: wheel,
				Inputs: protocol.List[protocol.Input]{
					{Name: "src", Type: protocol.Type{Kind: protocol.TypeDirectory}, From: protocol.From{Source: &protocol.Source{
						Globs: protocol.List[string]{"src", "!**/*.tmp"}, Root: protocol.RootProgram,
					}}},
					{Name: "os", Type: text, From: protocol.From{Value: json.RawMessage(`"linux"`)}},
					{Name: "note", Type: protocol.OptionalOf(text), From: protocol.From{Value: json.RawMessage(`null`)}},
				},
				Policy: protocol.Policy{Retry: 2, TimeoutMS: 1500},
			},
			{
				Name: "publish", Function: "publish", Kind: protocol.KindEffect, Output: protocol.Type{Kind: protocol.TypeNull},
				Inputs: protocol.List[protocol.Input]{
					{Name: "wheel", Type: wheel, From: protocol.From{Each: &protocol.From{Gather: protocol.List[string]{"build[os=linux]"}}}},
					{Name: "index", Type: text, From: protocol.From{Param: "index"}},
					{Name: "token", Type: protocol.Type{Kind: protocol.TypeSecret}, From: protocol.From{Secret: "TOKEN"}},
					{Name: "none", Type: protocol.ListOf(text), From: protocol.From{Gather: protocol.List[string]{}}},
				},
				After:  protocol.List[string]{"build[os=linux]"},
				Policy: protocol.Policy{Idempotent: true},
			},
		},
		Params: protocol.List[protocol.Param]{{Name: "index", Type: text, Default: json.RawMessage(`""`), Env: "INDEX"}},
	}
}

func TestPlanSurvivesDecoding(t *testing.T) {
	text, err := protocol.Canonical(examplePlan())
	if err != nil {
		t.Fatal(err)
	}
	plan, err := protocol.DecodePlan(text)
	if err != nil {
		t.Fatal(err)
	}
	again, err := protocol.Canonical(plan)
	if err != nil || !bytes.Equal(again, text) {
		t.Errorf("decoded and written again: %s, %v\nwant %s", again, err, text)
	}
	for _, member := range []string{`"after":[]`, `"from":{"gather":[]}`, `"from":{"value":null}`, `"default":""`} {
		if !bytes.Contains(text, []byte(member)) {
			t.Errorf("the plan lacks %s: %s", member, text)
		}
	}
}

func TestDecodePlanRefuses(t *testing.T) {
	stage := func(output, input string) string {
		return `{"version":1,"params":[],"stages":[{"name":"a","function":"a","doc":"","kind":"stage","after":[],"policy":{},` +
			output + `"inputs":[` + input + `]}]}`
	}
	const out = `"output":"null",`
	for name, text := range map[string]string{
		"no JSON":                 `{`,
		"no version":              `{"stages":[],"params":[]}`,
		"another version":         `{"version":2,"stages":[],"params":[]}`,
		"no output":               stage(``, ``),
		"unknown type":            stage(`"output":"image",`, ``),
		"type of two":             stage(`"output":{"list":"int","map":"int"},`, ``),
		"type of none":            stage(`"output":{},`, ``),
		"null for a type":         stage(`"output":{"list":null},`, ``),
		"field without a type":    stage(`"output":{"record":{"name":"R","fields":[{"name":"x"}]}},`, ``),
		"input without a type":    stage(out, `{"name":"x","from":{"value":1}}`),
		"from nothing":            stage(out, `{"name":"x","type":"int","from":{}}`),
		"from two":                stage(out, `{"name":"x","type":"int","from":{"value":1,"param":"x"}}`),
		"from something unknown":  stage(out, `{"name":"x","type":"int","from":{"cosmos":1}}`),
		"each of each":            stage(out, `{"name":"x","type":"int","from":{"each":{"each":{"value":[[1]]}}}}`),
		"each of nothing":         stage(out, `{"name":"x","type":"int","from":{"each":{}}}`),
		"parameter without types": `{"version":1,"stages":[],"params":[{"name":"x"}]}`,
	} {
		if _, err := protocol.DecodePlan([]byte(text)); err == nil {
			t.Errorf("%s: DecodePlan took %s", name, text)
		}
	}
	if _, err := protocol.DecodePlan([]byte(stage(out, `{"name":"x","type":"int","from":{"value":null}}`))); err != nil {
		t.Errorf("the value null: %v", err)
	}
}

func TestFits(t *testing.T) {
	text, number := protocol.Type{Kind: protocol.TypeString}, protocol.Type{Kind: protocol.TypeInt}
	field := func(name string, typ protocol.Type) protocol.Field { return protocol.Field{Name: name, Type: typ} }
	for _, test := range []struct {
		name    string
		out, in protocol.Type
		want    bool
	}{
		{"same", text, text, true},
		{"other", text, number, false},
		{"into optional", text, protocol.OptionalOf(text), true},
		{"other into optional", number, protocol.OptionalOf(text), false},
		{"out of optional", protocol.OptionalOf(text), text, false},
		{"optional", protocol.OptionalOf(text), protocol.OptionalOf(text), true},
		{"inside of lists", protocol.ListOf(text), protocol.ListOf(protocol.OptionalOf(text)), false},
		{"list and map", protocol.ListOf(text), protocol.MapOf(text), false},
		{"records by structure", protocol.RecordOf("A", field("x", text), field("y", number)), protocol.RecordOf("B", field("y", number), field("x", text)), true},
		{"records with another type", protocol.RecordOf("A", field("x", text)), protocol.RecordOf("A", field("x", number)), false},
		{"records with another name", protocol.RecordOf("A", field("x", text)), protocol.RecordOf("A", field("y", text)), false},
		{"records with more", protocol.RecordOf("A", field("x", text)), protocol.RecordOf("A"), false},
	} {
		if got := protocol.Fits(test.out, test.in); got != test.want {
			t.Errorf("%s: Fits = %v", test.name, got)
		}
	}
}

func TestValuesAreNotTakenForEachOther(t *testing.T) {
	file := protocol.File{Digest: strings.Repeat("0", 64) + "/0", Name: "a"}
	text, err := json.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	var directory protocol.Directory
	if err := json.Unmarshal(text, &directory); err == nil {
		t.Errorf("%s was read as a directory", text)
	}
	var content protocol.Content
	if err := json.Unmarshal(text, &content); err != nil || content.File == nil || *content.File != file {
		t.Errorf("Content of %s: %+v, %v", text, content, err)
	}
	if err := json.Unmarshal([]byte(`{"$secret":{"name":"x"}}`), &content); err == nil {
		t.Error("a secret was read as content")
	}
	if _, err := json.Marshal(protocol.Content{}); err == nil {
		t.Error("an empty Content was written")
	}
}

func TestFloatAndString(t *testing.T) {
	text, err := protocol.Canonical(map[string]any{"whole": protocol.Float(1), "text": protocol.String("<é>\u2028")})
	if want := "{\"text\":\"<é>\u2028\",\"whole\":1.0}"; err != nil || string(text) != want {
		t.Errorf("Canonical = %s, %v, want %s", text, err, want)
	}
	var zero float64
	for _, bad := range []any{protocol.Float(1 / zero), protocol.Float(zero / zero), protocol.String("\xff")} {
		if text, err := protocol.Canonical(bad); err == nil {
			t.Errorf("Canonical(%v) = %s", bad, text)
		}
	}
}

func FuzzPlan(f *testing.F) {
	text, err := protocol.Canonical(examplePlan())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"version":1,"stages":[],"params":[]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		plan, err := protocol.DecodePlan(text)
		if err != nil {
			return
		}
		written, err := protocol.Canonical(plan)
		if err != nil {
			return // a value inside may have no canonical form
		}
		plan, err = protocol.DecodePlan(written)
		if err != nil {
			t.Fatalf("%s: %v", written, err)
		}
		again, err := protocol.Canonical(plan)
		if err != nil || !bytes.Equal(written, again) {
			t.Errorf("written as %s, then as %s, %v", written, again, err)
		}
	})
}

func largePlan(stages int) []byte {
	plan := examplePlan()
	model := plan.Stages[0]
	plan.Stages = nil
	for i := range stages {
		model.Name = fmt.Sprintf("build[shard=%06d]", i)
		plan.Stages = append(plan.Stages, model)
	}
	text, err := protocol.Canonical(plan)
	if err != nil {
		panic(err)
	}
	return text
}

func BenchmarkDecodePlanOf1000(b *testing.B) {
	text := largePlan(1000)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := protocol.DecodePlan(text); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCanonicalize1MB(b *testing.B) {
	text := []byte("[" + strings.Repeat(`{"zeta":"hello \u0041","alpha":[1,2.50,true,null]},`, 20_000) + "{}]")
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := protocol.Canonicalize(text); err != nil {
			b.Fatal(err)
		}
	}
}

// The bound is loose enough for a busy machine and tight enough to find code that
// became quadratic.
func TestLargeDocumentsTakeLinearTime(t *testing.T) {
	text := []byte(strings.Repeat(`{"z":0,"a":[`, 20) + "0" + strings.Repeat("]}", 20))
	text = append(append([]byte("["), bytes.Repeat(append(text, ','), 20_000)...), "0]"...)
	start := time.Now()
	if _, err := protocol.Canonicalize(text); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("%d bytes took %v", len(text), took)
	}
}
