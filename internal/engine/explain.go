package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/towpath/towpath/internal/event"
	"github.com/towpath/towpath/internal/plan"
	"github.com/towpath/towpath/protocol"
)

// Explanation says whether a stage would run now, and why.
type Explanation struct {
	Stage string `json:"stage"`
	// State is `cached`, `runs`, or `unknown` where it depends on what a stage before it will return.
	State string `json:"state"`
	Key   string `json:"key,omitempty"`
	// Reasons say why it runs.
	Reasons []event.Reason `json:"reasons,omitempty"`
	// After are the stages before it that run, when State is `unknown`.
	After []string `json:"after,omitempty"`
	// From is the run that made the result, when State is `cached`.
	From string `json:"from,omitempty"`
	// Last is the run that called it last; empty where that is not known.
	Last string `json:"last,omitempty"`
}

// Explain says for the targets and all that they need, in the order in which they would run, whether they would run and why. It calls nothing.
func (e *Engine) Explain(ctx context.Context, q Request) ([]Explanation, error) {
	c := e.c.Session
	p, err := e.prepare(ctx, q, c, nil)
	if p != nil {
		defer p.session.Close()
	}
	if err != nil {
		return nil, err
	}
	x := explainer{
		e: e, q: q, p: p, present: newPresence(e.c.Store), reasons: newReasons(e.c.Store, p),
		values: map[*plan.Stage][]json.RawMessage{},
	}
	for _, s := range p.stages {
		if err := x.stage(ctx, s); err != nil {
			return nil, err
		}
	}
	for i := range x.out {
		x.out[i].Last = p.last[x.out[i].Stage].Run
	}
	return x.out, nil
}

// explainer walks the stages in order and keeps what is known of their values.
type explainer struct {
	e       *Engine
	q       Request
	p       *prepared
	present *presence
	reasons *reasons
	values  map[*plan.Stage][]json.RawMessage // of the stages that are cached
	out     []Explanation
}

func (x *explainer) stage(ctx context.Context, s *plan.Stage) error {
	if after := x.unknown(s); len(after) > 0 {
		x.out = append(x.out, x.partly(ctx, s, after))
		return nil
	}
	nodes := []*node{{stage: s, name: s.Name}}
	if s.FannedOut() {
		list, err := elements(s, inputValue(s.Inputs[s.Each].From.Each, x.p, x.valueOf))
		if err != nil {
			return err
		}
		nodes = nodes[:0]
		for i, el := range list {
			nodes = append(nodes, &node{stage: s, name: protocol.ElementName(s.Name, i), element: el})
		}
	}
	values := make([]json.RawMessage, 0, len(nodes))
	for _, n := range nodes {
		found, err := x.e.lookUp(ctx, n, inputs(n.stage, n.element, x.p, x.valueOf), x.p, x.present, x.reasons, x.q.NoCache)
		if err != nil {
			return fmt.Errorf("explain stage %s: %w", n.name, err)
		}
		ex := Explanation{Stage: n.name, State: "runs", Reasons: found.reasons}
		if !found.key.IsZero() {
			ex.Key = found.key.String()
		}
		if found.hit != nil {
			ex.State, ex.From = "cached", found.hit.Run
			values = append(values, found.hit.Value)
		}
		x.out = append(x.out, ex)
	}
	if len(values) == len(nodes) {
		x.values[s] = values
	}
	return nil
}

// unknown lists the stages of whose result s takes something, and of which it is not known what they will return.
func (x *explainer) unknown(s *plan.Stage) []string {
	var out []string
	for i := range s.Inputs {
		for _, name := range stagesOf(&s.Inputs[i].From) {
			if _, known := x.values[x.p.session.Graph.Find(name)]; !known && !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	return out
}

// stagesOf names the stages whose outputs an input takes.
func stagesOf(from *protocol.From) []string {
	switch {
	case from.Each != nil:
		return stagesOf(from.Each)
	case from.Stage != "":
		return []string{from.Stage}
	}
	return from.Gather
}

// partly explains a stage of which some inputs are not known: what changed apart from those makes it run in any case.
func (x *explainer) partly(ctx context.Context, s *plan.Stage, after []string) Explanation {
	if s.Effect() {
		return Explanation{Stage: s.Name, State: "runs", Reasons: []event.Reason{effectRuns()}}
	}
	if s.FannedOut() {
		return Explanation{Stage: s.Name, State: "unknown", After: after}
	}
	known := map[string]json.RawMessage{}
	for i := range s.Inputs {
		in := &s.Inputs[i]
		if !slices.ContainsFunc(stagesOf(&in.From), func(name string) bool { return slices.Contains(after, name) }) {
			known[in.Name] = inputValue(&in.From, x.p, x.valueOf)
		}
	}
	n := &node{stage: s, name: s.Name}
	if reasons := x.reasons.surely(ctx, s.Name, x.e.key(n, known, x.p)); len(reasons) > 0 {
		return Explanation{Stage: s.Name, State: "runs", Reasons: reasons}
	}
	return Explanation{Stage: s.Name, State: "unknown", After: after}
}

func (x *explainer) valueOf(s *plan.Stage) []json.RawMessage { return x.values[s] }
