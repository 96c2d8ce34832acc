package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/towpath/towpath/internal/cas/mem"
	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/executor"
	"github.com/towpath/towpath/internal/executor/fake"
	"github.com/towpath/towpath/internal/sched"
	"github.com/towpath/towpath/internal/tree"
)

// slots is how many stages run at the same time, as on a larger machine.
const slots = 8

// work is what is done for the stages that the scheduler hands out.
type work interface {
	begin(sched.NodeID)
	wait() (sched.NodeID, error) // for one that has begun
	check(stages int) error      // that all were done
}

// runStages takes that many stages from being added to their end, as the engine does, and returns how many of them succeeded. No stage is cached.
func runStages(stages int, w work) (int, error) {
	s := sched.New(sched.Config{Slots: slots})
	addStages(s, stages)
	s.Start()
	running := 0
	for {
		action, ok := s.Next()
		switch {
		case ok && action.Kind == sched.Probe:
			s.Miss(action.Node)
		case ok && action.Kind == sched.Run:
			running++
			w.begin(action.Node)
		case ok:
			return 0, fmt.Errorf("stage %d: %v was not to be expected", action.Node, action.Kind)
		case running > 0:
			node, err := w.wait()
			if err != nil {
				return 0, fmt.Errorf("stage %d: %w", node, err)
			}
			running--
			s.Finished(node, sched.Succeeded)
		case s.Done():
			return s.Counts()[sched.Succeeded], nil
		default:
			return 0, fmt.Errorf("nothing goes on: %v", s.Counts())
		}
	}
}

// addStages adds the graph of the other rows, with wider layers.
func addStages(s *sched.Scheduler, stages int) {
	width := stages / layers
	s.Grow(stages, fanIn*stages)
	deps := make([]sched.NodeID, 0, fanIn)
	for i := range stages {
		deps = deps[:0]
		if before := i - i%width - width; before >= 0 {
			for k := range fanIn {
				deps = append(deps, sched.NodeID(before+(i+k)%width))
			}
		}
		s.AddNode(deps, 0)
	}
}

// nothing is work that has ended once it has begun: what remains is the scheduler.
type nothing struct{ begun []sched.NodeID }

func (n *nothing) begin(node sched.NodeID) { n.begun = append(n.begun, node) }

func (n *nothing) wait() (sched.NodeID, error) {
	last := len(n.begun) - 1
	node := n.begun[last]
	n.begun = n.begun[:last]
	return node, nil
}

func (n *nothing) check(int) error { return nil }

// steps runs an action of its own for every stage in the fake executor.
type steps struct {
	ctx      context.Context
	executor *fake.Executor
	root     digest.Digest
	ended    chan ended
}

type ended struct {
	node sched.NodeID
	err  error
}

func newSteps(ctx context.Context) (*steps, error) {
	store := mem.New()
	root, err := tree.NewBuilder(store).Build(ctx)
	if err != nil {
		return nil, err
	}
	return &steps{ctx: ctx, executor: fake.New(store, nil), root: root, ended: make(chan ended, slots)}, nil
}

func (w *steps) begin(node sched.NodeID) {
	go func() { w.ended <- ended{node, w.step(node)} }()
}

func (w *steps) wait() (sched.NodeID, error) {
	e := <-w.ended
	return e.node, e.err
}

func (w *steps) check(stages int) error {
	if begun := w.executor.Begun(); begun != stages {
		return fmt.Errorf("the executor ran %d steps for %d stages", begun, stages)
	}
	return nil
}

func (w *steps) step(node sched.NodeID) error {
	command := executor.Command{Args: []string{"cp", fmt.Sprintf("src/s_%d.txt", node), "out.txt"}}
	action, err := executor.NewAction(command, w.root, executor.Platform(fake.Isolation))
	if err != nil {
		return err
	}
	result, err := w.executor.Execute(w.ctx, action, executor.Options{})
	if err == nil && !result.Accepted {
		err = errors.New("the step did not succeed")
	}
	return err
}
