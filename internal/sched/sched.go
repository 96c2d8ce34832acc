// Package sched decides what a run does next: which node is looked up in the caches, which one gets the next free slot, and
// what becomes of the others when one fails or the run is cancelled.
//
// It is a pure state machine. It must not know what a node is (names, keys and values stay with the engine), must not read a
// clock, start a goroutine or do any I/O, and is not safe for concurrent use: the engine's loop owns it, asks Next until
// there is nothing to do, waits for something to end, reports that, and asks again.
//
//	Waiting --- upstream did not succeed ----------------> Skipped
//	   |
//	   | inputs are there
//	   v
//	Probing --- hit -------------------------------------> Cached
//	   |    \
//	   |     +---------+
//	   | miss           \
//	   v                 \
//	Queued --- fan-out ---+--> Expanded --- its elements -> Succeeded, Failed or Cancelled
//	   |                 /                  have ended
//	   | slot is free   /
//	   |     +---------+
//	   v    /
//	Running --- work is done ----------------------------> Succeeded or Failed
//
//	Waiting, Probing, Queued or Running --- run stops ---> Cancelled
//	Probing --- could not be probed ---------------------> Failed
//
// A node is handed out for work at most twice, once to be probed and once to be run, and each time that is answered exactly
// once: a probe by Hit, Miss, Expand or Finished, a run by Finished or Expand. That holds after the run has stopped as well;
// there is no race to lose.
//
// Among the nodes that could go on, the one with the longest path to a sink goes first, measured by the durations that are
// known from earlier runs. A slot is never left free while a node is queued.
//
// The run fails fast: the first node that does not succeed stops it. What is downstream of that node is Skipped, everything
// else that has not been handed out is Cancelled, and what is being probed or run is handed out once more, to be stopped.
//
// A call that the drawing does not allow is a fault of the caller, which no input of a user can bring about. It panics with
// the node and its state.
package sched

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// NodeID names a node: 0 for the first that was added, and so on without gaps.
type NodeID int32

// unknown stands for a duration that is not known. A step takes at least about this long, so deeper chains of new stages go
// first and none of them is taken for longer than a chain that has been measured.
const unknown = time.Millisecond

// none is the absence of a node or an edge.
const none = -1

// Config configures a Scheduler.
type Config struct {
	// Slots is the number of nodes that may run at the same time. Zero sets no bound.
	Slots int
	// Probes is the number of nodes that may be probed at the same time. Zero sets no bound.
	Probes int
}

// node is kept small: a run has up to some hundred thousand of them.
type node struct {
	duration time.Duration // what the node itself takes; never 0
	level    time.Duration // the longest path to a sink, this node included
	parent   NodeID        // the fan-out that this is an element of, or none
	pending  int32         // Waiting: dependencies that have not succeeded; Expanded: elements that have not ended
	out      int32         // the first edge to a dependent, or none
	state    State
	verdict  State // Expanded: what it ends as, by the elements that have ended so far
}

// edge is an item of the linked list of a node's dependents.
type edge struct {
	to   NodeID
	next int32
}

// Scheduler is the state of one run.
type Scheduler struct {
	config Config
	nodes  []node
	edges  []edge
	counts Counts

	ready  queue // Waiting, and nothing is pending
	queued queue // Queued, and those that were expanded since
	ended  list  // to be handed out as Ended
	stops  list  // to be handed out as Stop, unless they have ended by then

	started bool
	cause   error // why the run stops; nil while it does not
}

// New returns a Scheduler without nodes.
func New(config Config) *Scheduler {
	if config.Slots < 0 || config.Probes < 0 {
		panic(fmt.Sprintf("sched: New(%+v): negative bound", config))
	}
	return &Scheduler{config: config}
}

// Grow makes room for that many more nodes and dependencies.
func (s *Scheduler) Grow(nodes, edges int) {
	s.nodes = append(make([]node, 0, len(s.nodes)+nodes), s.nodes...)
	s.edges = append(make([]edge, 0, len(s.edges)+edges), s.edges...)
}

// AddNode adds a node that needs deps, which have all been added before: a cycle cannot be expressed. The duration is what
// the node took when it last ran, or 0 where that is not known.
func (s *Scheduler) AddNode(deps []NodeID, duration time.Duration) NodeID {
	if s.started {
		panic("sched: AddNode after Start")
	}
	id := s.add(none, duration)
	for _, dep := range deps {
		if dep < 0 || dep >= id {
			panic(fmt.Sprintf("sched: AddNode: node %d cannot depend on node %d", id, dep))
		}
		if len(s.edges) == math.MaxInt32 {
			panic("sched: AddNode: too many dependencies")
		}
		s.edges = append(s.edges, edge{to: id, next: s.nodes[dep].out})
		s.nodes[dep].out = int32(len(s.edges) - 1)
	}
	s.nodes[id].pending = int32(len(deps))
	return id
}

func (s *Scheduler) add(parent NodeID, duration time.Duration) NodeID {
	if len(s.nodes) == math.MaxInt32 {
		panic("sched: too many nodes")
	}
	if duration <= 0 {
		duration = unknown
	}
	s.nodes = append(s.nodes, node{duration: duration, level: duration, parent: parent, out: none})
	s.counts[Waiting]++
	return NodeID(len(s.nodes) - 1)
}

// Start ends the adding of nodes and makes those ready that depend on none.
func (s *Scheduler) Start() {
	if s.started {
		panic("sched: Start: called twice")
	}
	s.started = true
	// A node's dependents come after it, so going backwards meets every node after all of its dependents.
	for i := len(s.nodes) - 1; i >= 0; i-- {
		n := &s.nodes[i]
		longest := time.Duration(0)
		for e := n.out; e != none; e = s.edges[e].next {
			longest = max(longest, s.nodes[s.edges[e].to].level)
		}
		n.level = n.duration + longest
	}
	for i := range s.nodes {
		if s.nodes[i].pending == 0 {
			s.ready.push(s.nodes, NodeID(i))
		}
	}
}

// Kind tells what the engine has to do with a node.
type Kind uint8

const (
	// Probe asks for the node's key and what the caches hold for it: answer with Hit, Miss or Expand, or with Finished where
	// that failed.
	Probe Kind = iota
	// Run asks for the node's work: answer with Finished or Expand.
	Run
	// Stop asks to stop what is being done for the node. It is not answered; what was asked for before still is.
	Stop
	// Ended tells that the node has ended without an answer that said so: it was skipped or cancelled, or it is a fan-out and
	// its elements have ended. It is not answered. It comes before any dependent of the node is handed out.
	Ended
)

// String returns the kind's name in lower case.
func (k Kind) String() string {
	names := [...]string{"probe", "run", "stop", "ended"}
	if int(k) >= len(names) {
		return fmt.Sprintf("kind(%d)", k)
	}
	return names[k]
}

// Action is one thing for the engine to do.
type Action struct {
	Kind Kind
	Node NodeID
}

// Next returns the next thing that the engine has to do, and false when there is nothing to do before something is answered.
func (s *Scheduler) Next() (Action, bool) {
	if !s.started {
		panic("sched: Next before Start")
	}
	for {
		n, ok := s.stops.pop()
		if !ok {
			break
		}
		if !s.nodes[n].state.Final() {
			return Action{Stop, n}, true
		}
	}
	if n, ok := s.ended.pop(); ok {
		return Action{Ended, n}, true
	}
	// Work goes before look-ups, so that a slot which is free does not wait for them.
	for s.config.Slots == 0 || s.counts[Running] < s.config.Slots {
		n, ok := s.queued.pop(s.nodes)
		if !ok {
			break
		}
		if s.nodes[n].state == Queued {
			s.set(n, Running)
			return Action{Run, n}, true
		}
	}
	if s.config.Probes == 0 || s.counts[Probing] < s.config.Probes {
		if n, ok := s.ready.pop(s.nodes); ok {
			s.set(n, Probing)
			return Action{Probe, n}, true
		}
	}
	return Action{}, false
}

// Done tells whether every node has ended. Next may still have to tell of some of them.
func (s *Scheduler) Done() bool { return s.counts.Final() == len(s.nodes) }

// Cause tells why the run stops: the cause given to Cancel, or a *NodeError for the node that did not succeed, whichever
// came first. It is nil while nothing stops the run.
func (s *Scheduler) Cause() error { return s.cause }

// State returns where a node stands.
func (s *Scheduler) State(n NodeID) State {
	s.check("State", n)
	return s.nodes[n].state
}

// Counts returns the number of nodes in each state.
func (s *Scheduler) Counts() Counts { return s.counts }

// CriticalPathLeft returns how long the longest chain of nodes takes that have not ended, by the durations that were given;
// a node without one counts a millisecond. elapsed tells how long a node has been running; nil stands for not at all. No
// number of slots ends a run sooner, unless nodes turn out to be cached. It looks at every node, which is cheap enough for a
// progress display.
func (s *Scheduler) CriticalPathLeft(elapsed func(NodeID) time.Duration) time.Duration {
	longest := time.Duration(0)
	for i := range s.nodes {
		n := &s.nodes[i]
		if n.state.Final() || n.state == Expanded {
			continue // the elements of a fan-out reach as far as it does
		}
		left := n.level
		if s.cause != nil {
			left = n.duration // nothing follows any more
		}
		if n.state == Running && elapsed != nil {
			left -= min(max(elapsed(NodeID(i)), 0), n.duration)
		}
		longest = max(longest, left)
	}
	return longest
}

// check panics where n is not a node that is in one of the states that operation allows; none given allows all.
func (s *Scheduler) check(operation string, n NodeID, allowed ...State) {
	if !s.started && len(allowed) > 0 {
		panic(fmt.Sprintf("sched: %s(node %d) before Start", operation, n))
	}
	if n < 0 || int(n) >= len(s.nodes) {
		panic(fmt.Sprintf("sched: %s(node %d): there are %d nodes", operation, n, len(s.nodes)))
	}
	if len(allowed) == 0 || slices.Contains(allowed, s.nodes[n].state) {
		return
	}
	panic(fmt.Sprintf("sched: %s(node %d): the node is %v", operation, n, s.nodes[n].state))
}
