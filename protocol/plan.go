package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Plan is what a pipeline program declares. Canonical writes it.
type Plan struct {
	Version int         `json:"version"` // of the form of plans: 1
	Stages  List[Stage] `json:"stages"`  // sorted by name, by bytes
	Params  List[Param] `json:"params"`  // sorted by name, by bytes
}

// DecodePlan reads a plan. It refuses one of another version; that names are
// unique, edges fit and the graph has no cycle is for the engine to check.
func DecodePlan(text []byte) (Plan, error) {
	s := scanner{in: bytes.Clone(text)} // values in the plan are parts of it
	plan, err := s.plan(maxFrameNesting)
	if err == nil {
		err = s.finish()
	}
	if err != nil {
		return Plan{}, fmt.Errorf("plan: byte %d: %w", s.pos, err)
	}
	if plan.Version != Version {
		return Plan{}, fmt.Errorf("plan: version %d is not known", plan.Version)
	}
	return plan, nil
}

// Kind tells whether a stage is pure.
type Kind string

// The kinds of stages.
const (
	KindStage  Kind = "stage"
	KindEffect Kind = "effect" // changes the world; never cached
)

// Stage is a node of the graph.
type Stage struct {
	Name     string       `json:"name"`     // unique: "test", or "test[shard=0]" for a bound one
	Function string       `json:"function"` // the function that is called
	Doc      string       `json:"doc"`      // one paragraph, or ""
	Kind     Kind         `json:"kind"`
	Inputs   List[Input]  `json:"inputs"` // in the order of declaration
	Output   Type         `json:"output"`
	After    List[string] `json:"after"` // stages that must have succeeded first, sorted by bytes
	Policy   Policy       `json:"policy"`
}

func (s *Stage) check() error {
	if s.Output.Kind == "" {
		return errors.New("no type of its output")
	}
	for i := range s.Inputs {
		if s.Inputs[i].Type.Kind == "" {
			return fmt.Errorf("input %q has no type", s.Inputs[i].Name)
		}
		if err := s.Inputs[i].From.check(); err != nil {
			return fmt.Errorf("input %q: %w", s.Inputs[i].Name, err)
		}
	}
	return nil
}

// Input is one input of a stage.
type Input struct {
	Name string `json:"name"`
	Type Type   `json:"type"`
	From From   `json:"from"`
}

// Policy says how a stage is run. What is zero was not declared, or declared as
// what holds anyway; a plan's digest, which tells these apart, is taken of the
// bytes that the worker sent.
type Policy struct {
	Idempotent bool  `json:"idempotent,omitempty"` // an effect that may run twice
	Retry      int   `json:"retry,omitempty"`      // how often a failed stage is tried again
	TimeoutMS  int64 `json:"timeout_ms,omitempty"` // in milliseconds, for one try
}

// From says where an input comes from. Exactly one member is set.
type From struct {
	Stage  string          `json:"stage,omitempty"`  // the output of this stage
	Gather List[string]    `json:"gather,omitzero"`  // the outputs of these stages, as a list; not nil where it is set
	Each   *From           `json:"each,omitempty"`   // the elements of a list, one call for each
	Value  json.RawMessage `json:"value,omitzero"`   // this value
	Param  string          `json:"param,omitempty"`  // the parameter of this name
	Source *Source         `json:"source,omitempty"` // files of the work tree
	Secret string          `json:"secret,omitempty"` // the secret of this name
}

// check refuses a From with none or several of its members.
func (f *From) check() error {
	set := 0
	for _, is := range [...]bool{
		f.Stage != "", f.Gather != nil, f.Each != nil, f.Value != nil, f.Param != "", f.Source != nil, f.Secret != "",
	} {
		if is {
			set++
		}
	}
	if set != 1 {
		return fmt.Errorf("from has %d members that are known, not one", set)
	}
	if f.Each == nil {
		return nil
	}
	if f.Each.Each != nil {
		return errors.New("each of each")
	}
	return f.Each.check()
}

// Root says what the globs of a Source are relative to.
type Root string

// The roots of sources.
const (
	RootProgram    Root = "program"    // the folder of the program
	RootRepository Root = "repository" // the folder of the repository
)

// Source is files of the work tree.
type Source struct {
	Globs List[string] `json:"globs"` // as they were written, in that order
	Root  Root         `json:"root"`
}

// Param is a parameter that a run may set.
type Param struct {
	Name    string          `json:"name"`
	Type    Type            `json:"type"`             // string, int, float or bool
	Default json.RawMessage `json:"default,omitzero"` // nil: a run has to set it
	Env     string          `json:"env,omitempty"`    // the environment variable that it is taken from
	Doc     string          `json:"doc,omitempty"`
}

// TypeKind is the outermost part of a Type.
type TypeKind string

// The kinds of types. The last four have parts.
const (
	TypeNull       TypeKind = "null"
	TypeBool       TypeKind = "bool"
	TypeInt        TypeKind = "int"
	TypeFloat      TypeKind = "float"
	TypeString     TypeKind = "string"
	TypeFile       TypeKind = "file"
	TypeDirectory  TypeKind = "directory"
	TypeTestReport TypeKind = "test_report"
	TypeSecret     TypeKind = "secret"
	TypeList       TypeKind = "list"
	TypeMap        TypeKind = "map" // its keys are strings
	TypeOptional   TypeKind = "optional"
	TypeRecord     TypeKind = "record"
)

// Type is the type of a value. In JSON it is a string, or an object for a type
// that has parts.
type Type struct {
	Kind   TypeKind
	Elem   *Type   // of a list, map or optional
	Record *Record // of a record
}

// Record is a type of objects with known members.
type Record struct {
	Name   string      `json:"name"`
	Fields List[Field] `json:"fields"`
}

// Field is a member of a Record.
type Field struct {
	Name string `json:"name"`
	Type Type   `json:"type"`
}

// ListOf returns the type of lists of elem.
func ListOf(elem Type) Type { return Type{Kind: TypeList, Elem: &elem} }

// MapOf returns the type of maps from strings to elem.
func MapOf(elem Type) Type { return Type{Kind: TypeMap, Elem: &elem} }

// OptionalOf returns the type of elem or null.
func OptionalOf(elem Type) Type { return Type{Kind: TypeOptional, Elem: &elem} }

// RecordOf returns the type of records with these fields.
func RecordOf(name string, fields ...Field) Type {
	return Type{Kind: TypeRecord, Record: &Record{Name: name, Fields: fields}}
}

// Equal reports whether values of t and u are the same: the names of records do
// not count, nor does the order of their fields.
func (t Type) Equal(u Type) bool {
	if t.Kind != u.Kind {
		return false
	}
	switch t.Kind {
	case TypeList, TypeMap, TypeOptional:
		return t.Elem.Equal(*u.Elem)
	case TypeRecord:
		return t.Record.equal(u.Record)
	}
	return true
}

func (r *Record) equal(s *Record) bool {
	if len(r.Fields) != len(s.Fields) {
		return false
	}
	for i, field := range r.Fields {
		other := s.Fields[i]
		if other.Name != field.Name {
			var ok bool
			if other, ok = s.field(field.Name); !ok {
				return false
			}
		}
		if !field.Type.Equal(other.Type) {
			return false
		}
	}
	return true
}

func (r *Record) field(name string) (Field, bool) {
	for _, field := range r.Fields {
		if field.Name == name {
			return field, true
		}
	}
	return Field{}, false
}

// Fits reports whether an output of type out can be an input of type in.
func Fits(out, in Type) bool {
	return out.Equal(in) || in.Kind == TypeOptional && Fits(out, *in.Elem)
}

// String returns the type as a person writes it: "list[string]", "Wheel".
func (t Type) String() string {
	switch t.Kind {
	case TypeList, TypeMap, TypeOptional:
		return string(t.Kind) + "[" + t.Elem.String() + "]"
	case TypeRecord:
		return t.Record.Name
	}
	return string(t.Kind)
}

// MarshalJSON writes the type.
func (t Type) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	if err := t.write(&b); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func (t Type) write(b *bytes.Buffer) error {
	switch t.Kind {
	case TypeNull, TypeBool, TypeInt, TypeFloat, TypeString, TypeFile, TypeDirectory, TypeTestReport, TypeSecret:
		b.WriteString(`"` + string(t.Kind) + `"`)
		return nil
	case TypeList, TypeMap, TypeOptional:
		b.WriteString(`{"` + string(t.Kind) + `":`)
		if err := t.Elem.write(b); err != nil {
			return err
		}
	case TypeRecord:
		b.WriteString(`{"record":{"name":`)
		b.Write(appendString(nil, strings.ToValidUTF8(t.Record.Name, "\uFFFD")))
		b.WriteString(`,"fields":[`)
		for i, field := range t.Record.Fields {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(`{"name":`)
			b.Write(appendString(nil, strings.ToValidUTF8(field.Name, "\uFFFD")))
			b.WriteString(`,"type":`)
			if err := field.Type.write(b); err != nil {
				return err
			}
			b.WriteByte('}')
		}
		b.WriteString("]}")
	default:
		return fmt.Errorf("type %q is not known", t.Kind)
	}
	b.WriteByte('}')
	return nil
}

// UnmarshalJSON reads a type.
func (t *Type) UnmarshalJSON(data []byte) error {
	s := scanner{in: data}
	typ, err := s.typ(MaxNesting)
	if err == nil {
		err = s.finish()
	}
	if err != nil {
		return fmt.Errorf("type %.100s: %w", data, err)
	}
	*t = typ
	return nil
}
