package plan_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/towpath/towpath/internal/plan"
	"github.com/towpath/towpath/protocol"
)

func TestNewReportsWhatIsWrongWithAPlan(t *testing.T) {
	wheel := protocol.RecordOf("Wheel", protocol.Field{Name: "file", Type: typ("file")})
	otherWheel := protocol.RecordOf("Wheel", protocol.Field{Name: "file", Type: typ("directory")})
	fanned := stage("fan", input("x", typ("int"), each(value("[1,2]"))))
	policy := func(p protocol.Policy) protocol.Stage {
		s := stage("a")
		s.Policy = p
		return s
	}
	after := func(s protocol.Stage, names ...string) protocol.Stage {
		s.After = names
		return s
	}
	renamed := func(name, function string) protocol.Stage {
		s := stage(name)
		s.Function = function
		return s
	}
	const legal = " (a name has letters, digits and _, begins with no digit, and has at most 100 of them)"
	const bound = " (it is f, or f[input=value,…] in at most 300 bytes)"
	for _, tt := range []struct {
		name   string
		stages []protocol.Stage
		params []protocol.Param
		want   []string
	}{
		{name: "a cycle with its path", stages: []protocol.Stage{stage("a", needs("b")...), stage("b", needs("d", "c")...), stage("c", needs("a")...), stage("d")},
			want: []string{"pipeline.py:1: stages need each other in a cycle: a needs b needs c needs a (take one of these edges away)"}},
		{name: "a stage that needs itself", stages: []protocol.Stage{stage("a", needs("a")...)},
			want: []string{"pipeline.py:1: stages need each other in a cycle: a needs a (take one of these edges away)"}},
		{name: "a cycle of after", stages: []protocol.Stage{after(stage("a"), "b"), after(effect("b"), "a")},
			want: []string{"pipeline.py:1: stages need each other in a cycle: a needs b needs a (take one of these edges away)"}},
		{name: "two cycles", stages: []protocol.Stage{stage("a", needs("b")...), stage("b", needs("a")...), stage("c", needs("c", "a")...)},
			want: []string{
				"pipeline.py:1: stages need each other in a cycle: a needs b needs a (take one of these edges away)",
				"pipeline.py:3: stages need each other in a cycle: c needs c (take one of these edges away)",
			}},
		{name: "a stage twice", stages: []protocol.Stage{stage("a"), stage("b"), stage("a")},
			want: []string{"pipeline.py:3: stage a is declared twice (give one of them another name)"}},
		{name: "a function without a legal name", stages: []protocol.Stage{stage("1st"), stage("größe"), stage(""), stage(strings.Repeat("x", 101))},
			want: []string{
				`pipeline.py:1: "1st" is no name for a stage` + legal, `pipeline.py:2: "größe" is no name for a stage` + legal,
				`pipeline.py:3: "" is no name for a stage` + legal, `pipeline.py:4: "` + strings.Repeat("x", 101) + `" is no name for a stage` + legal,
			}},
		{name: "a stage that is named after another function", stages: []protocol.Stage{renamed("g[x=1]", "f"), renamed("fg", "f")},
			want: []string{`pipeline.py:1: "g[x=1]" is no name for a stage of the function f` + bound, `pipeline.py:2: "fg" is no name for a stage of the function f` + bound}},
		{name: "bound names that are none", stages: []protocol.Stage{
			stage("f[]"), stage("f[0]"), stage("f[x=1][0]"), stage("f[x]"), stage("f[x=]"), stage("f[x=1"), stage("f[x=a b]"), stage("f[x=1,]"), stage(`f[x="a]`),
			stage("f[x=\x1b]"), stage("f[x=\xff]"), stage("f[x=" + strings.Repeat("y", 296) + "]"),
		}, want: []string{
			`pipeline.py:1: "f[]" is no name`, `pipeline.py:2: "f[0]" is no name`, `pipeline.py:3: "f[x=1][0]" is no name`, `pipeline.py:4: "f[x]" is no name`,
			`pipeline.py:5: "f[x=]" is no name`, `pipeline.py:6: "f[x=1" is no name`, `pipeline.py:7: "f[x=a b]" is no name`, `pipeline.py:8: "f[x=1,]" is no name`,
			`pipeline.py:9: "f[x=\"a]" is no name`, `pipeline.py:10: "f[x=\x1b]" is no name`, `pipeline.py:11: "f[x=\xff]" is no name`, `pipeline.py:12: "f[x=yyyyyy`,
		}},
		{name: "an input without a legal name", stages: []protocol.Stage{stage("a", input("x y", typ("int"), value("1")))},
			want: []string{`pipeline.py:1: stage a: "x y" is no name for an input` + legal}},
		{name: "an input twice", stages: []protocol.Stage{stage("a", input("x", typ("int"), value("1")), input("x", typ("int"), value("1")))},
			want: []string{"pipeline.py:1: stage a has two inputs of the name x"}},
		{name: "a kind that is not known", stages: []protocol.Stage{{Name: "a", Function: "a", Kind: "job", Output: typ("int")}},
			want: []string{`pipeline.py:1: stage a is of kind "job", which is not known (it is "stage" or "effect")`}},
		{name: "negative policies", stages: []protocol.Stage{policy(protocol.Policy{Retry: -2, TimeoutMS: -10})},
			want: []string{
				"pipeline.py:1: stage a is to be tried again -2 times (0 stands for no second try)",
				"pipeline.py:1: stage a has a timeout of -10 ms (leave the timeout out for none)",
			}},
		{name: "a stage that is not there", stages: []protocol.Stage{stage("build"), stage("test", needs("biuld")...)},
			want: []string{"pipeline.py:2: stage test needs stage biuld, which does not exist (did you mean build?)"}},
		{name: "an after that is not there", stages: []protocol.Stage{stage("build"), after(effect("publish"), "tests")},
			want: []string{"pipeline.py:2: stage publish needs stage tests, which does not exist (there are build, publish)"}},
		{name: "a gather of what is not there", stages: []protocol.Stage{stage("b", input("x", protocol.ListOf(typ("int")), gather("c", "d")))},
			want: []string{"stage b needs stage c, which does not exist", "stage b needs stage d, which does not exist"}},
		{name: "a parameter that is not there", stages: []protocol.Stage{stage("a", input("x", typ("int"), param("shard")))},
			params: []protocol.Param{{Name: "shards", Type: typ("int")}},
			want:   []string{"pipeline.py:1: input x of stage a takes parameter shard, which does not exist (did you mean shards?)"}},
		{name: "parameters", stages: []protocol.Stage{stage("a", input("x", typ("int"), param("x")))},
			params: []protocol.Param{
				{Name: "a-b", Type: typ("int")}, {Name: "x", Type: typ("int")}, {Name: "x", Type: typ("int")},
				{Name: "f", Type: typ("file")}, {Name: "l", Type: protocol.Type{Kind: protocol.TypeList}}, {Name: "d", Type: typ("int"), Default: []byte(`"1"`)},
			},
			want: []string{
				`"a-b" is no name for a parameter` + legal, "pipeline.py:1: parameter x is declared twice (give one of them another name)",
				"parameter f cannot be of type file (a parameter is a string, int, float or bool)",
				"parameter l cannot be of type list (a parameter is a string, int, float or bool)",
				"the default of parameter d: it is no int but a string",
			}},
		{name: "a stage of another type", stages: []protocol.Stage{stage("a"), stage("b", input("x", typ("string"), outOf("a")))},
			want: []string{"pipeline.py:2: input x of stage b takes string, stage a gives int"}},
		{name: "an optional output for an input that is not", stages: []protocol.Stage{
			giving(stage("a"), protocol.OptionalOf(typ("int"))), stage("b", input("x", typ("int"), outOf("a"))),
		}, want: []string{"pipeline.py:2: input x of stage b takes int, stage a gives optional[int]"}},
		{name: "records of one name with other fields", stages: []protocol.Stage{giving(stage("a"), wheel), stage("b", input("x", otherWheel, outOf("a")))},
			want: []string{`pipeline.py:2: input x of stage b takes {"record":{"name":"Wheel","fields":[{"name":"file","type":"directory"}]}}, ` +
				`stage a gives {"record":{"name":"Wheel","fields":[{"name":"file","type":"file"}]}}`}},
		{name: "a parameter of another type", stages: []protocol.Stage{stage("b", input("x", typ("string"), param("p")))},
			params: []protocol.Param{{Name: "p", Type: typ("int")}},
			want:   []string{"pipeline.py:1: input x of stage b takes string, parameter p gives int"}},
		{name: "a source for a file", stages: []protocol.Stage{stage("b", input("x", typ("file"), source("src")))},
			want: []string{"pipeline.py:1: input x of stage b takes file, source gives directory"}},
		{name: "a secret for a string", stages: []protocol.Stage{stage("b", input("x", typ("string"), protocol.From{Secret: "TOKEN"}))},
			want: []string{"pipeline.py:1: input x of stage b takes string, secret TOKEN gives secret"}},
		{name: "a value of another type", stages: []protocol.Stage{stage("b", input("x", typ("string"), value("1")))},
			want: []string{"pipeline.py:1: input x of stage b: it is no string but an int"}},
		{name: "a value that is no JSON", stages: []protocol.Stage{stage("b", input("x", typ("string"), value("{")))},
			want: []string{"pipeline.py:1: input x of stage b: the value is no JSON"}},
		{name: "a gather for what is no list", stages: []protocol.Stage{stage("a"), stage("b", input("x", typ("int"), gather("a")))},
			want: []string{"pipeline.py:2: input x of stage b takes int, gather gives list[int]"}},
		{name: "a gather of other elements", stages: []protocol.Stage{stage("a"), stage("b", input("x", protocol.ListOf(typ("string")), gather("a")))},
			want: []string{"pipeline.py:2: input x of stage b takes list[string], gather gives list[int]"}},
		{name: "an empty gather for what is no list", stages: []protocol.Stage{stage("b", input("x", typ("int"), gather()))},
			want: []string{"pipeline.py:1: input x of stage b takes int, gather gives a list"}},
		{name: "a gather of different types", stages: []protocol.Stage{
			stage("a"), giving(stage("c"), typ("file")), stage("b", input("x", protocol.ListOf(typ("int")), gather("a", "c"))),
		}, want: []string{"pipeline.py:3: input x of stage b gathers int of a and file of c: the outputs are of different types"}},
		{name: "a fan-out that is used directly", stages: []protocol.Stage{fanned, stage("b", needs("fan")...)},
			want: []string{"pipeline.py:2: input ina of stage b takes the output of fan, which is fanned out and has many (take all its outputs with gather)"}},
		{name: "a fan-out over two inputs", stages: []protocol.Stage{stage("a", input("x", typ("int"), each(value("[1]"))), input("y", typ("int"), each(value("[2]"))))},
			want: []string{"pipeline.py:1: stage a is fanned out over two inputs, x and y (make a stage that pairs the lists)"}},
		{name: "each of each", stages: []protocol.Stage{stage("a", input("x", typ("int"), each(each(value("[[1]]")))))},
			want: []string{"pipeline.py:1: input x of stage a takes each of each (make a stage that returns one list)"}},
		{name: "each of what is no list", stages: []protocol.Stage{stage("a"), stage("b", input("x", typ("int"), each(outOf("a"))))},
			want: []string{"pipeline.py:2: input x of stage b takes list[int], stage a gives int"}},
		{name: "each of other elements", stages: []protocol.Stage{
			giving(stage("a"), protocol.ListOf(typ("string"))), stage("b", input("x", typ("int"), each(outOf("a")))),
		}, want: []string{"pipeline.py:2: input x of stage b takes list[int], stage a gives list[string]"}},
		{name: "sources", stages: []protocol.Stage{stage("a",
			input("a", typ("directory"), source()), input("b", typ("directory"), source("!x")), input("c", typ("directory"), source("../x")),
			input("d", typ("directory"), source("/etc")), input("e", typ("directory"), source("")), input("f", typ("directory"), source("x", "!")),
			input("g", typ("directory"), source("{a,..}/x")), input("h", typ("directory"), source("a\x00b")), input("i", typ("directory"), source("\xff")),
			input("j", typ("directory"), protocol.From{Source: &protocol.Source{Globs: []string{"x"}, Root: "home"}}),
			input("k", typ("directory"), source("x", "!a/../..")),
		)}, want: []string{
			"input a of stage a is a source of nothing (name files or folders)", "input b of stage a is a source of nothing",
			`input c of stage a: the glob "../x" cannot be used (globs are relative and stay below the root)`, `input d of stage a: the glob "/etc" cannot be used`,
			`input e of stage a: the glob "" cannot be used`, `input f of stage a: the glob "!" cannot be used`, `input g of stage a: the glob "{a,..}/x" cannot be used`,
			`input h of stage a: the glob "a\x00b" cannot be used`, `input i of stage a: the glob "\xff" cannot be used`,
			`input j of stage a: the root "home" is not known (it is "program" or "repository")`, `input k of stage a: the glob "!a/../.." cannot be used`,
		}},
		{name: "an input from nowhere", stages: []protocol.Stage{stage("a", input("x", typ("int"), protocol.From{}))},
			want: []string{"pipeline.py:1: input x of stage a comes from nowhere"}},
		{name: "types that lack parts", stages: []protocol.Stage{
			giving(stage("a"), typ("list")), stage("b", input("x", typ("map"), outOf("a"))), giving(stage("c"), typ("record")), giving(stage("d"), typ("blob")),
			giving(stage("e"), protocol.RecordOf("R", protocol.Field{Name: "x", Type: typ("int")}, protocol.Field{Name: "x", Type: typ("int")})),
			giving(stage("f"), protocol.RecordOf("R", protocol.Field{Name: "$x", Type: typ("int")})), giving(stage("g"), nested(66)),
		}, want: []string{
			"the output of stage a: the type list has no element", "input x of stage b: the type map has no element",
			"the output of stage c: the record has no fields", `the output of stage d: the type "blob" is not known`,
			"the output of stage e: record R has two fields of the name x", `the output of stage f: record R: "$x" is no name for a field`,
			"the output of stage g: the type is nested more than 64 deep",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := planOf(tt.stages...)
			p.Params = tt.params
			_, err := plan.New(p, sites(p))
			var pe *plan.Error
			if !errors.As(err, &pe) {
				t.Fatalf("New = %v, want a *plan.Error", err)
			}
			if len(pe.Problems) != len(tt.want) {
				t.Fatalf("%d problems, want %d:\n%v", len(pe.Problems), len(tt.want), err)
			}
			for i, want := range tt.want {
				if got := pe.Problems[i].String(); !strings.Contains(got, want) {
					t.Errorf("problem %d is\n%s\nwant\n%s", i, got, want)
				}
			}
		})
	}
}

func nested(depth int) protocol.Type {
	t := typ("int")
	for range depth {
		t = protocol.ListOf(t)
	}
	return t
}

func TestNewReportsAllProblemsOfAllStagesAtOnce(t *testing.T) {
	p := planOf(stage("1x"), stage("a", needs("b")...), stage("b", needs("a")...), stage("c", input("x", typ("string"), outOf("a"))), stage("d", needs("nope")...))
	_, err := plan.New(p, sites(p))
	var pe *plan.Error
	if !errors.As(err, &pe) {
		t.Fatal(err)
	}
	for _, want := range []string{`pipeline.py:1: "1x"`, "pipeline.py:2: stages need each other", "pipeline.py:4: input x", "pipeline.py:5: stage d needs stage nope"} {
		if !slices.ContainsFunc(pe.Problems, func(p plan.Problem) bool { return strings.HasPrefix(p.String(), want) }) {
			t.Errorf("%q is missing in\n%v", want, err)
		}
	}
	if lines := strings.Split(err.Error(), "\n"); len(lines) != len(pe.Problems) {
		t.Errorf("%d lines for %d problems:\n%v", len(lines), len(pe.Problems), err)
	}
}

func TestProblemWithoutASiteIsItsText(t *testing.T) {
	p := planOf(stage("a", needs("a")...))
	_, err := plan.New(p, nil)
	if err == nil || !strings.HasPrefix(err.Error(), "stages need each other") {
		t.Errorf("the error is %v", err)
	}
}

func TestNewRefusesAnotherVersion(t *testing.T) {
	_, err := plan.New(protocol.Plan{Version: 2, Stages: []protocol.Stage{stage("1x")}}, nil)
	if err == nil || err.Error() != "the plan has version 2, this tow knows version 1" {
		t.Errorf("the error is %v", err)
	}
}

func TestNewRefusesMoreStagesThanTheLimit(t *testing.T) {
	p := planOf(make([]protocol.Stage, protocol.MaxStages+1)...)
	_, err := plan.New(p, nil)
	if err == nil || err.Error() != "the plan has 200001 stages, at most 200000 are allowed" {
		t.Errorf("the error is %.200v", err)
	}
}

func TestLongCycleIsShortened(t *testing.T) {
	var stages []protocol.Stage
	for i := range 1000 {
		stages = append(stages, stage(fmt.Sprintf("s%03d", i), needs(fmt.Sprintf("s%03d", (i+1)%1000))...))
	}
	_, err := plan.New(planOf(stages...), nil)
	if err == nil || !strings.Contains(err.Error(), "s018 needs s019 needs (979 more) needs s999 needs s000 (") {
		t.Errorf("the error is %v", err)
	}
}

func TestNewTakesEveryKindOfEdge(t *testing.T) {
	p := planOf(
		stage("src", input("files", typ("directory"), source("src", "!src/gen"))),
		stage("opt", input("x", protocol.OptionalOf(typ("int")), outOf("src")), input("y", protocol.OptionalOf(protocol.OptionalOf(typ("int"))), value("null"))),
		giving(stage("list"), protocol.ListOf(typ("int"))),
		stage("fan", input("x", typ("int"), each(outOf("list")))),
		stage("fan[os=linux/amd64]", input("x", protocol.OptionalOf(typ("int")), each(outOf("list")))),
		stage(`fan[a=-1e-7,b=true,c="ä]",d=["x",{"y":[1]}],e=null]`, input("x", typ("int"), each(gather("src", "opt")))),
		stage("sum", input("x", protocol.ListOf(typ("int")), gather("fan", "fan[os=linux/amd64]", "src"))),
		stage("none", input("x", protocol.OptionalOf(protocol.ListOf(typ("file"))), gather())),
		stage("fan_param", input("x", typ("string"), param("p")), input("s", typ("secret"), protocol.From{Secret: "TOKEN"})),
		stage("each_value", input("x", typ("string"), each(value(`["a","b"]`)))),
	)
	p.Params = []protocol.Param{{Name: "p", Type: typ("string")}}
	g := mustGraph(t, p)
	if fan := g.Find("fan"); !fan.FannedOut() || fan.Each != 0 || names(fan.Needs) != "list" || fan.Site.Line != 4 {
		t.Errorf("fan is %+v", fan)
	}
	if sum := g.Find("sum"); sum.FannedOut() || len(sum.Needs) != 3 || sum.Effect() {
		t.Errorf("sum is %+v", sum)
	}
	if g.Find("nope") != nil {
		t.Error("Find found what is not there")
	}
}

func TestStagesComeAfterWhatTheyNeed(t *testing.T) {
	g := mustGraph(t, planOf(stage("z"), stage("b", needs("z", "y", "z")...), stage("y"), stage("a")))
	if got := names(g.Stages); got != "a z y b" {
		t.Errorf("the order is %s", got)
	}
	for i, s := range g.Stages {
		if s.Index != i {
			t.Errorf("%s has the index %d at %d", s.Name, s.Index, i)
		}
	}
	if b := g.Find("b"); len(b.Needs) != 2 || b.Needs[0].Index > b.Needs[1].Index {
		t.Errorf("b needs %s", names(b.Needs))
	}
}
