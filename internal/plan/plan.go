// Package plan turns what a pipeline program declares into a graph that can be run: it checks everything that can be checked before anything runs,
// selects targets, gives parameters their values and computes stage keys.
//
// It is pure. It reads no file, starts no process and keeps no state; whatever it needs is passed in. It must not know executors, stores,
// caches or terminals.
package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/towpath/towpath/protocol"
)

// Graph is a valid plan. Its stages are sorted so that each comes after all that it needs, and are otherwise in the order of their names.
type Graph struct {
	Stages []*Stage
	Params []protocol.Param

	byName map[string]*Stage
}

// Stage is a node of the graph.
type Stage struct {
	protocol.Stage
	// Index is its place in Graph.Stages.
	Index int
	// Needs are the stages that must have succeeded first, without repetition, in the order of Graph.Stages.
	Needs []*Stage
	// Each is the index of the input over which the stage is fanned out, or -1.
	Each int
	// Site is where the program declares it; its File is empty when that is not known.
	Site protocol.Site

	neededBy *Stage // the last stage that was found to need it
}

// FannedOut tells whether the stage is called once for each element of an input.
func (s *Stage) FannedOut() bool { return s.Each >= 0 }

// Effect tells whether the stage changes the world.
func (s *Stage) Effect() bool { return s.Kind == protocol.KindEffect }

// Find returns the stage of that name, or nil.
func (g *Graph) Find(name string) *Stage { return g.byName[name] }

// Problem is one thing that is wrong with a plan.
type Problem struct {
	// Site is where it is declared; its File is empty when that is not known.
	Site protocol.Site
	Text string
	Hint string
}

func (p Problem) String() string {
	s := p.Text
	if p.Site.File != "" {
		s = fmt.Sprintf("%s:%d: %s", p.Site.File, p.Site.Line, p.Text)
	}
	if p.Hint != "" {
		s += " (" + p.Hint + ")"
	}
	return s
}

// Error lists everything that is wrong with a plan. It is the user's to mend: exit code 2.
type Error struct {
	Problems []Problem
}

func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// maxStages and maxName are limits of protocol/SPEC.md, section 8.
const (
	maxStages = 200_000
	maxName   = 300
)

// New makes the graph of a plan, or returns an *Error that lists all that is wrong with it. sites tells by name where stages are declared.
func New(p protocol.Plan, sites map[string]protocol.Site) (*Graph, error) {
	c := checker{
		g:      &Graph{Params: p.Params, byName: make(map[string]*Stage, len(p.Stages))},
		sites:  sites,
		params: make(map[string]protocol.Param, len(p.Params)),

		inCycle: map[*Stage]bool{},
	}
	if p.Version != protocol.Version {
		c.add(protocol.Site{}, "", "the plan has version %d, this tow knows version %d", p.Version, protocol.Version)
	}
	if len(p.Stages) > maxStages {
		c.add(protocol.Site{}, "", "the plan has %d stages, at most %d are allowed", len(p.Stages), maxStages)
	}
	if len(c.problems) > 0 {
		return nil, &Error{c.problems}
	}
	c.checkParams(p.Stages)
	stages := make([]*Stage, 0, len(p.Stages))
	sound := true
	for _, s := range p.Stages {
		stages = append(stages, c.declare(s))
		sound = sound && whole(s)
	}
	slices.SortStableFunc(stages, func(a, b *Stage) int { return strings.Compare(a.Name, b.Name) })
	if sound { // types that lack a part cannot be compared
		for _, s := range stages {
			c.connect(s)
		}
		c.sort(stages)
	}
	if len(c.problems) > 0 {
		return nil, &Error{c.problems}
	}
	return c.g, nil
}

// whole tells whether all types of a stage can be.
func whole(s protocol.Stage) bool {
	return checkType(s.Output, 0) == nil && !slices.ContainsFunc(s.Inputs, func(in protocol.Input) bool { return checkType(in.Type, 0) != nil })
}

// step is a stage on the way of the depth-first search of sort, and which of its needs comes next.
type step struct {
	stage *Stage
	next  int
}

// sort fills Graph.Stages, needed ones first, and reports cycles: one for each knot of them.
func (c *checker) sort(stages []*Stage) {
	const (
		unseen = iota
		open
		closed
	)
	state := make(map[*Stage]int, len(stages))
	var way []step
	for _, root := range stages {
		if state[root] != unseen {
			continue
		}
		way = append(way[:0], step{stage: root})
		state[root] = open
		for len(way) > 0 {
			top := &way[len(way)-1]
			if top.next < len(top.stage.Needs) {
				need := top.stage.Needs[top.next]
				top.next++
				switch state[need] {
				case unseen:
					state[need] = open
					way = append(way, step{stage: need})
				case open:
					c.cycle(way, need)
				}
				continue
			}
			state[top.stage] = closed
			top.stage.Index = len(c.g.Stages)
			c.g.Stages = append(c.g.Stages, top.stage)
			way = way[:len(way)-1]
		}
	}
	for _, s := range c.g.Stages {
		slices.SortFunc(s.Needs, func(a, b *Stage) int { return a.Index - b.Index })
	}
}

// cycle reports that the last stage of the way needs one that is on the way, unless a cycle with one of the same stages was reported.
func (c *checker) cycle(way []step, first *Stage) {
	start := len(way) - 1
	for way[start].stage != first {
		start--
	}
	loop := way[start:]
	if slices.ContainsFunc(loop, func(s step) bool { return c.inCycle[s.stage] }) {
		return
	}
	// The longest part of the path that a person may want to read.
	const shown = 20
	var names []string
	for i, s := range loop {
		c.inCycle[s.stage] = true
		if i < shown || i == len(loop)-1 {
			names = append(names, s.stage.Name)
		} else if i == shown {
			names = append(names, fmt.Sprintf("(%d more)", len(loop)-shown-1))
		}
	}
	c.add(first.Site, "take one of these edges away", "stages need each other in a cycle: %s", strings.Join(append(names, first.Name), " needs "))
}
