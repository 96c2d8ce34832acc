package sched

import (
	"fmt"
	"time"
)

// NodeError is the cause of a run that stopped because a node did not succeed.
type NodeError struct {
	Node  NodeID
	State State
}

func (e *NodeError) Error() string { return fmt.Sprintf("node %d %v", e.Node, e.State) }

// Hit answers a probe: an earlier result serves, and the node is Cached.
func (s *Scheduler) Hit(n NodeID) {
	s.check("Hit", n, Probing)
	s.end(n, Cached)
}

// Miss answers a probe: the node has to run, and is Queued. Once the run stops it is Cancelled instead.
func (s *Scheduler) Miss(n NodeID) {
	s.check("Miss", n, Probing)
	if s.cause != nil {
		s.endUnasked(n, Cancelled)
		return
	}
	s.set(n, Queued)
	s.queued.push(s.nodes, n)
}

// Finished answers a run with Succeeded, Failed or Cancelled, or a probe that could not be made with one of the latter two.
// The first outcome other than Succeeded stops the run; from then on a node still ends as what is reported for it.
func (s *Scheduler) Finished(n NodeID, outcome State) {
	switch outcome {
	case Succeeded:
		s.check("Finished", n, Running)
	case Failed, Cancelled:
		s.check("Finished", n, Running, Probing)
	default:
		panic(fmt.Sprintf("sched: Finished(node %d): %v is not an outcome", n, outcome))
	}
	s.end(n, outcome)
}

// Expand tells that a node which is being probed, queued or run is a fan-out, with one element for each of durations (0
// where one is not known). The elements are new nodes, numbered on without gaps, which are probed and run on their own. The
// node gives its slot back, is Expanded until all of them have ended, and then Succeeded where each of them succeeded or was
// cached (so without elements at once), else Failed where one of them failed, else Cancelled. Once the run stops there are
// no elements and the node is Cancelled.
func (s *Scheduler) Expand(n NodeID, durations []time.Duration) []NodeID {
	s.check("Expand", n, Probing, Queued, Running)
	if s.cause != nil {
		s.endUnasked(n, Cancelled)
		return nil
	}
	if len(durations) == 0 {
		s.endUnasked(n, Succeeded)
		return nil
	}
	tail := s.nodes[n].level - s.nodes[n].duration
	elements := make([]NodeID, len(durations))
	for i, duration := range durations {
		id := s.add(n, duration)
		s.nodes[id].level += tail
		s.ready.push(s.nodes, id)
		elements[i] = id
	}
	s.set(n, Expanded)
	s.nodes[n].pending = int32(len(elements))
	s.nodes[n].verdict = Succeeded
	return elements
}

// Cancel stops the run: whatever has not been handed out is Cancelled. It does nothing where the run stops already. The
// cause must not be nil.
func (s *Scheduler) Cancel(cause error) {
	if cause == nil {
		panic("sched: Cancel without a cause")
	}
	if !s.started {
		panic("sched: Cancel before Start")
	}
	if s.cause == nil {
		s.stop(cause)
	}
}

func (s *Scheduler) set(n NodeID, state State) {
	s.counts[s.nodes[n].state]--
	s.counts[state]++
	s.nodes[n].state = state
}

// endUnasked ends a node that the engine has not said to end, and lets it know.
func (s *Scheduler) endUnasked(n NodeID, state State) {
	s.ended.push(n)
	s.end(n, state)
}

// end gives a node its final state and draws the conclusions: for its dependents, for the fan-out that it belongs to, for
// the run.
func (s *Scheduler) end(n NodeID, state State) {
	s.set(n, state)
	switch {
	case s.cause != nil: // no node is Waiting any more
	case state.Good():
		s.release(n)
	default:
		s.skipBelow(n)
		s.stop(&NodeError{Node: n, State: state})
	}
	if parent := s.nodes[n].parent; parent != none {
		s.settle(parent, state)
	}
}

// release makes those dependents of n ready that waited for nothing else.
func (s *Scheduler) release(n NodeID) {
	for e := s.nodes[n].out; e != none; e = s.edges[e].next {
		to := s.edges[e].to
		s.nodes[to].pending--
		if s.nodes[to].pending == 0 {
			s.ready.push(s.nodes, to)
		}
	}
}

// settle counts an element that has ended as state, and ends the fan-out with the last one.
func (s *Scheduler) settle(parent NodeID, state State) {
	p := &s.nodes[parent]
	if !state.Good() && p.verdict != Failed {
		p.verdict = state
	}
	p.pending--
	if p.pending == 0 {
		s.endUnasked(parent, p.verdict)
	}
}

// skipBelow skips everything downstream of n, and of the fan-outs that n belongs to: they cannot succeed any more.
func (s *Scheduler) skipBelow(n NodeID) {
	var stack []NodeID
	for p := n; p != none; p = s.nodes[p].parent {
		stack = append(stack, p)
	}
	for len(stack) > 0 {
		from := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		for e := s.nodes[from].out; e != none; e = s.edges[e].next {
			if to := s.edges[e].to; s.nodes[to].state == Waiting {
				s.set(to, Skipped)
				s.ended.push(to)
				stack = append(stack, to)
			}
		}
	}
}

// stop cancels everything that has not been handed out, and asks for the rest to be stopped.
func (s *Scheduler) stop(cause error) {
	s.cause = cause
	s.ready, s.queued = nil, nil
	for i := range s.nodes {
		switch n := NodeID(i); s.nodes[i].state {
		case Waiting, Queued:
			s.endUnasked(n, Cancelled)
		case Probing, Running:
			s.stops.push(n)
		}
	}
}
