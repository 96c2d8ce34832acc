package plan

import (
	"fmt"
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

// stageName tells whether s is FUNCTION or FUNCTION[…] (SPEC.md, section 7, "Bound names").
func stageName(s, function string) bool {
	if len(s) > maxName || !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
		return false
	}
	bound, ok := strings.CutPrefix(s, function)
	return ok && (bound == "" || len(bound) > 2 && bound[0] == '[' && bound[len(bound)-1] == ']')
}

func (c *checker) params() {
	seen := map[string]bool{}
	for _, p := range c.g.Params {
		if !identifier(p.Name) {
			c.add(protocol.Site{}, "letters, digits and _", "%q is no name for a parameter", p.Name)
		}
		if seen[p.Name] {
			c.add(protocol.Site{}, "", "parameter %s is declared twice", p.Name)
		}
		seen[p.Name] = true
		switch p.Type.Kind {
		case protocol.TypeString, protocol.TypeInt, protocol.TypeFloat, protocol.TypeBool:
			if p.Default != nil {
				if err := CheckValue(p.Type, p.Default); err != nil {
					c.add(protocol.Site{}, "", "the default of parameter %s: %v", p.Name, err)
				}
			}
		default:
			c.add(protocol.Site{}, "a parameter is a string, int, float or bool", "parameter %s cannot be of type %s", p.Name, p.Type)
		}
	}
}

// declare checks a stage by itself and makes its node.
func (c *checker) declare(p protocol.Stage) *Stage {
	s := &Stage{Stage: p, Each: -1, Site: c.sites[p.Name]}
	if !identifier(p.Function) {
		c.add(s.Site, "letters, digits and _", "%q is no name for a stage", p.Function)
	} else if !stageName(p.Name, p.Function) {
		c.add(s.Site, "", "%q is no name for a node of function %s", p.Name, p.Function)
	}
	if other := c.g.byName[p.Name]; other != nil {
		where := ""
		if other.Site.File != "" {
			where = fmt.Sprintf(", first at %s:%d", other.Site.File, other.Site.Line)
		}
		c.add(s.Site, "give one of them another name", "stage %s is declared twice%s", p.Name, where)
	}
	c.g.byName[p.Name] = s
	if p.Kind != protocol.KindStage && p.Kind != protocol.KindEffect {
		c.add(s.Site, "", "stage %s is of kind %q, which is not known", p.Name, p.Kind)
	}
	if p.Policy.Retry < 0 || p.Policy.TimeoutMS < 0 {
		c.add(s.Site, "", "stage %s has a negative retry or timeout", p.Name)
	}
	if err := checkType(p.Output, 0); err != nil {
		c.add(s.Site, "", "the output of stage %s: %v", p.Name, err)
	}
	seen := map[string]bool{}
	for i, in := range p.Inputs {
		if !identifier(in.Name) || seen[in.Name] {
			c.add(s.Site, "", "stage %s: %q is no name for an input, or is there twice", p.Name, in.Name)
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
			if seen[f.Name] || f.Name == "" || f.Name[0] == '$' {
				return fmt.Errorf("record %s: %q is no name for a field, or is there twice", t.Record.Name, f.Name)
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
				c.add(s.Site, "", "input %s of stage %s: each of each", in.Name, s.Name)
				continue
			}
		}
		got, ok := c.typeOf(s, in.Name, from, want)
		if ok && !protocol.Fits(got, want) && !fitsElements(got, want) {
			c.add(s.Site, "", "input %s of stage %s takes %s, %s gives %s", in.Name, s.Name, want, origin(from), got)
		}
	}
	for _, name := range s.After {
		if need := c.find(s, name); need != nil {
			c.need(s, need)
		}
	}
}

// fitsElements lets a list of outputs be a list of optional inputs.
func fitsElements(out, in protocol.Type) bool {
	return out.Kind == protocol.TypeList && in.Kind == protocol.TypeList && protocol.Fits(*out.Elem, *in.Elem)
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

func (c *checker) need(s, need *Stage) {
	if !slices.Contains(s.Needs, need) {
		s.Needs = append(s.Needs, need)
	}
}

func (c *checker) find(s *Stage, name string) *Stage {
	if need := c.g.byName[name]; need != nil {
		return need
	}
	c.add(s.Site, suggest(name, c.names()), "stage %s needs stage %s, which does not exist", s.Name, name)
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
		for _, p := range c.g.Params {
			if p.Name == from.Param {
				return p.Type, true
			}
		}
		c.add(s.Site, "", "input %s of stage %s takes parameter %s, which does not exist", input, s.Name, from.Param)
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
	elem := protocol.Type{}
	for _, name := range names {
		need := c.find(s, name)
		if need == nil {
			return protocol.Type{}, false
		}
		c.need(s, need)
		if elem.Kind == "" {
			elem = need.Output
		}
		if !elem.Equal(need.Output) {
			c.add(s.Site, "", "input %s of stage %s gathers %s and %s: the outputs are of different types", input, s.Name, elem, need.Output)
			return protocol.Type{}, false
		}
	}
	if elem.Kind == "" {
		return want, want.Kind == protocol.TypeList
	}
	return protocol.ListOf(elem), true
}

func (c *checker) source(s *Stage, input string, src *protocol.Source) {
	if src.Root != protocol.RootProgram && src.Root != protocol.RootRepository {
		c.add(s.Site, `it is "program" or "repository"`, "input %s of stage %s: the root %q is not known", input, s.Name, src.Root)
	}
	if len(src.Globs) == 0 {
		c.add(s.Site, "name files or folders", "input %s of stage %s is a source of nothing", input, s.Name)
	}
	for _, glob := range src.Globs {
		bare := strings.TrimPrefix(glob, "!")
		if bare == "" || strings.HasPrefix(bare, "/") || slices.Contains(strings.Split(bare, "/"), "..") || !utf8.ValidString(bare) || strings.ContainsRune(bare, 0) {
			c.add(s.Site, "globs are relative and stay below the root", "input %s of stage %s: the glob %q cannot be used", input, s.Name, glob)
		}
	}
}

func (c *checker) names() []string {
	names := make([]string, 0, len(c.g.byName))
	for name := range c.g.byName {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
