package plan

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/towpath/towpath/protocol"
)

// checker collects what is wrong with a plan while it makes the graph.
type checker struct {
	g        *Graph
	sites    map[string]protocol.Site
	problems []Problem
	params   map[string]protocol.Param
	unknown  int // how many names were looked for in vain
	inCycle  map[*Stage]bool
}

func (c *checker) add(site protocol.Site, hint, format string, args ...any) {
	c.problems = append(c.problems, Problem{Site: site, Text: fmt.Sprintf(format, args...), Hint: hint})
}

// identifier tells whether s is a name of a function, input or parameter.
func identifier(s string) bool {
	if s == "" || len(s) > 100 {
		return false
	}
	for i, r := range s {
		letter := r == '_' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return true
}

// stageName tells whether s is FUNCTION or FUNCTION[…] (SPEC.md, section 7, "Bound names"). It is strict, since the names that elements of a
// fan-out get while they run, such as `test[0]`, must be nobody else's.
func stageName(s, function string) bool {
	if len(s) > maxName || !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
		return false
	}
	bound, ok := strings.CutPrefix(s, function)
	if !ok || bound == "" {
		return ok
	}
	for sep := "["; bound != "]"; sep = "," {
		if bound, ok = strings.CutPrefix(bound, sep); !ok {
			return false
		}
		name, value, _ := strings.Cut(bound, "=")
		n := boundValue(value)
		if !identifier(name) || n == 0 {
			return false
		}
		bound = value[n:]
	}
	return true
}

// boundValue returns the length of the value that s begins with, or 0.
func boundValue(s string) int {
	if s != "" && strings.IndexByte(`"[{`, s[0]) >= 0 {
		dec := json.NewDecoder(strings.NewReader(s))
		var value json.RawMessage
		if dec.Decode(&value) != nil {
			return 0
		}
		return int(dec.InputOffset())
	}
	if n := strings.IndexFunc(s, func(r rune) bool {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
		return !letter && !strings.ContainsRune("_.+:/@-", r)
	}); n >= 0 {
		return n
	}
	return len(s)
}

func (c *checker) checkParams(stages []protocol.Stage) {
	// A plan does not say where parameters are declared: the first stage that takes one is near.
	sites := make(map[string]protocol.Site, len(c.g.Params))
	for _, s := range stages {
		for _, in := range s.Inputs {
			if name := inner(in.From).Param; name != "" && sites[name].File == "" {
				sites[name] = c.sites[s.Name]
			}
		}
	}
	for _, p := range c.g.Params {
		at := sites[p.Name]
		if !identifier(p.Name) {
			c.add(at, legalNames, "%q is no name for a parameter", p.Name)
		}
		if _, twice := c.params[p.Name]; twice {
			c.add(at, "give one of them another name", "parameter %s is declared twice", p.Name)
		}
		c.params[p.Name] = p
		switch p.Type.Kind {
		case protocol.TypeString, protocol.TypeInt, protocol.TypeFloat, protocol.TypeBool:
			if p.Default != nil {
				if err := CheckValue(p.Type, p.Default); err != nil {
					c.add(at, "", "the default of parameter %s: %v", p.Name, err)
				}
			}
		default:
			c.add(at, "a parameter is a string, int, float or bool", "parameter %s cannot be of type %s", p.Name, p.Type.Kind)
		}
	}
}

// inner is from itself, or what it takes each of.
func inner(from protocol.From) protocol.From {
	if from.Each != nil {
		return *from.Each
	}
	return from
}

// legalNames is the hint for a name that is none.
const legalNames = "a name has letters, digits and _, begins with no digit, and has at most 100 of them"

// declare checks a stage by itself and makes its node.
func (c *checker) declare(p protocol.Stage) *Stage {
	s := &Stage{Stage: p, Each: -1, Site: c.sites[p.Name]}
	if !identifier(p.Function) {
		c.add(s.Site, legalNames, "%q is no name for a stage", p.Function)
	} else if !stageName(p.Name, p.Function) {
		c.add(s.Site, fmt.Sprintf("it is %s, or %s[input=value,…] in at most %d bytes", p.Function, p.Function, maxName),
			"%q is no name for a stage of the function %s", p.Name, p.Function)
	}
	if c.g.byName[p.Name] != nil {
		c.add(s.Site, "give one of them another name", "stage %s is declared twice", p.Name)
	}
	c.g.byName[p.Name] = s
	if p.Kind != protocol.KindStage && p.Kind != protocol.KindEffect {
		c.add(s.Site, "it is \"stage\" or \"effect\"", "stage %s is of kind %q, which is not known", p.Name, p.Kind)
	}
	if p.Policy.Retry < 0 {
		c.add(s.Site, "0 stands for no second try", "stage %s is to be tried again %d times", p.Name, p.Policy.Retry)
	}
	if p.Policy.TimeoutMS < 0 {
		c.add(s.Site, "leave the timeout out for none", "stage %s has a timeout of %d ms", p.Name, p.Policy.TimeoutMS)
	}
	if err := checkType(p.Output, 0); err != nil {
		c.add(s.Site, "", "the output of stage %s: %v", p.Name, err)
	}
	seen := map[string]bool{}
	for i, in := range p.Inputs {
		if !identifier(in.Name) {
			c.add(s.Site, legalNames, "stage %s: %q is no name for an input", p.Name, in.Name)
		}
		if seen[in.Name] {
			c.add(s.Site, "", "stage %s has two inputs of the name %s", p.Name, in.Name)
		}
		seen[in.Name] = true
		if err := checkType(in.Type, 0); err != nil {
			c.add(s.Site, "", "input %s of stage %s: %v", in.Name, p.Name, err)
		}
		if in.From.Each != nil {
			if s.Each >= 0 {
				c.add(s.Site, "make a stage that pairs the lists", "stage %s is fanned out over two inputs, %s and %s", p.Name, p.Inputs[s.Each].Name, in.Name)
			}
			s.Each = i
		}
	}
	return s
}

// checkType refuses types that cannot be: ones with parts missing, and ones nested without end.
func checkType(t protocol.Type, depth int) error {
	if depth > 64 {
		return fmt.Errorf("the type is nested more than 64 deep")
	}
	switch t.Kind {
	case protocol.TypeNull, protocol.TypeBool, protocol.TypeInt, protocol.TypeFloat, protocol.TypeString, protocol.TypeFile,
		protocol.TypeDirectory, protocol.TypeTestReport, protocol.TypeSecret:
		return nil
	case protocol.TypeList, protocol.TypeMap, protocol.TypeOptional:
		if t.Elem == nil {
			return fmt.Errorf("the type %s has no element", t.Kind)
		}
		return checkType(*t.Elem, depth+1)
	case protocol.TypeRecord:
		if t.Record == nil {
			return fmt.Errorf("the record has no fields")
		}
		seen := map[string]bool{}
		for _, f := range t.Record.Fields {
			if f.Name == "" || f.Name[0] == '$' {
				return fmt.Errorf("record %s: %q is no name for a field", t.Record.Name, f.Name)
			}
			if seen[f.Name] {
				return fmt.Errorf("record %s has two fields of the name %s", t.Record.Name, f.Name)
			}
			seen[f.Name] = true
			if err := checkType(f.Type, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("the type %q is not known", t.Kind)
}

// connect finds what the inputs of s refer to and checks that they fit.
func (c *checker) connect(s *Stage) {
	for i := range s.Inputs {
		in := &s.Inputs[i]
		from, want := &in.From, in.Type
		if from.Each != nil {
			from, want = from.Each, protocol.ListOf(in.Type)
			if from.Each != nil {
				c.add(s.Site, "make a stage that returns one list", "input %s of stage %s takes each of each", in.Name, s.Name)
				continue
			}
		}
		got, ok := c.typeOf(s, in.Name, from, want)
		if ok && !fits(got, want, in.From.Each != nil) {
			c.add(s.Site, "", "input %s of stage %s takes %s, %s gives %s", in.Name, s.Name, spell(want, got), origin(from), spell(got, want))
		}
	}
	for _, name := range s.After {
		if need := c.find(s, name); need != nil {
			c.need(s, need)
		}
	}
}

// fits tells whether got can be an input of type want; of a fan-out, whether the elements can.
func fits(got, want protocol.Type, elements bool) bool {
	if elements && got.Kind == protocol.TypeList {
		return protocol.Fits(*got.Elem, *want.Elem)
	}
	return protocol.Fits(got, want)
}

// spell writes a type as a person does, or with the fields of its records where that would not tell it from the other one.
func spell(t, other protocol.Type) string {
	if t.String() != other.String() {
		return t.String()
	}
	text, err := t.MarshalJSON()
	if err != nil {
		return t.String()
	}
	return string(text)
}

func origin(f *protocol.From) string {
	switch {
	case f.Stage != "":
		return "stage " + f.Stage
	case f.Gather != nil:
		return "gather"
	case f.Param != "":
		return "parameter " + f.Param
	case f.Source != nil:
		return "source"
	case f.Secret != "":
		return "secret " + f.Secret
	}
	return "the value"
}

// need makes s wait for another stage. All the needs of one stage are found before those of the next.
func (c *checker) need(s, need *Stage) {
	if need.neededBy != s {
		need.neededBy = s
		s.Needs = append(s.Needs, need)
	}
}

func (c *checker) find(s *Stage, name string) *Stage {
	if need := c.g.byName[name]; need != nil {
		return need
	}
	hint := ""
	// Every name is compared with every other: a program that got all of them wrong is told about the first.
	if c.unknown++; c.unknown <= 20 {
		hint = suggest(name, slices.Sorted(maps.Keys(c.g.byName)))
	}
	c.add(s.Site, hint, "stage %s needs stage %s, which does not exist", s.Name, name)
	return nil
}

// typeOf returns the type of what from refers to, which the problems call the input of that name of s. It reports false when that has no type.
func (c *checker) typeOf(s *Stage, input string, from *protocol.From, want protocol.Type) (protocol.Type, bool) {
	switch {
	case from.Stage != "":
		need := c.find(s, from.Stage)
		if need == nil {
			return protocol.Type{}, false
		}
		c.need(s, need)
		if need.FannedOut() {
			c.add(s.Site, "take all its outputs with gather", "input %s of stage %s takes the output of %s, which is fanned out and has many", input, s.Name, need.Name)
			return protocol.Type{}, false
		}
		return need.Output, true
	case from.Gather != nil:
		return c.gathered(s, input, from.Gather, want)
	case from.Value != nil:
		if err := CheckValue(want, from.Value); err != nil {
			c.add(s.Site, "", "input %s of stage %s: %v", input, s.Name, err)
			return protocol.Type{}, false
		}
		return want, true
	case from.Param != "":
		if p, ok := c.params[from.Param]; ok {
			return p.Type, true
		}
		c.add(s.Site, suggest(from.Param, slices.Sorted(maps.Keys(c.params))), "input %s of stage %s takes parameter %s, which does not exist", input, s.Name, from.Param)
	case from.Source != nil:
		c.source(s, input, from.Source)
		return protocol.Type{Kind: protocol.TypeDirectory}, true
	case from.Secret != "":
		return protocol.Type{Kind: protocol.TypeSecret}, true
	default:
		c.add(s.Site, "", "input %s of stage %s comes from nowhere", input, s.Name)
	}
	return protocol.Type{}, false
}

func (c *checker) gathered(s *Stage, input string, names []string, want protocol.Type) (protocol.Type, bool) {
	var first *Stage
	same := true
	for _, name := range names {
		need := c.find(s, name)
		if need == nil {
			same = false
			continue
		}
		c.need(s, need)
		if first == nil {
			first = need
		}
		if same && !first.Output.Equal(need.Output) {
			c.add(s.Site, "", "input %s of stage %s gathers %s of %s and %s of %s: the outputs are of different types",
				input, s.Name, spell(first.Output, need.Output), first.Name, spell(need.Output, first.Output), need.Name)
			same = false
		}
	}
	if len(names) > 0 {
		if !same {
			return protocol.Type{}, false
		}
		return protocol.ListOf(first.Output), true
	}
	for want.Kind == protocol.TypeOptional {
		want = *want.Elem
	}
	if want.Kind != protocol.TypeList {
		c.add(s.Site, "", "input %s of stage %s takes %s, gather gives a list", input, s.Name, want)
		return protocol.Type{}, false
	}
	return want, true
}

func (c *checker) source(s *Stage, input string, src *protocol.Source) {
	if src.Root != protocol.RootProgram && src.Root != protocol.RootRepository {
		c.add(s.Site, `it is "program" or "repository"`, "input %s of stage %s: the root %q is not known", input, s.Name, src.Root)
	}
	if !slices.ContainsFunc(src.Globs, func(glob string) bool { return !strings.HasPrefix(glob, "!") }) {
		c.add(s.Site, "name files or folders", "input %s of stage %s is a source of nothing", input, s.Name)
	}
	for _, glob := range src.Globs {
		bare := strings.TrimPrefix(glob, "!")
		if bare == "" || strings.HasPrefix(bare, "/") || climbs(bare) || !utf8.ValidString(bare) || strings.ContainsRune(bare, 0) {
			c.add(s.Site, "globs are relative and stay below the root", "input %s of stage %s: the glob %q cannot be used", input, s.Name, glob)
		}
	}
}

// climbs tells whether a glob leaves its root, be it in one of its alternatives.
func climbs(glob string) bool {
	return slices.Contains(strings.FieldsFunc(glob, func(r rune) bool { return strings.ContainsRune("/{},", r) }), "..")
}
