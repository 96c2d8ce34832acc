package towpath_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/towpath/towpath"
	"github.com/towpath/towpath/protocol"
	"github.com/towpath/towpath/towpathtest"
)

type none = towpath.None

// fn returns a stage function that is never called.
func fn[In, Out any]() func(context.Context, In) (Out, error) {
	return func(context.Context, In) (out Out, err error) { panic("called") }
}

type valueIn[T any] struct{ Value T }

type refIn[T any] struct{ Value towpath.Ref[T] }

type loop struct{ Next []loop }

type twice struct {
	A int `towpath:"same"`
	B int `towpath:"same"`
}

type hidden struct{ secret int }

type embedded struct{ fmt.Stringer }

type timeRecord struct{ At time.Time }

func declares[T any](p *towpath.Pipeline, value T) {
	towpath.Stage(p, "s", fn[valueIn[T], none](), valueIn[T]{Value: value})
}

func TestWrongDeclarations(t *testing.T) {
	stage := func(p *towpath.Pipeline, opts ...towpath.Option) towpath.Ref[string] {
		return towpath.Stage(p, "s", fn[valueIn[int], string](), valueIn[int]{}, opts...)
	}
	for name, test := range map[string]struct {
		build func(p *towpath.Pipeline)
		want  string
	}{
		"name":              {func(p *towpath.Pipeline) { towpath.Stage(p, "a-b", fn[none, none](), none{}) }, `"a-b" cannot be the name`},
		"no name":           {func(p *towpath.Pipeline) { towpath.Stage(p, "", fn[none, none](), none{}) }, `"" cannot be the name`},
		"no function":       {func(p *towpath.Pipeline) { towpath.Stage[none, none](p, "s", nil, none{}) }, `has no function`},
		"inputs of an int":  {func(p *towpath.Pipeline) { towpath.Stage(p, "s", fn[int, none](), 1) }, `inputs are not a struct`},
		"inputs of any":     {func(p *towpath.Pipeline) { towpath.Stage[any](p, "s", fn[any, none](), nil) }, `inputs are not a struct`},
		"twice":             {func(p *towpath.Pipeline) { stage(p); stage(p) }, `stage "s" is declared twice, also at `},
		"missing":           {func(p *towpath.Pipeline) { towpath.Stage(p, "s", fn[refIn[int], none](), refIn[int]{}) }, `missing input "value"`},
		"chan":              {func(p *towpath.Pipeline) { declares(p, make(chan int)) }, `has the type chan int`},
		"int32":             {func(p *towpath.Pipeline) { declares(p, int32(1)) }, `has the type int32`},
		"bytes":             {func(p *towpath.Pipeline) { declares(p, []byte("x")) }, `has the type uint8`},
		"any":               {func(p *towpath.Pipeline) { declares[any](p, 1) }, `has the type interface`},
		"map of ints":       {func(p *towpath.Pipeline) { declares(p, map[int]string{}) }, `has the type map[int]string`},
		"pointer pointer":   {func(p *towpath.Pipeline) { declares(p, new(new(1))) }, `has the type **int`},
		"anonymous struct":  {func(p *towpath.Pipeline) { declares(p, struct{ X int }{}) }, `has the type struct { X int }`},
		"recursive":         {func(p *towpath.Pipeline) { declares(p, loop{}) }, `whose field Next has the type`},
		"unexported":        {func(p *towpath.Pipeline) { declares(p, hidden{1}) }, `whose field secret is not exported`},
		"embedded":          {func(p *towpath.Pipeline) { declares(p, embedded{}) }, `is embedded`},
		"time":              {func(p *towpath.Pipeline) { declares(p, timeRecord{}) }, `whose field At has the type time.Time, whose field wall is not exported`},
		"same field":        {func(p *towpath.Pipeline) { declares(p, twice{}) }, `same name`},
		"same input":        {func(p *towpath.Pipeline) { towpath.Stage(p, "s", fn[twice, none](), twice{}) }, `are both the input "same"`},
		"ref in a record":   {func(p *towpath.Pipeline) { declares(p, []towpath.Ref[int]{}) }, `has the type towpath.Ref[int]`},
		"output":            {func(p *towpath.Pipeline) { towpath.Stage(p, "s", fn[none, error](), none{}) }, `its output has the type error`},
		"zero file":         {func(p *towpath.Pipeline) { declares(p, towpath.File{}) }, `the File is empty`},
		"not UTF-8":         {func(p *towpath.Pipeline) { declares(p, "\xff") }, `is not UTF-8`},
		"infinite":          {func(p *towpath.Pipeline) { declares(p, 1/func() float64 { return 0 }()) }, `is not finite`},
		"dollar key":        {func(p *towpath.Pipeline) { declares(p, map[string]int{"$x": 1}) }, `starts with a dollar sign`},
		"fanned out":        {func(p *towpath.Pipeline) { use(p, fan(p)) }, `comes from the stage "fan", which is fanned out`},
		"two fans":          {twoFans, `is the second one that is fanned out`},
		"each of a param":   {func(p *towpath.Pipeline) { use(p, towpath.Each(towpath.Ref[[]string]{})) }, `missing input`},
		"gather of a param": {gatherParam, `gathers something that is not the output of a stage`},
		"gather of nothing": {func(p *towpath.Pipeline) { useList(p, towpath.Gather(towpath.Ref[string]{})) }, `gathers something`},
		"other pipeline":    {otherPipeline, `comes from another pipeline`},
		"after a param": {func(p *towpath.Pipeline) { stage(p, towpath.After(towpath.Param[int](p, "x"))) },
			`comes after something that is not a stage`},
		"after nothing":    {func(p *towpath.Pipeline) { stage(p, towpath.After(towpath.Ref[int]{})) }, `comes after something`},
		"bind nothing":     {func(p *towpath.Pipeline) { stage(p, towpath.Bind()) }, `Bind names no input`},
		"bind unknown":     {func(p *towpath.Pipeline) { stage(p, towpath.Bind("Value")) }, `has no input "Value" to bind`},
		"bind an edge":     {func(p *towpath.Pipeline) { use(p, towpath.Param[string](p, "x"), towpath.Bind("value")) }, `cannot be bound`},
		"bind too much":    {func(p *towpath.Pipeline) { use(p, towpath.Value(strings.Repeat("x", 300)), towpath.Bind("value")) }, `its name with the bound values`},
		"bind DEL":         {func(p *towpath.Pipeline) { use(p, towpath.Value("\x7f"), towpath.Bind("value")) }, `its name with the bound values`},
		"negative retry":   {func(p *towpath.Pipeline) { stage(p, towpath.Retry(-1)) }, `retry is -1`},
		"short timeout":    {func(p *towpath.Pipeline) { stage(p, towpath.Timeout(time.Microsecond)) }, `timeout is 1µs`},
		"idempotent stage": {func(p *towpath.Pipeline) { stage(p, towpath.Idempotent()) }, `is always idempotent`},
		"retried effect":   {func(p *towpath.Pipeline) { towpath.Effect(p, "e", fn[none, none](), none{}, towpath.Retry(1)) }, `cannot be retried`},
		"param name":       {func(p *towpath.Pipeline) { towpath.Param[int](p, "a b") }, `cannot be the name of a parameter`},
		"param default":    {func(p *towpath.Pipeline) { towpath.Param[int](p, "x", towpath.Default("1")) }, `is int, but its default is string`},
		"param env":        {func(p *towpath.Pipeline) { towpath.Param[int](p, "x", towpath.Env("")) }, `environment variable is empty`},
		"param differs": {func(p *towpath.Pipeline) { towpath.Param[int](p, "x"); towpath.Param[bool](p, "x") },
			`parameter "x" is declared differently, also at `},
		"no globs":      {func(p *towpath.Pipeline) { p.Source() }, `takes nothing`},
		"only away":     {func(p *towpath.Pipeline) { p.Source("!x") }, `takes nothing`},
		"absolute glob": {func(p *towpath.Pipeline) { p.Source("/etc") }, `has the glob "/etc"`},
		"glob above":    {func(p *towpath.Pipeline) { p.RepositorySource("src/../../x") }, `has the glob`},
		"secret":        {func(p *towpath.Pipeline) { p.Secret("") }, `has no name`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := towpathtest.Plan(test.build)
			if protocol.CodeOf(err) != protocol.CodePipeline || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("Plan: %v, want %s", err, test.want)
			}
			if !strings.Contains(err.Error(), "declare_test.go:") {
				t.Errorf("%v does not say where", err)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("one mistake is reported as several: %v", err)
			}
		})
	}
}

func use(p *towpath.Pipeline, ref towpath.Ref[string], opts ...towpath.Option) {
	towpath.Stage(p, "use", fn[refIn[string], none](), refIn[string]{Value: ref}, opts...)
}

func useList(p *towpath.Pipeline, ref towpath.Ref[[]string]) {
	towpath.Stage(p, "use", fn[refIn[[]string], none](), refIn[[]string]{Value: ref})
}

func fan(p *towpath.Pipeline) towpath.Ref[string] {
	list := towpath.Value([]string{"a"})
	return towpath.Stage(p, "fan", fn[refIn[string], string](), refIn[string]{Value: towpath.Each(list)})
}

func twoFans(p *towpath.Pipeline) {
	type in struct{ A, B towpath.Ref[string] }
	each := towpath.Each(towpath.Value([]string{"a"}))
	towpath.Stage(p, "s", fn[in, none](), in{A: each, B: each})
}

func gatherParam(p *towpath.Pipeline) {
	useList(p, towpath.Gather(towpath.Param[string](p, "x")))
}

func otherPipeline(p *towpath.Pipeline) {
	var foreign towpath.Ref[string]
	_, _ = towpathtest.Plan(func(other *towpath.Pipeline) { foreign = towpath.Param[string](other, "x") })
	use(p, foreign)
}

func TestAllMistakesAreReportedAtOnce(t *testing.T) {
	_, err := towpathtest.Plan(func(p *towpath.Pipeline) {
		broken := towpath.Stage(p, "first", fn[valueIn[int32], string](), valueIn[int32]{})
		use(p, broken, towpath.Retry(-1)) // what comes from a broken stage is no mistake of its own
		p.Secret("")
	})
	if protocol.CodeOf(err) != protocol.CodePipeline {
		t.Fatal(err)
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != 3 {
		t.Fatalf("%d lines, want 3: %v", len(lines), err)
	}
	for i, want := range []string{`stage "first": input "value" has the type int32`, `stage "use": retry is -1`, `a secret has no name`} {
		if !strings.Contains(lines[i], want) || !strings.Contains(lines[i], "declare_test.go:") {
			t.Errorf("line %d is %q, want %q", i, lines[i], want)
		}
	}
}

func TestOptionalInputMayBeMissing(t *testing.T) {
	plan, err := towpathtest.Plan(func(p *towpath.Pipeline) {
		towpath.Stage(p, "s", fn[refIn[*string], none](), refIn[*string]{})
	})
	if err != nil || string(plan.Stages[0].Inputs[0].From.Value) != "null" {
		t.Errorf("plan %+v, %v", plan, err)
	}
}

func TestRefs(t *testing.T) {
	if got := towpath.Gather(towpath.Value(1), towpath.Value(2)).Get(); len(got) != 2 || got[1] != 2 {
		t.Errorf("Gather of values = %v", got)
	}
	if got := towpath.Optional(towpath.Value("x")).Get(); got == nil || *got != "x" {
		t.Errorf("Optional of a value = %v", got)
	}
	defer func() {
		if recover() == nil {
			t.Error("Get of a Ref without a value did not panic")
		}
	}()
	towpath.Ref[int]{}.Get()
}
