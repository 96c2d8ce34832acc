package sched_test

import (
	"testing"
	"time"

	"github.com/towpath/towpath/internal/sched"
	"pgregory.net/rapid"
)

// TestProperties runs random graphs on a fake clock. The world (world_test.go) watches every call and holds what must be
// true at all times; what must be true of the end is held here and in world.finish.
func TestProperties(t *testing.T) {
	t.Run("anything goes", rapid.MakeCheck(func(t *rapid.T) {
		w := newWorld(t, drawPlan(t, mishaps|caches|fanOuts|probeTimes), sched.Config{
			Slots:  rapid.IntRange(0, 8).Draw(t, "slots"),
			Probes: rapid.IntRange(0, 8).Draw(t, "probes"),
		})
		if rapid.Bool().Draw(t, "is cancelled") {
			w.at(time.Duration(rapid.Int64Range(0, 300).Draw(t, "cancelled at")), w.cancel)
		}
		w.run()
		w.finish()
	}))

	t.Run("without mishaps everything succeeds", rapid.MakeCheck(func(t *rapid.T) {
		w := newWorld(t, drawPlan(t, caches|fanOuts|probeTimes), sched.Config{Slots: rapid.IntRange(0, 8).Draw(t, "slots")})
		w.run()
		w.finish()
		if c := w.s.Counts(); c[sched.Succeeded]+c[sched.Cached] != c.Total() {
			t.Fatalf("not all of them: %v", c)
		}
	}))

	t.Run("with unlimited slots a run takes as long as its critical path", rapid.MakeCheck(func(t *rapid.T) {
		p := drawPlan(t, caches|fanOuts)
		w := newWorld(t, p, sched.Config{})
		w.run()
		w.finish()
		if want := p.criticalPath(); w.now != want {
			t.Fatalf("it took %v, its critical path %v", w.now, want)
		}
	}))

	t.Run("the critical path that is left tells when a run ends", rapid.MakeCheck(func(t *rapid.T) {
		p := drawPlan(t, 0)
		for _, n := range p {
			n.known = n.takes
		}
		w := newWorld(t, p, sched.Config{})
		want := p.criticalPath()
		w.every = func() {
			left := w.s.CriticalPathLeft(func(n sched.NodeID) time.Duration { return w.now - w.seen[n].runAt })
			if w.now+left != want {
				t.Fatalf("at %v it says %v, but the run ends at %v", w.now, left, want)
			}
		}
		w.run()
		w.finish()
	}))
}

// What a plan may hold.
const (
	mishaps    = 1 << iota // failing probes and runs, runs that are cancelled
	caches                 // hits
	fanOuts                // expansions
	probeTimes             // probes that take time
)

// spec is what will happen to a node.
type spec struct {
	deps     []sched.NodeID
	known    time.Duration // what the scheduler is told
	takes    time.Duration
	probe    time.Duration
	outcome  sched.State // of the run
	heeds    bool        // ends as Cancelled when it is stopped
	probed   sched.State // Cached is a hit, Queued a miss, Failed and Cancelled are themselves
	expandIn sched.State // Probing, Queued or Running; Waiting stands for never
	elements []*spec
}

type plan []*spec

func drawPlan(t *rapid.T, may int) plan {
	p := make(plan, rapid.IntRange(0, 300).Draw(t, "nodes"))
	width := rapid.IntRange(1, 60).Draw(t, "width") // how far edges reach back: chains or broad graphs
	for i := range p {
		p[i] = drawSpec(t, may, 2)
		if i > 0 {
			dep := rapid.Map(rapid.IntRange(1, min(i, width)), func(back int) sched.NodeID { return sched.NodeID(i - back) })
			p[i].deps = rapid.SliceOfN(dep, 0, 4).Draw(t, "deps")
		}
	}
	return p
}

// one draws true once in n times.
func one(t *rapid.T, n int, label string) bool { return rapid.IntRange(1, n).Draw(t, label) == n }

func drawSpec(t *rapid.T, may, depth int) *spec {
	n := &spec{outcome: sched.Succeeded, probed: sched.Queued, takes: time.Duration(rapid.IntRange(1, 40).Draw(t, "takes"))}
	if rapid.Bool().Draw(t, "is known") {
		n.known = time.Duration(rapid.IntRange(1, 40).Draw(t, "known"))
	}
	if may&probeTimes != 0 {
		n.probe = time.Duration(rapid.IntRange(0, 5).Draw(t, "probe"))
	}
	if may&caches != 0 && one(t, 4, "hit") {
		n.probed = sched.Cached
	}
	odds := 60
	if depth < 2 {
		odds = 10 // an element: few enough that they would hardly ever be the first to fail
	}
	if may&mishaps != 0 && one(t, odds, "bad run") {
		n.outcome = rapid.SampledFrom([]sched.State{sched.Failed, sched.Cancelled}).Draw(t, "outcome")
	}
	n.heeds = may&mishaps != 0 && rapid.Bool().Draw(t, "heeds")
	if may&mishaps != 0 && one(t, 120, "bad probe") {
		n.probed = rapid.SampledFrom([]sched.State{sched.Failed, sched.Cancelled}).Draw(t, "probed")
	}
	if may&fanOuts != 0 && depth > 0 && one(t, 12, "fan-out") {
		n.expandIn = rapid.SampledFrom([]sched.State{sched.Probing, sched.Queued, sched.Running}).Draw(t, "expand in")
		n.elements = make([]*spec, rapid.IntRange(0, 5).Draw(t, "elements"))
		for i := range n.elements {
			n.elements[i] = drawSpec(t, may, depth-1)
		}
	}
	return n
}

// criticalPath computes when a run without mishaps ends that has all the slots it wants, from nothing but the definition.
func (p plan) criticalPath() time.Duration {
	ends := make([]time.Duration, len(p))
	last := time.Duration(0)
	for i, n := range p {
		for _, dep := range n.deps {
			ends[i] = max(ends[i], ends[dep])
		}
		ends[i] += n.span()
		last = max(last, ends[i])
	}
	return last
}

// span is the time from the inputs of a node to its end.
func (n *spec) span() time.Duration {
	longest := time.Duration(0)
	for _, element := range n.elements {
		longest = max(longest, element.span())
	}
	switch {
	case n.expandIn == sched.Probing:
		return longest
	case n.probed == sched.Cached:
		return 0
	case n.expandIn == sched.Queued:
		return longest
	case n.expandIn == sched.Running:
		return n.takes + longest
	}
	return n.takes
}
