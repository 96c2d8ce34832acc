package towpath

import (
	"encoding/json"
	"fmt"
	"reflect"
)

// Ref is an input of type T that comes from somewhere else in the pipeline: the
// output of a stage, files of the work tree, a parameter, a secret. Its zero
// value is missing, which is an error unless T is a pointer.
type Ref[T any] struct {
	from  *origin
	value *T
}

// Node is what After takes: a Ref of any type that Stage or Effect returned, or a
// Gather of such.
type Node interface {
	source() *origin
}

// Get returns the value. There is one inside of a running stage, and for a Ref
// that Value made; anywhere else Get panics, because a pipeline is declared
// before anything of it runs.
func (r Ref[T]) Get() T {
	if r.value == nil {
		panic("towpath: Get of a Ref that has no value yet: call it inside of the stage, on its inputs")
	}
	return *r.value
}

func (r Ref[T]) source() *origin { return r.from }

func (r Ref[T]) elem() reflect.Type { return reflect.TypeFor[T]() }

func (r *Ref[T]) fill(raw json.RawMessage) error {
	r.value = new(T)
	return decode(raw, reflect.ValueOf(r.value).Elem())
}

// typedRef is what the declaration of a stage needs of a field that is a Ref.
type typedRef interface {
	Node
	elem() reflect.Type
}

// fillableRef is what a call of a stage needs of a pointer to such a field.
type fillableRef interface {
	fill(raw json.RawMessage) error
}

// origin is where a Ref comes from. Exactly one of its kinds is set.
type origin struct {
	pipeline *Pipeline // nil for a value
	node     *node     // the output of a stage
	gather   []*node   // not nil where it is set
	each     *origin
	value    *any
	param    string
	glob     *sourceFiles
	secret   string
	broken   bool // declared wrongly, which was reported where that happened
}

type sourceFiles struct {
	globs      []string
	repository bool
}

// String names the origin in messages.
func (o *origin) String() string {
	switch {
	case o.node != nil:
		return fmt.Sprintf("the stage %q", o.node.name)
	case o.gather != nil:
		return "a Gather"
	case o.each != nil:
		return "an Each"
	case o.value != nil:
		return "a Value"
	case o.param != "":
		return fmt.Sprintf("the parameter %q", o.param)
	case o.glob != nil:
		return "a Source"
	case o.secret != "":
		return fmt.Sprintf("the secret %q", o.secret)
	}
	return "a Ref"
}

// Value returns a Ref that is this value: for an input that one pipeline takes
// from a stage and another knows, and for calling a stage in a unit test.
func Value[T any](v T) Ref[T] {
	boxed := any(v)
	return Ref[T]{from: &origin{value: &boxed}, value: &v}
}

// Each fans a stage out: the stage that takes it is called once for every
// element of the list, which may be known only when the pipeline runs. At most
// one input of a stage is an Each. The list is the output of a stage, a Gather
// or a Value.
func Each[T any](list Ref[[]T]) Ref[T] {
	if list.from == nil {
		return Ref[T]{}
	}
	return Ref[T]{from: &origin{pipeline: list.from.pipeline, each: list.from, broken: list.from.broken}}
}

// Gather returns the outputs of several stages as a list, in this order. A stage
// that is fanned out stands for all its elements.
func Gather[T any](refs ...Ref[T]) Ref[[]T] {
	from := &origin{gather: []*node{}}
	values := make([]T, 0, len(refs))
	for _, ref := range refs {
		if ref.value != nil {
			values = append(values, *ref.value)
		}
		switch {
		case ref.from == nil:
			from.gather = append(from.gather, nil)
			continue
		case ref.from.broken:
			from.broken = true
		}
		from.gather = append(from.gather, ref.from.node)
		if from.pipeline == nil {
			from.pipeline = ref.from.pipeline
		}
	}
	if len(refs) > 0 && len(values) == len(refs) {
		return Value(values)
	}
	return Ref[[]T]{from: from}
}

// Optional makes an input that may be missing of one that is there.
func Optional[T any](ref Ref[T]) Ref[*T] {
	out := Ref[*T]{from: ref.from}
	if ref.value != nil {
		out.value = &ref.value
	}
	return out
}
