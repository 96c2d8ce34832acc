package sched_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/towpath/towpath/internal/sched"
)

// BenchmarkRun takes runs of two sizes from AddNode to Done: time and memory for each node must not depend on how many there
// are.
func BenchmarkRun(b *testing.B) {
	for _, size := range []int{10_000, 100_000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				run(b, size)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(size), "ns/node")
		})
	}
}

// run has layers of 100 nodes, each of which needs three of the layer before, and eight slots. A third of the nodes hit.
func run(b *testing.B, size int) {
	s := sched.New(sched.Config{Slots: 8})
	s.Grow(size, 3*size)
	for i := range size {
		var deps []sched.NodeID
		if at := i - i%100 - 100; at >= 0 {
			deps = []sched.NodeID{sched.NodeID(at + i%100), sched.NodeID(at + (i*7)%100), sched.NodeID(at + (i*13)%100)}
		}
		s.AddNode(deps, time.Duration(i%1000)*time.Millisecond)
	}
	s.Start()
	var running []sched.NodeID
	for {
		a, ok := s.Next()
		switch {
		case ok && a.Kind == sched.Probe && a.Node%3 == 0:
			s.Hit(a.Node)
		case ok && a.Kind == sched.Probe:
			s.Miss(a.Node)
		case ok:
			running = append(running, a.Node)
		case len(running) > 0:
			s.Finished(running[0], sched.Succeeded)
			running = running[1:]
		default:
			if !s.Done() {
				b.Fatalf("it hangs: %v", s.Counts())
			}
			return
		}
	}
}
