package towpath

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"unicode"

	"github.com/towpath/towpath/internal/sdk"
	"github.com/towpath/towpath/protocol"
)

// Pipeline is the graph that a program declares. Main makes it.
type Pipeline struct {
	nodes    []*node
	byName   map[string]*node
	params   map[string]*param
	problems []problem
	reads    *sdk.Reads
}

func newPipeline(reads *sdk.Reads) *Pipeline {
	return &Pipeline{byName: make(map[string]*node), params: make(map[string]*param), reads: reads}
}

// node is a declared stage.
type node struct {
	name, function string
	kind           protocol.Kind
	site           site
	inputs         []input
	output         protocol.Type
	fanned         bool
	options        options
	after          []string
	call           func(ctx context.Context, inputs map[string]json.RawMessage) (any, error)
}

type input struct {
	name  string
	field int // of the struct of inputs
	typ   protocol.Type
	from  protocol.From
	plain bool // known when it is declared, so that it may be bound
}

type param struct {
	site site
	spec protocol.Param
}

// site is a place in the program, as the compiler knows it.
type site struct {
	file string
	line int
}

// String returns the site as compilers write one.
func (s site) String() string { return fmt.Sprintf("%s:%d", s.file, s.line) }

// caller returns the site that called the exported function that calls caller.
func caller() site {
	_, file, line, _ := runtime.Caller(2)
	return site{file: filepath.ToSlash(file), line: line}
}

// problem is something that is wrong with a declaration.
type problem struct {
	site  site
	text  string
	other *site // another place that the text is about
	hint  string
}

func (p *Pipeline) complain(at site, hint, format string, args ...any) {
	p.problems = append(p.problems, problem{site: at, text: fmt.Sprintf(format, args...), hint: hint})
}

// Stage declares that fn is a stage of the pipeline: pure, typed, and cached by
// its inputs. The fields of in say where the inputs come from; the name is how
// people call the stage, with letters, digits and underscores. The Ref that is
// returned stands for what fn returns.
//
// What is wrong with a declaration is reported with its file and line before
// anything runs, all of it at once.
func Stage[In, Out any](p *Pipeline, name string, fn func(context.Context, In) (Out, error), in In, opts ...Option) Ref[Out] {
	return declare(p, caller(), protocol.KindStage, name, fn, in, opts)
}

// Effect is Stage for a function that changes the world: it pushes, publishes,
// deploys. It is never cached, and neither a retry nor a resumed run calls it a
// second time unless it is Idempotent.
func Effect[In, Out any](p *Pipeline, name string, fn func(context.Context, In) (Out, error), in In, opts ...Option) Ref[Out] {
	return declare(p, caller(), protocol.KindEffect, name, fn, in, opts)
}

func declare[In, Out any](
	p *Pipeline, at site, kind protocol.Kind, name string, fn func(context.Context, In) (Out, error), in In, opts []Option,
) Ref[Out] {
	n := &node{name: name, function: name, kind: kind, site: at}
	for _, opt := range opts {
		opt.stage(&n.options)
	}
	if fn != nil {
		n.call = func(ctx context.Context, inputs map[string]json.RawMessage) (any, error) {
			var in In
			if err := n.fill(reflect.ValueOf(&in).Elem(), inputs); err != nil {
				return nil, err
			}
			return fn(ctx, in)
		}
	}
	known := len(p.problems)
	p.add(n, reflect.ValueOf(in), reflect.TypeFor[Out]())
	return Ref[Out]{from: &origin{pipeline: p, node: n, broken: len(p.problems) > known}}
}

// add completes a node, whose inputs are the fields of in, and takes it into the
// pipeline.
func (p *Pipeline) add(n *node, in reflect.Value, out reflect.Type) {
	if !isFunctionName(n.name) {
		p.complain(n.site, "a name has at most 100 letters, digits and underscores, and starts with none of the digits",
			"%q cannot be the name of a stage", n.name)
		return
	}
	if n.call == nil {
		p.complain(n.site, "", "stage %q has no function", n.name)
	}
	var err error
	if n.output, err = typeOf(out); err != nil {
		p.complain(n.site, hintOf(err), "stage %q: its output %v", n.name, err)
	}
	p.addInputs(n, in)
	p.addAfter(n)
	p.checkPolicy(n)
	p.bind(n)
	if other := p.byName[n.name]; other != nil {
		p.problems = append(p.problems, problem{
			site: n.site, text: fmt.Sprintf("stage %q is declared twice", n.name), other: &other.site,
			hint: `give one of them another name, or tell them apart by an input: towpath.Bind("input")`,
		})
		return
	}
	p.byName[n.name] = n
	p.nodes = append(p.nodes, n)
}

func (p *Pipeline) addInputs(n *node, in reflect.Value) {
	if !in.IsValid() || in.Kind() != reflect.Struct {
		p.complain(n.site, "declare a struct with one field for each input; struct{} where there are none",
			"stage %q: its inputs are not a struct", n.name)
		return
	}
	names := make(map[string]string)
	for i := range in.NumField() {
		field := in.Type().Field(i)
		name, err := fieldName(field)
		if err != nil {
			p.complain(n.site, hintOf(err), "stage %q: the inputs' field %v", n.name, err)
			continue
		}
		if other, ok := names[name]; ok {
			p.complain(n.site, "rename one with a tag: `towpath:\"name\"`",
				"stage %q: the fields %s and %s are both the input %q", n.name, other, field.Name, name)
			continue
		}
		names[name] = field.Name
		p.addInput(n, input{name: name, field: i}, in.Field(i))
	}
}

func (p *Pipeline) addInput(n *node, to input, field reflect.Value) {
	typ, value := field.Type(), field
	ref, isRef := reflect.TypeAssert[typedRef](field)
	if isRef {
		typ = ref.elem()
	}
	var err error
	if to.typ, err = typeOf(typ); err != nil {
		p.complain(n.site, hintOf(err), "stage %q: input %q %v", n.name, to.name, err)
		return
	}
	if isRef {
		from := ref.source()
		switch {
		case from == nil && typ.Kind() == reflect.Pointer:
			value = reflect.Zero(typ)
		case from == nil:
			p.complain(n.site, "set its field in the struct of inputs", "stage %q: missing input %q", n.name, to.name)
			return
		case from.broken:
			return
		case from.value != nil:
			value = asType(reflect.ValueOf(*from.value), typ)
		default:
			if to.from, err = p.fromOf(n, from); err != nil {
				p.complain(n.site, hintOf(err), "stage %q: input %q %v", n.name, to.name, err)
				return
			}
			n.inputs = append(n.inputs, to)
			return
		}
	}
	to.plain = true
	if to.from.Value, err = encode(value); err != nil {
		p.complain(n.site, hintOf(err), "stage %q: input %q: %v", n.name, to.name, err)
		return
	}
	n.inputs = append(n.inputs, to)
}

// fromOf writes down where an input comes from.
func (p *Pipeline) fromOf(n *node, from *origin) (protocol.From, error) {
	if from.pipeline != nil && from.pipeline != p {
		return protocol.From{}, refusal("", "comes from another pipeline")
	}
	switch {
	case from.node != nil:
		if from.node.fanned {
			return protocol.From{}, refusal("take all of its outputs: towpath.Gather(ref)", "comes from %s, which is fanned out", from)
		}
		return protocol.From{Stage: from.node.name}, nil
	case from.gather != nil:
		names := protocol.List[string]{}
		for _, member := range from.gather {
			if member == nil {
				return protocol.From{}, refusal("Gather takes Refs that Stage or Effect returned", "gathers something that is not the output of a stage")
			}
			names = append(names, member.name)
		}
		return protocol.From{Gather: names}, nil
	case from.each != nil:
		if n.fanned {
			return protocol.From{}, refusal("use Each for one input: a list of structs can hold the combinations",
				"is the second one that is fanned out")
		}
		n.fanned = true
		return p.fromEach(n, from.each)
	case from.param != "":
		return protocol.From{Param: from.param}, nil
	case from.glob != nil:
		root := protocol.RootProgram
		if from.glob.repository {
			root = protocol.RootRepository
		}
		return protocol.From{Source: &protocol.Source{Globs: from.glob.globs, Root: root}}, nil
	}
	return protocol.From{Secret: from.secret}, nil
}

func (p *Pipeline) fromEach(n *node, list *origin) (protocol.From, error) {
	if list.value != nil {
		value, err := encode(reflect.ValueOf(*list.value))
		if err != nil {
			return protocol.From{}, err
		}
		return protocol.From{Each: &protocol.From{Value: value}}, nil
	}
	if list.node == nil && list.gather == nil {
		return protocol.From{}, refusal("Each takes the output of a stage, a Gather or a Value", "is an Each of %s", list)
	}
	inner, err := p.fromOf(n, list)
	return protocol.From{Each: &inner}, err
}

func (p *Pipeline) addAfter(n *node) {
	for _, ref := range n.options.after {
		var members []*node
		if ref != nil && ref.source() != nil {
			from := ref.source()
			if from.broken {
				continue
			}
			members = from.gather
			if from.node != nil {
				members = []*node{from.node}
			}
		}
		if len(members) == 0 || slices.Contains(members, nil) {
			p.complain(n.site, "After takes what Stage and Effect return, and Gathers of that",
				"stage %q: it comes after something that is not a stage", n.name)
			continue
		}
		for _, member := range members {
			if p.byName[member.name] != member {
				p.complain(n.site, "", "stage %q: it comes after a stage of another pipeline", n.name)
				continue
			}
			n.after = append(n.after, member.name)
		}
	}
	slices.Sort(n.after)
	n.after = slices.Compact(n.after)
}

func (p *Pipeline) checkPolicy(n *node) {
	policy := n.options.policy
	if policy.Idempotent && n.kind == protocol.KindStage {
		p.complain(n.site, "only an Effect has to be declared so", "stage %q: a stage is always idempotent", n.name)
	}
	switch {
	case policy.Retry < 0:
		p.complain(n.site, "it is a number of times, such as 2", "stage %q: retry is %d", n.name, policy.Retry)
	case policy.Retry > 0 && n.kind == protocol.KindEffect && !policy.Idempotent:
		p.complain(n.site, "declare it Idempotent where doing it twice is as good as once, or leave out Retry",
			"stage %q: an effect that is not idempotent cannot be retried", n.name)
	}
	if timeout := n.options.timeout; timeout != nil && policy.TimeoutMS <= 0 {
		p.complain(n.site, "it is at least one millisecond", "stage %q: timeout is %v", n.name, *timeout)
	}
}

// bind makes the values of some inputs a part of the node's name.
func (p *Pipeline) bind(n *node) {
	wanted := n.options.bind
	if wanted == nil {
		return
	}
	if len(wanted) == 0 {
		p.complain(n.site, `name the inputs: towpath.Bind("shard")`, "stage %q: Bind names no input", n.name)
		return
	}
	known := len(p.problems)
	var bound []protocol.Binding
	for _, to := range n.inputs {
		if !slices.Contains(wanted, to.name) {
			continue
		}
		if !to.plain {
			p.complain(n.site, "only inputs whose values are known can be a part of the name",
				"stage %q: input %q cannot be bound", n.name, to.name)
			continue
		}
		bound = append(bound, protocol.Binding{Name: to.name, Value: to.from.Value})
	}
	for _, name := range wanted {
		if !slices.ContainsFunc(n.inputs, func(to input) bool { return to.name == name }) {
			p.complain(n.site, "Bind takes the names of inputs as the plan has them: field ShardCount is shard_count",
				"stage %q has no input %q to bind", n.name, name)
		}
	}
	if len(p.problems) > known {
		return
	}
	name, err := protocol.BoundName(n.function, bound)
	switch {
	case err != nil:
		p.complain(n.site, "", "stage %q: %v", n.name, err)
		return
	case len(name) > protocol.MaxStageName || strings.ContainsFunc(name, unicode.IsControl):
		p.complain(n.site, fmt.Sprintf("keep it below %d bytes and free of control characters", protocol.MaxStageName),
			"stage %q: its name with the bound values is not allowed", n.name)
		return
	}
	n.name = name
}

// fill sets the fields of the inputs' struct.
func (n *node) fill(in reflect.Value, values map[string]json.RawMessage) error {
	for _, to := range n.inputs {
		raw, ok := values[to.name]
		if !ok {
			return protocol.Errorf(protocol.CodeInvalid, "input %q is missing", to.name)
		}
		field := in.Field(to.field)
		var err error
		if ref, ok := reflect.TypeAssert[fillableRef](field.Addr()); ok {
			err = ref.fill(raw)
		} else {
			err = decode(raw, field)
		}
		if err != nil {
			return protocol.Errorf(protocol.CodeInvalid, "input %q: %v", to.name, err)
		}
	}
	return nil
}

// plan returns what was declared.
func (p *Pipeline) plan() protocol.Plan {
	plan := protocol.Plan{Version: protocol.Version}
	for _, n := range p.nodes {
		stage := protocol.Stage{
			Name: n.name, Function: n.function, Doc: n.options.doc, Kind: n.kind,
			Output: n.output, After: n.after, Policy: n.options.policy,
		}
		for _, to := range n.inputs {
			stage.Inputs = append(stage.Inputs, protocol.Input{Name: to.name, Type: to.typ, From: to.from})
		}
		plan.Stages = append(plan.Stages, stage)
	}
	for _, param := range p.params {
		plan.Params = append(plan.Params, param.spec)
	}
	slices.SortFunc(plan.Stages, func(a, b protocol.Stage) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(plan.Params, func(a, b protocol.Param) int { return cmp.Compare(a.Name, b.Name) })
	return plan
}

// isFunctionName reports whether s can be the name of a stage, an input, a
// parameter or a field.
func isFunctionName(s string) bool {
	for i, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', c == '_':
		case '0' <= c && c <= '9' && i > 0:
		default:
			return false
		}
	}
	return s != "" && len(s) <= protocol.MaxFunction
}
