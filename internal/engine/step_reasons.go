package engine

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/event"
	"github.com/towpath/towpath/internal/executor"
)

const (
	// maxPast is how many steps of a stage's last call a step is compared with.
	maxPast = 100
	// maxMessage bounds the messages of an action.
	maxMessage = 8 << 20
)

// PastStep is a step of a run that has ended.
type PastStep struct {
	// Key is the digest of its action, in text.
	Key string
	// Number is which step of its call it was.
	Number int
	// Refused says why its stage did not get its result: "ended with exit code 3"; empty where it did.
	Refused string
	// Cut tells that the run was cut off, so that a result which the stage got may not have been recorded.
	Cut bool
}

// past is what the stages of a run did when they were called the last time. It is read when the first step is not found in the cache.
type past struct {
	mu      sync.Mutex
	runs    map[string]map[string][]PastStep // by run, by stage
	actions map[string]*executor.Action      // by key; nil for one that the store does not have any more
}

func newPast() *past {
	return &past{runs: map[string]map[string][]PastStep{}, actions: map[string]*executor.Action{}}
}

// steps returns the steps of a stage in a run. It is false where that run is not kept any more.
func (p *past) steps(ctx context.Context, j Journal, run, stage string) (steps []PastStep, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	stages, known := p.runs[run]
	if !known {
		var err error
		if stages, err = j.Steps(ctx, run); err != nil {
			stages = nil // then less is said
		}
		p.runs[run] = stages
	}
	return stages[stage], stages != nil
}

// action reads the action of a step that was run earlier.
func (p *past) action(ctx context.Context, store cas.Store, key string) *executor.Action {
	p.mu.Lock()
	defer p.mu.Unlock()
	if a, known := p.actions[key]; known {
		return a
	}
	a, err := readAction(ctx, store, key)
	if err != nil {
		p.actions[key] = nil
		return nil
	}
	p.actions[key] = &a
	return &a
}

func readAction(ctx context.Context, store cas.Store, key string) (executor.Action, error) {
	d, err := digest.Parse(key)
	if err != nil {
		return executor.Action{}, err
	}
	action, err := cas.ReadAll(ctx, store, d, maxMessage)
	if err != nil {
		return executor.Action{}, err
	}
	if d, err = executor.DecodeAction(action); err != nil {
		return executor.Action{}, err
	}
	command, err := cas.ReadAll(ctx, store, d, maxMessage)
	if err != nil {
		return executor.Action{}, err
	}
	return executor.Decode(action, command)
}

// reasons says why the step has to be run. What it needs of the past may be gone; then it says less, and never something wrong.
func (s *step) reasons(ctx context.Context) []event.Reason {
	switch {
	case s.c.node.stage.Effect():
		return []event.Reason{{Kind: event.ReasonEffect, Text: "it is a step of an effect, which always runs"}}
	case s.o.run.q.NoCache:
		return []event.Reason{{Kind: event.ReasonNoCache, Text: "the cache is not to be used"}}
	case s.c.node.fresh:
		return []event.Reason{{Kind: event.ReasonResult, Text: "a blob that the stage made is damaged, so none of its steps is taken from the cache"}}
	case s.unusable != "":
		return []event.Reason{{Kind: event.ReasonResult, Text: s.unusable}}
	}
	last, ok := s.o.run.p.last[s.c.node.name]
	if !ok {
		return []event.Reason{{Kind: event.ReasonFirst, Text: "it has not been run here before"}}
	}
	steps, kept := s.o.past.steps(ctx, s.o.e.c.Journal, last.Run, s.c.node.name)
	for _, p := range slices.Backward(steps) {
		if p.Key == s.key.String() {
			return []event.Reason{again(p, last.Run)}
		}
	}
	was, unread := s.mostSimilar(ctx, steps)
	switch {
	case was == nil && (unread || !kept):
		return []event.Reason{{Kind: event.ReasonOther, Text: "something changed since run " + last.Run + ", of which there is no record any more"}}
	case was == nil:
		return []event.Reason{{Kind: event.ReasonFirst, Text: fmt.Sprintf("stage %s ran no step like it in run %s", s.c.node.name, last.Run)}}
	}
	if out := difference(ctx, s.o.e.c.Store, *was, s.action); len(out) > 0 {
		return out
	}
	return []event.Reason{{Kind: event.ReasonOther, Text: "its action changed"}}
}

// again says why a step is run although the same was run before.
func again(p PastStep, run string) event.Reason {
	text := "its result is not in the store any more"
	switch {
	case p.Refused != "":
		text = fmt.Sprintf("it %s in run %s", p.Refused, run)
	case p.Cut:
		text = fmt.Sprintf("run %s was cut off, and did not record its result or lost it", run)
	}
	return event.Reason{Kind: event.ReasonResult, Text: text}
}

// mostSimilar finds which of the steps before is the one that has changed: the one that runs the same program with the most in common, or else the
// one of the same number. unread tells that some could not be read.
func (s *step) mostSimilar(ctx context.Context, steps []PastStep) (best *executor.Action, unread bool) {
	score := 0
	for _, p := range steps[:min(len(steps), maxPast)] {
		a := s.o.past.action(ctx, s.o.e.c.Store, p.Key)
		if a == nil {
			unread = true
			continue
		}
		if n := s.likeness(p, a); n > score {
			best, score = a, n
		}
	}
	return best, unread
}

// likeness is larger the more a step has in common with one from before, and 0 where they have nothing to do with each other.
func (s *step) likeness(p PastStep, a *executor.Action) int {
	n := 0
	if p.Number == s.number {
		n += 3
	}
	if a.Args[0] == s.action.Args[0] {
		n += 1000
	}
	if n == 0 {
		return 0
	}
	for _, arg := range a.Args[1:min(len(a.Args), maxPast)] {
		if slices.Contains(s.action.Args[1:], arg) {
			n += 10
		}
	}
	n -= 2 * max(len(a.Args)-len(s.action.Args), len(s.action.Args)-len(a.Args), 0)
	if slices.Equal(a.Outputs, s.action.Outputs) {
		n += 25
	}
	if a.InputRoot == s.action.InputRoot {
		n += 5
	}
	return max(n, 1)
}
