package plan_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/towpath/towpath/internal/plan"
	"github.com/towpath/towpath/protocol"
)

func TestSelect(t *testing.T) {
	after := effect("announce")
	after.After = []string{"publish"}
	pure := stage("report")
	pure.After = []string{"publish"}
	g := mustGraph(t, planOf(
		stage("lint"), stage("wheel"), stage("test"), stage("test[os=linux]", needs("wheel")...), stage("test[os=mac]"),
		effect("publish", needs("wheel")...), after, pure,
		stage("fan", input("x", typ("int"), each(value("[1,2]")))),
	))
	for _, tt := range []struct {
		name    string
		targets []string
		want    string
	}{
		{"nothing stands for all without effects", nil, "fan lint test wheel test[os=linux] test[os=mac]"},
		{"a stage comes with what it needs", []string{"test[os=linux]"}, "wheel test[os=linux]"},
		{"a function stands for all its stages", []string{"test"}, "test wheel test[os=linux] test[os=mac]"},
		{"several targets, one of them twice", []string{"lint", "test[os=mac]", "lint"}, "lint test[os=mac]"},
		{"an effect that is named", []string{"announce"}, "wheel publish announce"},
		{"a stage after an effect", []string{"report"}, "wheel publish report"},
		{"a fan-out", []string{"fan"}, "fan"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := g.Select(tt.targets)
			if err != nil {
				t.Fatal(err)
			}
			if sorted(names(got)) != sorted(tt.want) {
				t.Errorf("selected %s, want %s", names(got), tt.want)
			}
			for i := 1; i < len(got); i++ {
				if got[i-1].Index >= got[i].Index {
					t.Errorf("%s comes before %s", got[i-1].Name, got[i].Name)
				}
			}
		})
	}
}

func sorted(words string) string {
	list := strings.Fields(words)
	slices.Sort(list)
	return strings.Join(list, " ")
}

func TestSelectRefusesWhatIsNotThere(t *testing.T) {
	many := []protocol.Stage{stage("publish_wheel"), stage("test[shard=0]"), stage("fan", input("x", typ("int"), each(value("[1]"))))}
	for name := range strings.SplitSeq("abcdefghijkl", "") {
		many = append(many, stage("other_"+name))
	}
	few := planOf(stage("build"), stage("test"))
	for _, tt := range []struct {
		name   string
		plan   protocol.Plan
		target string
		want   string
	}{
		{"a slip of the fingers", few, "tset", `there is no stage "tset" | did you mean test?`},
		{"other case", few, "BUILD", `there is no stage "BUILD" | did you mean build?`},
		{"the beginning of a name", planOf(many...), "pub", `there is no stage "pub" | did you mean publish_wheel?`},
		{"another member of a family", planOf(many...), "test[shard=4]", `there is no stage "test[shard=4]" | did you mean test[shard=0]?`},
		{"bindings in another order", planOf(stage("m[a=1,os=linux]"), stage("m[a=2,os=linux]")), "m[os=linux,a=2]",
			`there is no stage "m[os=linux,a=2]" | did you mean m[a=2,os=linux]?`},
		{"an element of a fan-out", planOf(many...), "fan[0]",
			`there is no stage "fan[0]" | the elements of fan are known only once it runs: name fan, which stands for all of them`},
		{"nothing like it, few", few, "deploy", `there is no stage "deploy" | there are build, test`},
		{"nothing like it, one", planOf(stage("build")), "deploy", `there is no stage "deploy" | there is only build`},
		{"nothing like it, many", planOf(many...), "zzzzzz", `there is no stage "zzzzzz" | there are fan, other_a, other_b, other_c, other_d, other_e, other_f, ` +
			`other_g, other_h, other_i, other_j, other_k and 4 more`},
		{"one letter is like no other", planOf(stage("a"), stage("b")), "c", `there is no stage "c" | there are a, b`},
		{"a name of great length", few, strings.Repeat("x", 400), `" | there are build, test`},
		{"nothing", few, "", `there is no stage "" | there are build, test`},
		{"no text", few, "te\xffst", `did you mean test?`},
		{"no stages", planOf(), "test", `there is no stage "test" | `},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := mustGraph(t, tt.plan).Select([]string{tt.target})
			if got := usage(t, err); !strings.HasSuffix(got, tt.want) {
				t.Errorf("the error is %s, want %s", got, tt.want)
			}
		})
	}
}

func TestSelectRefusesToRunNothing(t *testing.T) {
	for _, tt := range []struct {
		name string
		plan protocol.Plan
		want string
	}{
		{"no stages", planOf(), "there is nothing to run | declare a stage: a function with @stage in Python, towpath.Stage in Go"},
		{"only effects", planOf(effect("publish"), stage("check", needs("publish")...)),
			"there is nothing to run | every stage is an effect or needs one; name the ones to run: check, publish"},
		{"many effects", planOf(effect("a"), effect("b"), effect("c"), effect("d"), effect("e"), effect("f")),
			"there is nothing to run | every stage is an effect or needs one; name the ones to run: a, b, c, d, e, …"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := mustGraph(t, tt.plan).Select(nil)
			if got := usage(t, err); got != tt.want {
				t.Errorf("the error is %s, want %s", got, tt.want)
			}
		})
	}
}

func TestValues(t *testing.T) {
	p := planOf(stage("a",
		input("s", typ("string"), param("s")), input("i", typ("int"), param("i")), input("f", typ("float"), param("f")),
		input("b", typ("bool"), param("b"))), stage("other", input("o", typ("int"), param("o"))))
	p.Params = []protocol.Param{
		{Name: "s", Type: typ("string"), Default: []byte(`"x"`), Env: "S"}, {Name: "i", Type: typ("int"), Default: []byte("7")},
		{Name: "f", Type: typ("float"), Env: "F"}, {Name: "b", Type: typ("bool"), Env: "B", Doc: "whether to"}, {Name: "o", Type: typ("int")},
	}
	g := mustGraph(t, p)
	for _, tt := range []struct {
		name  string
		given map[string]string
		env   map[string]string
		want  string
		err   string
	}{
		{name: "defaults and variables", env: map[string]string{"F": "2", "B": "true"}, want: `{"b":true,"f":2.0,"i":7,"s":"x"}`},
		{name: "what is given counts more than the variable, and that more than the default",
			given: map[string]string{"s": "given", "f": "1e3", "i": "-3"}, env: map[string]string{"S": "variable", "F": "2", "B": "0"},
			want: `{"b":false,"f":1000.0,"i":-3,"s":"given"}`},
		{name: "a variable counts more than the default", env: map[string]string{"S": "", "F": "0.5", "B": "T"}, want: `{"b":true,"f":0.5,"i":7,"s":""}`},
		{name: "no value", env: map[string]string{"F": "2"},
			err: "pipeline.py:1: parameter b of stage a has no value | give it with -P b=… or the variable B"},
		{name: "a value that does not fit", given: map[string]string{"i": "seven"}, env: map[string]string{"F": "2", "B": "1"}, err: `-P i: "seven" is no whole number | `},
		{name: "a variable that does not fit", env: map[string]string{"F": "2", "B": "perhaps"},
			err: `the variable B of parameter b: "perhaps" is neither true nor false | whether to`},
		{name: "a value that does not fit and nobody needs", given: map[string]string{"o": "x"}, env: map[string]string{"F": "2", "B": "1"}, err: `-P o: "x" is no whole number | `},
		{name: "a value that nobody needs", given: map[string]string{"o": "1"}, env: map[string]string{"F": "2", "B": "1"}, want: `{"b":true,"f":2.0,"i":7,"s":"x"}`},
		{name: "unknown ones, the first of them", given: map[string]string{"z": "1", "index": "1"}, err: `there is no parameter "index" | there are b, f, i, o, s`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := g.Values([]*plan.Stage{g.Find("a")}, tt.given, func(name string) (string, bool) { v, ok := tt.env[name]; return v, ok })
			if tt.err != "" {
				if text := usage(t, err); text != tt.err {
					t.Errorf("the error is %s, want %s", text, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if text, err := protocol.Canonical(got); err != nil || string(text) != tt.want {
				t.Errorf("the values are %s, %v, want %s", text, err, tt.want)
			}
		})
	}
}

func TestValuesOfAPlanWithoutParametersNamesNone(t *testing.T) {
	_, err := mustGraph(t, planOf(stage("a"))).Values(nil, map[string]string{"x": "1"}, nil)
	if got, want := usage(t, err), `there is no parameter "x" | this pipeline has no parameters`; got != want {
		t.Errorf("the error is %s, want %s", got, want)
	}
}

func TestValuesSuggestTheNearestParameter(t *testing.T) {
	p := planOf(stage("a", input("x", typ("int"), param("shards"))))
	p.Params = []protocol.Param{{Name: "index", Type: typ("int")}, {Name: "shards", Type: typ("int")}}
	_, err := mustGraph(t, p).Values(nil, map[string]string{"shrads": "1"}, nil)
	if got, want := usage(t, err), `there is no parameter "shrads" | did you mean shards?`; got != want {
		t.Errorf("the error is %s, want %s", got, want)
	}
}

func TestEachOfAParameterIsNeverMissing(t *testing.T) {
	// A parameter is no list, so each of one is refused before it is looked for.
	p := planOf(stage("a", input("x", typ("string"), each(param("list")))))
	p.Params = []protocol.Param{{Name: "list", Type: typ("string")}}
	if _, err := plan.New(p, nil); err == nil || !strings.Contains(err.Error(), "takes list[string], parameter list gives string") {
		t.Errorf("New = %v", err)
	}
}

func TestParseParam(t *testing.T) {
	for _, tt := range []struct {
		kind       protocol.TypeKind
		text, want string
	}{
		{"string", "", `""`}, {"string", "a\"b\n", `"a\"b\n"`}, {"string", "ä<&>", `"ä<&>"`}, {"string", "a\xff", `!"a\xff" is no text in UTF-8`},
		{"int", "0", "0"}, {"int", "-0", "0"}, {"int", "+5", "5"}, {"int", "007", "7"},
		{"int", "9223372036854775807", "9223372036854775807"}, {"int", "-9223372036854775808", "-9223372036854775808"},
		{"int", "9223372036854775808", `!"9223372036854775808" does not fit into 64 bits`},
		{"int", "1.0", `!"1.0" is no whole number`}, {"int", "", `!"" is no whole number`}, {"int", " 1", `!" 1" is no whole number`}, {"int", "1_000", `!"1_000" is no whole number`},
		{"float", "1", "1.0"}, {"float", "-0", "0.0"}, {"float", "2.50", "2.5"}, {"float", "1e300", "1e+300"}, {"float", ".5", "0.5"},
		{"float", "1e999", `!"1e999" is no finite number`}, {"float", "inf", `!"inf" is no finite number`}, {"float", "NaN", `!"NaN" is no finite number`},
		{"float", "one", `!"one" is no number`}, {"float", "", `!"" is no number`},
		{"bool", "true", "true"}, {"bool", "False", "false"}, {"bool", "1", "true"}, {"bool", "0", "false"},
		{"bool", "yes", `!"yes" is neither true nor false`}, {"bool", "", `!"" is neither true nor false`},
		{"file", "x", "!a parameter cannot be of type file"},
	} {
		got, err := plan.ParseParam(typ(tt.kind), tt.text)
		if want, wrong := strings.CutPrefix(tt.want, "!"); wrong {
			if err == nil || err.Error() != want {
				t.Errorf("ParseParam(%s, %q) = %s, %v, want the error %s", tt.kind, tt.text, got, err, want)
			}
			continue
		}
		if err != nil || string(got) != tt.want {
			t.Errorf("ParseParam(%s, %q) = %s, %v, want %s", tt.kind, tt.text, got, err, tt.want)
		}
	}
}
