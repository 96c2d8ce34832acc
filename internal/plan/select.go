package plan

import (
	"encoding/json"
	"fmt"
	"slices"
	"sort"
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
	for _, target := range targets {
		found := false
		for _, s := range g.Stages {
			if s.Name == target || s.Function == target && g.byName[target] == nil || s.Function == target && s.Name != s.Function {
				wanted[s.Index], found = true, true
			}
		}
		if !found {
			return nil, &UsageError{
				Text: fmt.Sprintf("there is no stage %q", target),
				Hint: suggest(target, g.names()),
			}
		}
	}
	for i := len(g.Stages) - 1; i >= 0; i-- {
		if wanted[i] {
			for _, need := range g.Stages[i].Needs {
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
		hint := "declare a function with @stage"
		if len(g.Stages) > 0 {
			hint = "every stage is an effect or needs one; name the ones to run: " + strings.Join(g.names()[:min(5, len(g.Stages))], ", ")
		}
		return nil, &UsageError{Text: "there is nothing to run", Hint: hint}
	}
	return out, nil
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
// parameter names, else its default.
func (g *Graph) Values(stages []*Stage, given map[string]string, lookup func(string) (string, bool)) (map[string]json.RawMessage, error) {
	if err := g.checkGiven(given); err != nil {
		return nil, err
	}
	needed := map[string]*Stage{}
	for _, s := range stages {
		for _, in := range s.Inputs {
			from := in.From
			if from.Each != nil {
				from = *from.Each
			}
			if from.Param != "" && needed[from.Param] == nil {
				needed[from.Param] = s
			}
		}
	}
	out := map[string]json.RawMessage{}
	for _, p := range g.Params {
		s := needed[p.Name]
		if s == nil {
			continue
		}
		text, where, ok := given[p.Name], "-P "+p.Name, false
		if _, ok = given[p.Name]; !ok && p.Env != "" {
			where = "variable " + p.Env
			text, ok = lookup(p.Env)
		}
		switch {
		case ok:
			v, err := ParseParam(p.Type, text)
			if err != nil {
				return nil, &UsageError{Text: fmt.Sprintf("%s: %v", where, err), Hint: p.Doc}
			}
			out[p.Name] = v
		case p.Default != nil:
			out[p.Name] = p.Default
		default:
			hint := "give it with -P " + p.Name + "=…"
			if p.Env != "" {
				hint += " or the variable " + p.Env
			}
			return nil, &UsageError{Text: fmt.Sprintf("parameter %s of stage %s has no value%s", p.Name, s.Name, at(s.Site)), Hint: hint}
		}
	}
	return out, nil
}

func at(site protocol.Site) string {
	if site.File == "" {
		return ""
	}
	return fmt.Sprintf(" (declared at %s:%d)", site.File, site.Line)
}

func (g *Graph) checkGiven(given map[string]string) error {
	var names []string
	for _, p := range g.Params {
		names = append(names, p.Name)
	}
	for name := range given {
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
		v, err := protocol.Canonical(text)
		if err != nil {
			return nil, fmt.Errorf("%q is no valid text", text)
		}
		return v, nil
	case protocol.TypeInt:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%q is no whole number", text)
		}
		return json.RawMessage(strconv.FormatInt(n, 10)), nil
	case protocol.TypeFloat:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
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

// suggest names what was probably meant, or what there is.
func suggest(name string, names []string) string {
	type near struct {
		name     string
		distance int
	}
	var best []near
	for _, n := range names {
		if d := distance(strings.ToLower(name), strings.ToLower(n)); d <= max(1, len(name)/3) {
			best = append(best, near{n, d})
		}
	}
	sort.SliceStable(best, func(i, j int) bool { return best[i].distance < best[j].distance })
	switch {
	case len(best) > 0:
		return "did you mean " + best[0].name + "?"
	case len(names) == 0:
		return ""
	case len(names) <= 12:
		return "there are " + strings.Join(names, ", ")
	}
	return fmt.Sprintf("there are %s and %d more", strings.Join(names[:12], ", "), len(names)-12)
}

// distance is the number of letters to add, drop, change or swap with their neighbour to make b of a.
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	if len(x) > 100 || len(y) > 100 {
		return 100
	}
	var before []int
	row := make([]int, len(y)+1)
	for j := range row {
		row[j] = j
	}
	for i := range x {
		next := make([]int, len(y)+1)
		next[0] = i + 1
		for j := range y {
			cost := 1
			if x[i] == y[j] {
				cost = 0
			}
			next[j+1] = min(row[j+1]+1, next[j]+1, row[j]+cost)
			if i > 0 && j > 0 && x[i] == y[j-1] && x[i-1] == y[j] {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
		before, row = row, next
	}
	return row[len(y)]
}
