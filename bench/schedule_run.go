package main

import (
	"errors"

	"github.com/towpath/towpath/internal/sched"
)

func runStages(stages int) (int, error) {
	s := sched.New(sched.Config{Slots: 8})
	w := stages / layers
	s.Grow(stages, fanIn*stages)
	for i := range stages {
		var deps []sched.NodeID
		if at := i - i%w - w; at >= 0 {
			for k := range fanIn {
				deps = append(deps, sched.NodeID(at+(i+k)%w))
			}
		}
		s.AddNode(deps, 0)
	}
	s.Start()
	var running []sched.NodeID
	for {
		a, ok := s.Next()
		switch {
		case ok && a.Kind == sched.Probe:
			s.Miss(a.Node)
		case ok:
			running = append(running, a.Node)
		case len(running) > 0:
			s.Finished(running[0], sched.Succeeded)
			running = running[1:]
		default:
			if !s.Done() {
				return 0, errors.New("hangs")
			}
			return s.Counts()[sched.Succeeded], nil
		}
	}
}
