package sched_test

import (
	"container/heap"
	"errors"
	"slices"
	"time"

	"github.com/towpath/towpath/internal/sched"
	"pgregory.net/rapid"
)

// world plays the engine on a fake clock and keeps its own account of what the scheduler does, from nothing but the calls
// between them.
type world struct {
	t      *rapid.T
	s      *sched.Scheduler
	config sched.Config
	seen   []*sighting
	events events
	order  int // of the last event
	now    time.Duration
	every  func() // called whenever there is nothing to do at a moment; may be nil

	cause    error
	first    *sighting // the node that stopped the run
	probing  int
	running  int
	underWay map[sched.NodeID]bool // what was under way when the run stopped and still has to be stopped
}

// sighting is what the world knows of a node.
type sighting struct {
	*spec
	id       sched.NodeID
	parent   *sighting
	level    time.Duration
	state    sched.State // as far as calls told
	probes   int
	runs     int
	ends     int
	runAt    time.Duration
	stopped  bool
	children []*sighting
}

func newWorld(t *rapid.T, p plan, config sched.Config) *world {
	w := &world{t: t, s: sched.New(config), config: config}
	for _, n := range p {
		id := w.s.AddNode(n.deps, n.known)
		w.seen = append(w.seen, &sighting{spec: n, id: id, level: n.weight()})
	}
	// The longest path by relaxing every edge from the last node to the first.
	for _, n := range slices.Backward(w.seen) {
		for _, dep := range n.deps {
			up := w.seen[dep]
			up.level = max(up.level, up.weight()+n.level)
		}
	}
	w.s.Start()
	return w
}

func (n *spec) weight() time.Duration {
	if n.known == 0 {
		return time.Millisecond
	}
	return n.known
}

// run lets time pass until there is nothing left to happen.
func (w *world) run() {
	for {
		w.drain()
		if w.every != nil {
			w.every()
		}
		if len(w.events) == 0 {
			return
		}
		e := heap.Pop(&w.events).(event)
		w.now = e.at
		e.do()
		w.check()
	}
}

// drain does what the scheduler asks for until it asks for nothing.
func (w *world) drain() {
	for {
		a, ok := w.s.Next()
		if !ok {
			break
		}
		n := w.seen[a.Node]
		switch a.Kind {
		case sched.Probe:
			w.startProbe(n)
		case sched.Run:
			w.startRun(n)
		case sched.Stop:
			w.stop(n)
		case sched.Ended:
			w.ended(n)
		}
		w.check()
	}
	for _, n := range w.seen {
		switch {
		case w.cause != nil:
		case n.state == sched.Queued && (w.config.Slots == 0 || w.running < w.config.Slots):
			w.t.Fatalf("node %d is queued and a slot is free", n.id)
		case n.state == sched.Waiting && w.inputsThere(n) && (w.config.Probes == 0 || w.probing < w.config.Probes):
			w.t.Fatalf("node %d waits for nothing", n.id)
		}
	}
	if len(w.underWay) > 0 {
		w.t.Fatalf("the run stopped and these were not: %v", w.underWay)
	}
}

// check compares the scheduler's account with the world's.
func (w *world) check() {
	if c := w.s.Counts(); c[sched.Running] != w.running || c[sched.Probing] != w.probing || c.Total() != len(w.seen) {
		w.t.Fatalf("%v nodes, of which %d run and %d are probed, are counted as %v", len(w.seen), w.running, w.probing, c)
	}
	if got := w.s.Cause(); (got == nil) != (w.cause == nil) {
		w.t.Fatalf("the run stops because of %v, and it says %v", w.cause, got)
	}
}

func (w *world) inputsThere(n *sighting) bool {
	return !slices.ContainsFunc(n.deps, func(dep sched.NodeID) bool { return !w.seen[dep].state.Good() || w.seen[dep].ends != 1 })
}

func (w *world) startProbe(n *sighting) {
	if n.state != sched.Waiting || n.probes > 0 {
		w.t.Fatalf("node %d is probed again as %v", n.id, n.state)
	}
	if !w.inputsThere(n) {
		w.t.Fatalf("node %d is probed before its inputs are there", n.id)
	}
	w.mayStart(n)
	n.probes++
	n.state = sched.Probing
	w.probing++
	if w.config.Probes > 0 && w.probing > w.config.Probes {
		w.t.Fatalf("%d nodes are probed", w.probing)
	}
	w.at(w.now+n.probe, func() { w.probeEnds(n) })
}

func (w *world) mayStart(n *sighting) {
	if w.cause != nil {
		w.t.Fatalf("node %d starts after the run stopped: %v", n.id, w.cause)
	}
}

func (w *world) probeEnds(n *sighting) {
	w.probing--
	delete(w.underWay, n.id)
	switch {
	case n.expandIn == sched.Probing:
		w.expand(n)
	case n.probed == sched.Cached:
		w.s.Hit(n.id)
		w.ends(n, sched.Cached)
	case n.probed != sched.Queued:
		w.s.Finished(n.id, n.probed)
		w.ends(n, n.probed)
	case w.cause != nil:
		w.s.Miss(n.id) // the scheduler has to say Ended
	default:
		w.s.Miss(n.id)
		n.state = sched.Queued
		if n.expandIn == sched.Queued {
			w.expand(n)
		}
	}
}

func (w *world) startRun(n *sighting) {
	if n.state != sched.Queued || n.runs > 0 {
		w.t.Fatalf("node %d is run as %v", n.id, n.state)
	}
	w.mayStart(n)
	for _, other := range w.seen {
		if other.state == sched.Queued && (other.level > n.level || other.level == n.level && other.id < n.id) {
			w.t.Fatalf("node %d (%v to a sink) is run before node %d (%v)", n.id, n.level, other.id, other.level)
		}
	}
	n.runs++
	n.state = sched.Running
	n.runAt = w.now
	w.running++
	if w.config.Slots > 0 && w.running > w.config.Slots {
		w.t.Fatalf("%d nodes run", w.running)
	}
	w.at(w.now+n.takes, func() {
		w.running--
		delete(w.underWay, n.id)
		if n.expandIn == sched.Running {
			w.expand(n)
			return
		}
		outcome := n.outcome
		if n.stopped && n.heeds {
			outcome = sched.Cancelled
		}
		w.s.Finished(n.id, outcome)
		w.ends(n, outcome)
	})
}

func (w *world) expand(n *sighting) {
	known := make([]time.Duration, len(n.elements))
	for i, element := range n.elements {
		known[i] = element.known
	}
	ids := w.s.Expand(n.id, known)
	if w.cause != nil || len(known) == 0 {
		if len(ids) != 0 {
			w.t.Fatalf("node %d has elements: %v", n.id, ids)
		}
		if w.cause == nil {
			n.state = sched.Expanded
		}
		return // the scheduler has to say Ended
	}
	n.state = sched.Expanded
	for i, element := range n.elements {
		if ids[i] != sched.NodeID(len(w.seen)) {
			w.t.Fatalf("element %d of node %d is node %d", i, n.id, ids[i])
		}
		child := &sighting{spec: element, id: ids[i], parent: n, level: n.level - n.weight() + element.weight()}
		n.children = append(n.children, child)
		w.seen = append(w.seen, child)
	}
}

// ends notes that n has ended, and what follows for the run.
func (w *world) ends(n *sighting, state sched.State) {
	n.state = state
	n.ends++
	if !state.Good() && w.cause == nil {
		w.first = n
		w.stops(&sched.NodeError{Node: n.id, State: state})
	}
}

func (w *world) cancel() {
	cause := errors.New("cancelled")
	w.s.Cancel(cause)
	if w.cause == nil && !w.s.Done() {
		w.stops(cause)
	} else if w.cause == nil {
		w.cause = cause // nothing is left to stop
	}
}

func (w *world) stops(cause error) {
	w.cause = cause
	w.underWay = map[sched.NodeID]bool{}
	for _, n := range w.seen {
		if n.state == sched.Probing || n.state == sched.Running {
			w.underWay[n.id] = true
		}
	}
}

func (w *world) stop(n *sighting) {
	if !w.underWay[n.id] {
		w.t.Fatalf("node %d has nothing to be stopped", n.id)
	}
	delete(w.underWay, n.id)
	n.stopped = true
}

// ended notes what the scheduler ends by itself, which has to follow from what was seen before.
func (w *world) ended(n *sighting) {
	state := w.s.State(n.id)
	var want sched.State
	switch n.state {
	case sched.Expanded:
		want = n.verdict()
	case sched.Waiting:
		want = sched.Cancelled
		if w.first != nil && w.isBelow(n, w.first) {
			want = sched.Skipped
		}
	default:
		want = sched.Cancelled
	}
	if state != want || n.state != sched.Expanded && w.cause == nil {
		w.t.Fatalf("node %d ended as %v after %v, want %v", n.id, state, n.state, want)
	}
	w.ends(n, state)
}

// verdict is what a fan-out ends as.
func (n *sighting) verdict() sched.State {
	verdict := sched.Succeeded
	for _, child := range n.children {
		switch child.state {
		case sched.Succeeded, sched.Cached:
		case sched.Failed:
			verdict = sched.Failed
		case sched.Cancelled:
			if verdict != sched.Failed {
				verdict = sched.Cancelled
			}
		default:
			return sched.Waiting // it has not ended
		}
	}
	return verdict
}

// isBelow tells whether n depends on top, or on a fan-out that top belongs to.
func (w *world) isBelow(n, top *sighting) bool {
	tops := map[sched.NodeID]bool{}
	for ; top != nil; top = top.parent {
		tops[top.id] = true
	}
	below := map[sched.NodeID]bool{}
	for _, other := range w.seen[:n.id+1] { // dependencies come first
		below[other.id] = slices.ContainsFunc(other.deps, func(dep sched.NodeID) bool { return tops[dep] || below[dep] })
	}
	return below[n.id]
}

// finish holds what has to be true of a run that has come to its end.
func (w *world) finish() {
	if !w.s.Done() {
		w.t.Fatalf("nothing is left to happen and the run is not done: %v", w.s.Counts())
	}
	var counts sched.Counts
	for _, n := range w.seen {
		counts[n.state]++
		if n.ends != 1 {
			w.t.Fatalf("node %d ended %d times", n.id, n.ends)
		}
		if got := w.s.State(n.id); got != n.state || !got.Final() {
			w.t.Fatalf("node %d ended as %v and is %v", n.id, n.state, got)
		}
		if n.state == sched.Skipped && (n.probes > 0 || w.first == nil || !w.isBelow(n, w.first)) {
			w.t.Fatalf("node %d is skipped for no reason", n.id)
		}
	}
	if counts != w.s.Counts() {
		w.t.Fatalf("%v are counted as %v", counts, w.s.Counts())
	}
	if left := w.s.CriticalPathLeft(nil); left != 0 {
		w.t.Fatalf("the run is done and %v are left", left)
	}
	if failed := new(sched.NodeError); w.first != nil && (!errors.As(w.s.Cause(), &failed) || failed.Node != w.first.id) {
		w.t.Fatalf("node %d stopped the run, and it says %v", w.first.id, w.s.Cause())
	}
}

// at lets something happen at a moment. What was asked for first happens first.
func (w *world) at(moment time.Duration, do func()) {
	w.order++
	heap.Push(&w.events, event{at: moment, order: w.order, do: do})
}

type event struct {
	at    time.Duration
	order int
	do    func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	if e[i].at != e[j].at {
		return e[i].at < e[j].at
	}
	return e[i].order < e[j].order
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := len(*e) - 1
	x := (*e)[last]
	*e = (*e)[:last]
	return x
}
