package towpath

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/towpath/towpath/protocol"
)

// ParamType is what a parameter can be.
type ParamType interface {
	bool | int | int64 | float64 | string
}

// ParamOption says how a parameter is declared.
type ParamOption interface {
	param(*paramOptions)
}

type paramOptions struct {
	def      any // nil without Default
	env      string
	envGiven bool
	doc      string
}

type paramOption func(*paramOptions)

func (o paramOption) param(to *paramOptions) { o(to) }

func (d DocOption) param(o *paramOptions) { o.doc = strings.Join(strings.Fields(d.text), " ") }

// Default is the value of a parameter where a run sets none. A parameter without
// it is required.
func Default[T ParamType](value T) ParamOption {
	return paramOption(func(o *paramOptions) { o.def = value })
}

// Env lets a run set a parameter by an environment variable of this name.
func Env(variable string) ParamOption {
	return paramOption(func(o *paramOptions) { o.env, o.envGiven = variable, true })
}

// Param declares a parameter, which a run may set:
//
//	index := towpath.Param[string](p, "index", towpath.Default("staging"), towpath.Env("PUBLISH_INDEX"))
//
// Declaring one again in the same way returns the same parameter.
func Param[T ParamType](p *Pipeline, name string, opts ...ParamOption) Ref[T] {
	at := caller()
	var o paramOptions
	for _, opt := range opts {
		opt.param(&o)
	}
	return Ref[T]{from: p.addParam(at, name, reflect.TypeFor[T](), o)}
}

func (p *Pipeline) addParam(at site, name string, typ reflect.Type, o paramOptions) *origin {
	broken := &origin{pipeline: p, broken: true}
	if !isFunctionName(name) {
		p.complain(at, "a name has at most 100 letters, digits and underscores, and starts with none of the digits",
			"%q cannot be the name of a parameter", name)
		return broken
	}
	spec := protocol.Param{Name: name, Env: o.env, Doc: o.doc}
	spec.Type, _ = typeOf(typ) // a ParamType has one
	if o.envGiven && o.env == "" {
		p.complain(at, "", "parameter %q: the name of its environment variable is empty", name)
		return broken
	}
	if o.def != nil {
		value := reflect.ValueOf(o.def)
		// An untyped 1 is an int, and is as good for a float or an int64.
		if value.Kind() == reflect.Int && (typ.Kind() == reflect.Float64 || typ.Kind() == reflect.Int64) {
			value = value.Convert(typ)
		}
		if value.Type() != typ {
			p.complain(at, fmt.Sprintf("write towpath.Default(%s(…))", typ),
				"parameter %q is %s, but its default is %s", name, typ, value.Type())
			return broken
		}
		var err error
		if spec.Default, err = encode(value); err != nil {
			p.complain(at, hintOf(err), "parameter %q: its default: %v", name, err)
			return broken
		}
	}
	if other := p.params[name]; other != nil && !sameParam(other.spec, spec) {
		p.problems = append(p.problems, problem{
			site: at, text: fmt.Sprintf("parameter %q is declared differently", name), other: &other.site,
			hint: "declare it once and pass the Ref on",
		})
		return broken
	}
	p.params[name] = &param{site: at, spec: spec}
	return &origin{pipeline: p, param: name}
}

func sameParam(a, b protocol.Param) bool {
	return a.Type.Equal(b.Type) && string(a.Default) == string(b.Default) && a.Env == b.Env && a.Doc == b.Doc
}

// Source takes files of the work tree, relative to the folder of the program. A
// glob may have *, ?, […], {a,b} and **; one that names a folder takes all of
// it, and one that starts with ! takes away. One that matches nothing is an error
// of the run.
func (p *Pipeline) Source(globs ...string) Ref[Directory] {
	return p.files(caller(), false, globs)
}

// RepositorySource is Source relative to the root of the repository.
func (p *Pipeline) RepositorySource(globs ...string) Ref[Directory] {
	return p.files(caller(), true, globs)
}

func (p *Pipeline) files(at site, repository bool, globs []string) Ref[Directory] {
	from := &origin{pipeline: p, glob: &sourceFiles{globs: slices.Clone(globs), repository: repository}}
	taken := false
	for _, glob := range globs {
		path, away := strings.CutPrefix(glob, "!")
		taken = taken || !away
		if path == "" || strings.HasPrefix(path, "/") || slices.Contains(strings.Split(path, "/"), "..") {
			from.broken = true
			p.complain(at, "paths are relative to the root, with /, and stay below it", "a source has the glob %q", glob)
		}
	}
	if !taken && !from.broken {
		from.broken = true
		p.complain(at, `name what to take: Source("src", "!**/*.tmp")`, "a source takes nothing")
	}
	return Ref[Directory]{from: from}
}

// Secret takes the handle of a secret. Its value is never seen by the program.
func (p *Pipeline) Secret(name string) Ref[Secret] {
	at := caller()
	if name == "" {
		p.complain(at, "", "a secret has no name")
		return Ref[Secret]{from: &origin{pipeline: p, broken: true}}
	}
	return Ref[Secret]{from: &origin{pipeline: p, secret: name}}
}
