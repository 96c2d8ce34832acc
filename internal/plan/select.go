package plan

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/towpath/towpath/protocol"
)

// UsageError is a target or a parameter that the plan does not have, or a value that does not fit. It is the user's to mend: exit code 2.
type UsageError struct {
	Text string
	Hint string
}

func (e *UsageError) Error() string { return e.Text }

// Select returns the stages that the targets name and all that they need, in the order of Graph.Stages. A target is the name of a stage, or of a
// function that was bound, which stands for all its stages. No target stands for every stage that is no effect and needs none.
func (g *Graph) Select(targets []string) ([]*Stage, error) {
	wanted := make([]bool, len(g.Stages))
	if len(targets) == 0 {
		g.selectPure(wanted)
	}
	found := make(map[string]bool, len(targets))
	for _, target := range targets {
		found[target] = false
	}
	for _, s := range g.Stages {
		for _, name := range []string{s.Name, s.Function} {
			if _, ok := found[name]; ok {
				wanted[s.Index], found[name] = true, true
			}
		}
	}
	for _, target := range targets {
		if !found[target] {
			return nil, &UsageError{Text: fmt.Sprintf("there is no stage %q", target), Hint: g.meant(target)}
		}
	}
	for i, s := range slices.Backward(g.Stages) {
		if wanted[i] {
			for _, need := range s.Needs {
				wanted[need.Index] = true
			}
		}
	}
	var out []*Stage
	for i, s := range g.Stages {
		if wanted[i] {
			out = append(out, s)
		}
	}
	if len(out) == 0 {
		hint := "declare a stage: a function with @stage in Python, towpath.Stage in Go"
		if names := g.names(); len(names) > 5 {
			hint = "every stage is an effect or needs one; name the ones to run: " + strings.Join(names[:5], ", ") + ", …"
		} else if len(names) > 0 {
			hint = "every stage is an effect or needs one; name the ones to run: " + strings.Join(names, ", ")
		}
		return nil, &UsageError{Text: "there is nothing to run", Hint: hint}
	}
	return out, nil
}

// meant is the hint for a target that is no stage.
func (g *Graph) meant(target string) string {
	if i := strings.LastIndexByte(target, '['); i > 0 && strings.HasSuffix(target, "]") {
		s := g.byName[target[:i]]
		if s != nil && s.FannedOut() {
			return fmt.Sprintf("the elements of %s are known only once it runs: name %s, which stands for all of them", s.Name, s.Name)
		}
		if s != nil && !strings.Contains(target[i:], "=") {
			return "did you mean " + s.Name + "?"
		}
	}
	names := g.names()
	for _, name := range names {
		if sameBindings(name, target) {
			return "did you mean " + name + "?"
		}
	}
	return suggest(target, names)
}

func (g *Graph) selectPure(wanted []bool) {
	for i, s := range g.Stages {
		wanted[i] = !s.Effect()
		for _, need := range s.Needs {
			wanted[i] = wanted[i] && wanted[need.Index]
		}
	}
}

func (g *Graph) names() []string {
	names := make([]string, 0, len(g.Stages))
	for _, s := range g.Stages {
		names = append(names, s.Name)
		if s.Name != s.Function {
			names = append(names, s.Function)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Values gives the parameters that the stages need their values, in canonical JSON by name: those in given, else the variable that the
// parameter names, else its default. What is given has to fit also where no stage needs it.
func (g *Graph) Values(stages []*Stage, given map[string]string, lookup func(string) (string, bool)) (map[string]json.RawMessage, error) {
	if err := g.checkGiven(given); err != nil {
		return nil, err
	}
	needed := map[string]*Stage{}
	for _, s := range stages {
		for _, in := range s.Inputs {
			if name := inner(in.From).Param; name != "" && needed[name] == nil {
				needed[name] = s
			}
		}
	}
	out := map[string]json.RawMessage{}
	for _, p := range g.Params {
		s := needed[p.Name]
		text, ok := given[p.Name]
		where := "-P " + p.Name
		if s == nil && !ok {
			continue
		}
		if !ok && p.Env != "" {
			where = fmt.Sprintf("the variable %s of parameter %s", p.Env, p.Name)
			text, ok = lookup(p.Env)
		}
		switch {
		case ok:
			v, err := ParseParam(p.Type, text)
			if err != nil {
				return nil, &UsageError{Text: fmt.Sprintf("%s: %v", where, err), Hint: p.Doc}
			}
			if s != nil {
				out[p.Name] = v
			}
		case p.Default != nil:
			out[p.Name] = p.Default
		default:
			hint := "give it with -P " + p.Name + "=…"
			if p.Env != "" {
				hint += " or the variable " + p.Env
			}
			return nil, &UsageError{Text: Problem{Site: s.Site, Text: fmt.Sprintf("parameter %s of stage %s has no value", p.Name, s.Name)}.String(), Hint: hint}
		}
	}
	return out, nil
}

func (g *Graph) checkGiven(given map[string]string) error {
	var names []string
	for _, p := range g.Params {
		names = append(names, p.Name)
	}
	slices.Sort(names)
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if !slices.Contains(names, name) {
			hint := suggest(name, names)
			if len(names) == 0 {
				hint = "this pipeline has no parameters"
			}
			return &UsageError{Text: fmt.Sprintf("there is no parameter %q", name), Hint: hint}
		}
	}
	return nil
}

// ParseParam reads what a person gave for a parameter of type t and returns it in canonical JSON.
func ParseParam(t protocol.Type, text string) (json.RawMessage, error) {
	switch t.Kind {
	case protocol.TypeString:
		v, err := protocol.Canonical(protocol.String(text))
		if err != nil {
			return nil, fmt.Errorf("%q is no text in UTF-8", text)
		}
		return v, nil
	case protocol.TypeInt:
		n, err := strconv.ParseInt(text, 10, 64)
		if errors.Is(err, strconv.ErrRange) {
			return nil, fmt.Errorf("%q does not fit into 64 bits", text)
		}
		if err != nil {
			return nil, fmt.Errorf("%q is no whole number", text)
		}
		return json.RawMessage(strconv.FormatInt(n, 10)), nil
	case protocol.TypeFloat:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil && !errors.Is(err, strconv.ErrRange) { // out of range is infinite
			return nil, fmt.Errorf("%q is no number", text)
		}
		// An exponent keeps a whole number a float on its way through the canonical form.
		v, err := protocol.Canonicalize([]byte(strconv.FormatFloat(f, 'e', -1, 64)))
		if err != nil {
			return nil, fmt.Errorf("%q is no finite number", text)
		}
		return v, nil
	case protocol.TypeBool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return nil, fmt.Errorf("%q is neither true nor false", text)
		}
		return json.RawMessage(strconv.FormatBool(b)), nil
	default:
		return nil, fmt.Errorf("a parameter cannot be of type %s", t)
	}
}
