package plan_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/towpath/towpath/internal/plan"
	"github.com/towpath/towpath/protocol"
)

// seedPlan is a valid plan with every kind of edge.
func seedPlan(tb testing.TB) []byte {
	tb.Helper()
	after := effect("publish", needs("build")...)
	after.After, after.Policy = []string{"sum"}, protocol.Policy{Idempotent: true, Retry: 2, TimeoutMS: 1000}
	p := planOf(
		stage("build", input("src", typ("directory"), source("src/**", "!x")), input("p", typ("string"), param("index"))),
		stage("fan[a=1]", input("x", protocol.OptionalOf(typ("int")), each(gather("build", "build")))),
		after,
		stage("sum", input("all", protocol.ListOf(typ("int")), gather("fan[a=1]")), input("r", protocol.RecordOf("R", protocol.Field{Name: "x", Type: protocol.MapOf(typ("bool"))}), value(`{"x":{"a":true}}`))),
	)
	p.Params = []protocol.Param{{Name: "index", Type: typ("string"), Default: json.RawMessage(`"x"`), Env: "INDEX", Doc: "where to"}}
	text, err := protocol.Canonical(p)
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

func FuzzPlan(f *testing.F) {
	f.Add(seedPlan(f), "build", "x")
	f.Add([]byte(`{"version":1,"stages":[{"name":"a","function":"a","doc":"","kind":"stage","inputs":[{"name":"x","type":"int","from":{"stage":"a"}}],"output":"int","after":["b"],"policy":{}}],"params":[]}`), "a", "")
	f.Add([]byte(`{"version":1,"stages":[{"name":"f[x=[{}]]","function":"f","kind":"stage","output":{"record":{"name":"R","fields":[{"name":"$","type":"null"}]}}}]}`), "f", "")
	f.Fuzz(func(t *testing.T, text []byte, target, given string) {
		p, err := protocol.DecodePlan(text)
		if err != nil {
			return
		}
		g, err := plan.New(p, map[string]protocol.Site{target: {File: "pipeline.py", Line: 1}})
		if err != nil {
			if err.Error() == "" {
				t.Error("an error without a text")
			}
			return
		}
		for _, targets := range [][]string{nil, {target}, {given, target}} {
			stages, err := g.Select(targets)
			if err != nil {
				continue
			}
			for _, params := range []map[string]string{nil, {"index": given}, {given: given}} {
				values, err := g.Values(stages, params, func(string) (string, bool) { return given, given != "" })
				for name, v := range values {
					if _, err := protocol.Canonicalize(v); err != nil {
						t.Errorf("the value of %s is %s: %v", name, v, err)
					}
				}
				if err == nil && values == nil {
					t.Error("neither values nor an error")
				}
			}
		}
	})
}

func TestTheSeedOfFuzzPlanIsValid(t *testing.T) {
	p, err := protocol.DecodePlan(seedPlan(t))
	if err != nil {
		t.Fatal(err)
	}
	mustGraph(t, p)
}

func FuzzParam(f *testing.F) {
	for _, text := range []string{"", "1", "-0", "1e999", "true", "0x1p-2", "inf", "\xff", "9223372036854775808", "1_0"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, kind := range []protocol.TypeKind{protocol.TypeString, protocol.TypeInt, protocol.TypeFloat, protocol.TypeBool, protocol.TypeFile} {
			v, err := plan.ParseParam(typ(kind), text)
			if err != nil {
				continue
			}
			if canonical, err := protocol.Canonicalize(v); err != nil || !bytes.Equal(canonical, v) {
				t.Errorf("%s %q is %s, in canonical form %s (%v)", kind, text, v, canonical, err)
			}
			if err := plan.CheckValue(typ(kind), v); err != nil {
				t.Errorf("%s %q is %s: %v", kind, text, v, err)
			}
		}
	})
}

func FuzzValue(f *testing.F) {
	for _, seed := range [][2]string{
		{`"int"`, "1"}, {`{"list":"file"}`, "[" + fileValue("a", "a") + "]"}, {`{"map":{"optional":"directory"}}`, `{"x":null,"y z":` + directoryValue("d") + `}`},
		{`{"record":{"name":"R","fields":[{"name":"r","type":"test_report"}]}}`, `{"r":` + reportValue("1", fileValue("j", "j")) + `}`},
		{`"secret"`, `{"$secret":{"name":"x"}}`}, {`"float"`, "1e999"}, {`"string"`, `"\ud800"`},
	} {
		f.Add([]byte(seed[0]), []byte(seed[1]))
	}
	f.Fuzz(func(t *testing.T, typeText, value []byte) {
		var of protocol.Type
		artifacts, artifactsErr := plan.Artifacts(value)
		if of.UnmarshalJSON(typeText) != nil || plan.CheckValue(of, value) != nil {
			return
		}
		if artifactsErr != nil {
			t.Errorf("%s is a %s, but its artifacts: %v", value, of, artifactsErr)
		}
		seen := map[string]bool{}
		for _, a := range artifacts {
			if seen[a.Path] || a.Digest.IsZero() {
				t.Errorf("two artifacts at %q, or one without a digest: %+v", a.Path, a)
			}
			seen[a.Path] = true
		}
	})
}
