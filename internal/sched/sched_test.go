package sched_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/towpath/towpath/internal/sched"
)

// script drives a Scheduler through lines of the form
//
//	next probe 0 | next -       what Next has to return; - stands for nothing
//	hit 0 | miss 0              answers
//	finished 0 failed
//	expand 0 2                  into elements of unknown duration
//	cancel
//	is 0 running                what State has to return
//	done | not done             what Done has to return
//
// and fails the test at the first line that does not hold.
func script(t *testing.T, s *sched.Scheduler, lines string) {
	t.Helper()
	for i, line := range strings.Split(strings.TrimSpace(lines), "\n") {
		line = strings.TrimSpace(line)
		if err := scriptLine(s, strings.Fields(line)); err != nil {
			t.Fatalf("line %d: %s: %v", i+1, line, err)
		}
	}
}

func scriptLine(s *sched.Scheduler, words []string) error {
	var n sched.NodeID
	if len(words) > 1 {
		_, _ = fmt.Sscan(words[1], &n)
	}
	switch words[0] {
	case "next":
		got := "-"
		if a, ok := s.Next(); ok {
			got = fmt.Sprintf("%v %d", a.Kind, a.Node)
		}
		if want := strings.Join(words[1:], " "); got != want {
			return fmt.Errorf("got %s", got)
		}
	case "hit":
		s.Hit(n)
	case "miss":
		s.Miss(n)
	case "finished":
		s.Finished(n, stateNamed(words[2]))
	case "expand":
		var count int
		_, _ = fmt.Sscan(words[2], &count)
		s.Expand(n, make([]time.Duration, count))
	case "cancel":
		s.Cancel(errInterrupted)
	case "is":
		if got := s.State(n); got != stateNamed(words[2]) {
			return fmt.Errorf("it is %v", got)
		}
	case "done":
		if !s.Done() {
			return fmt.Errorf("it is not: %v", s.Counts())
		}
	case "not":
		if s.Done() {
			return fmt.Errorf("it is: %v", s.Counts())
		}
	default:
		return fmt.Errorf("unknown word %q", words[0])
	}
	return nil
}

func stateNamed(name string) sched.State {
	for s := sched.Waiting; s <= sched.Skipped; s++ {
		if s.String() == name {
			return s
		}
	}
	panic("no state is called " + name)
}

var errInterrupted = errors.New("interrupted")

type nodes []node

type node struct {
	deps     []sched.NodeID
	duration time.Duration
}

func (ns nodes) start(config sched.Config) *sched.Scheduler {
	s := sched.New(config)
	for _, n := range ns {
		s.AddNode(n.deps, n.duration)
	}
	s.Start()
	return s
}

func after(deps ...sched.NodeID) node { return node{deps: deps} }

func (n node) takes(d time.Duration) node { n.duration = d; return n }

func TestScript(t *testing.T) {
	tests := []struct {
		name   string
		config sched.Config
		nodes  nodes
		lines  string
	}{
		{
			name:  "an empty run is done",
			lines: "done \n next -",
		}, {
			name:  "a node goes through every state",
			nodes: nodes{after()},
			lines: `
				is 0 waiting
				next probe 0
				is 0 probing
				next -
				miss 0
				is 0 queued
				next run 0
				is 0 running
				not done
				finished 0 succeeded
				is 0 succeeded
				next -
				done`,
		}, {
			name:  "a node waits for all of its dependencies",
			nodes: nodes{after(), after(), after(0, 1)},
			lines: `
				next probe 0
				next probe 1
				next -
				hit 0
				next -
				miss 1
				next run 1
				next -
				finished 1 succeeded
				next probe 2`,
		}, {
			name:  "a dependency may be named twice",
			nodes: nodes{after(), after(0, 0)},
			lines: "next probe 0 \n hit 0 \n next probe 1 \n hit 1 \n done",
		}, {
			name:   "slots bound what runs and not what is probed",
			config: sched.Config{Slots: 1},
			nodes:  nodes{after(), after(), after()},
			lines: `
				next probe 0
				next probe 1
				miss 0
				miss 1
				next run 0
				next probe 2
				next -
				hit 2
				next -
				finished 0 succeeded
				next run 1`,
		}, {
			name:   "probes are bounded too",
			config: sched.Config{Probes: 1},
			nodes:  nodes{after(), after()},
			lines:  "next probe 0 \n next - \n miss 0 \n next run 0 \n next probe 1 \n next -",
		}, {
			name:   "the longest path to a sink goes first",
			config: sched.Config{Slots: 1},
			nodes:  nodes{after().takes(time.Second), after().takes(time.Minute), after(0).takes(time.Hour), after().takes(time.Minute)},
			lines: `
				next probe 0
				next probe 1
				next probe 3
				miss 3
				miss 1
				miss 0
				next run 0
				finished 0 succeeded
				next run 1
				finished 1 succeeded
				next run 3`,
		}, {
			name:   "a deeper chain of unknown durations goes first, and a known one before it",
			config: sched.Config{Slots: 1},
			nodes:  nodes{after(), after(), after(1), after().takes(time.Second)},
			lines:  "next probe 3 \n next probe 1 \n next probe 0 \n miss 0 \n miss 1 \n miss 3 \n next run 3",
		}, {
			name:  "what is downstream of a failure is skipped, the rest is cancelled, what is under way is stopped",
			nodes: nodes{after(), after(), after(), after(0), after(3, 1), after(1)},
			lines: `
				next probe 0
				next probe 1
				next probe 2
				miss 0
				miss 1
				next run 0
				next run 1
				finished 0 failed
				is 3 skipped
				is 4 skipped
				is 5 cancelled
				next stop 1
				next stop 2
				next ended 3
				next ended 4
				next ended 5
				next -
				not done
				finished 1 cancelled
				miss 2
				next ended 2
				is 2 cancelled
				next -
				done`,
		}, {
			name:   "a queued node is cancelled with the rest",
			config: sched.Config{Slots: 1},
			nodes:  nodes{after(), after()},
			lines: `
				next probe 0
				next probe 1
				miss 0
				miss 1
				next run 0
				finished 0 failed
				next ended 1
				is 1 cancelled
				next -
				done`,
		}, {
			name:  "cancelling cancels all that waits, also downstream of what runs",
			nodes: nodes{after(), after(0)},
			lines: `
				next probe 0
				miss 0
				next run 0
				cancel
				next stop 0
				next ended 1
				is 1 cancelled
				next -
				cancel
				next -
				finished 0 succeeded
				is 0 succeeded
				next -
				done`,
		}, {
			name:  "what has ended in the meantime is not stopped",
			nodes: nodes{after(), after()},
			lines: "next probe 0 \n next probe 1 \n cancel \n hit 0 \n next stop 1 \n next - \n miss 1 \n next ended 1 \n done",
		}, {
			name:  "a probe that fails stops the run",
			nodes: nodes{after(), after(0)},
			lines: "next probe 0 \n finished 0 failed \n next ended 1 \n is 1 skipped \n next - \n done",
		}, {
			name:  "a node that is cancelled on its own stops the run",
			nodes: nodes{after(), after(0), after()},
			lines: `
				next probe 0
				miss 0
				next run 0
				finished 0 cancelled
				is 1 skipped
				is 2 cancelled
				next ended 1
				next ended 2
				done`,
		}, {
			name:  "a fan-out without elements has succeeded",
			nodes: nodes{after(), after(0)},
			lines: "next probe 0 \n expand 0 0 \n is 0 succeeded \n next ended 0 \n next probe 1",
		}, {
			name:   "a fan-out gives its slot back and ends with its elements",
			config: sched.Config{Slots: 1},
			nodes:  nodes{after(), after(0)},
			lines: `
				next probe 0
				miss 0
				next run 0
				expand 0 2
				is 0 expanded
				next probe 2
				next probe 3
				miss 2
				hit 3
				next run 2
				next -
				finished 2 succeeded
				is 0 succeeded
				next ended 0
				next probe 1`,
		}, {
			name:  "a queued node can be expanded",
			nodes: nodes{after(), after()},
			lines: `
				next probe 0
				next probe 1
				miss 0
				expand 0 1
				miss 1
				next run 1
				next probe 2
				hit 2
				next ended 0
				next -`,
		}, {
			name:  "an element that fails skips what is downstream of its fan-out",
			nodes: nodes{after(), after(0), after(1), after()},
			lines: `
				next probe 0
				expand 0 3
				next probe 4
				next probe 5
				miss 4
				next run 4
				finished 4 failed
				is 0 expanded
				is 1 skipped
				is 2 skipped
				is 3 cancelled
				is 6 cancelled
				next stop 5
				hit 5
				is 0 failed
				next ended 1
				next ended 2
				next ended 3
				next ended 6
				next ended 0
				next -
				done`,
		}, {
			name:  "a fan-out has failed when an element failed, whatever others end as later",
			nodes: nodes{after()},
			lines: `
				next probe 0
				expand 0 2
				next probe 1
				next probe 2
				finished 1 failed
				finished 2 cancelled
				is 0 failed
				next ended 0
				done`,
		}, {
			name:  "elements that are cancelled cancel their fan-out",
			nodes: nodes{after(), after(0)},
			lines: `
				next probe 0
				expand 0 2
				next probe 2
				cancel
				is 1 cancelled
				is 3 cancelled
				is 0 expanded
				hit 2
				is 0 cancelled
				next ended 1
				next ended 3
				next ended 0
				done`,
		}, {
			name:  "nothing is expanded once the run stops",
			nodes: nodes{after()},
			lines: "next probe 0 \n cancel \n next stop 0 \n expand 0 5 \n is 0 cancelled \n next ended 0 \n next - \n done",
		}, {
			name:  "an element may be a fan-out",
			nodes: nodes{after(), after(0)},
			lines: `
				next probe 0
				expand 0 1
				next probe 2
				expand 2 1
				next probe 3
				miss 3
				next run 3
				finished 3 failed
				is 2 failed
				is 0 failed
				is 1 skipped
				next ended 1
				next ended 2
				next ended 0
				done`,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			script(t, test.nodes.start(test.config), test.lines)
		})
	}
}

func TestCause(t *testing.T) {
	s := nodes{after(), after()}.start(sched.Config{})
	if s.Cause() != nil {
		t.Fatalf("a run that goes on has the cause %v", s.Cause())
	}
	script(t, s, "next probe 0 \n next probe 1 \n finished 1 failed")
	s.Cancel(errInterrupted)
	var failed *sched.NodeError
	if !errors.As(s.Cause(), &failed) || *failed != (sched.NodeError{Node: 1, State: sched.Failed}) {
		t.Errorf("the cause is %v, want the first one: node 1", s.Cause())
	}

	s = nodes{after()}.start(sched.Config{})
	script(t, s, "next probe 0 \n cancel \n finished 0 failed")
	if !errors.Is(s.Cause(), errInterrupted) {
		t.Errorf("the cause is %v, want the first one: %v", s.Cause(), errInterrupted)
	}
}

func TestCriticalPathLeft(t *testing.T) {
	s := nodes{after().takes(10 * time.Second), after(0).takes(time.Second), after(0)}.start(sched.Config{})
	left := func(elapsed, want time.Duration) {
		t.Helper()
		got := s.CriticalPathLeft(func(sched.NodeID) time.Duration { return elapsed })
		if got != want {
			t.Errorf("after %v: %v left, want %v", elapsed, got, want)
		}
	}
	if got := s.CriticalPathLeft(nil); got != 11*time.Second {
		t.Errorf("at first: %v left", got)
	}
	script(t, s, "next probe 0 \n miss 0 \n next run 0")
	left(4*time.Second, 7*time.Second)
	left(time.Minute, time.Second) // it takes longer than last time
	script(t, s, "expand 0 2")
	left(0, time.Second+time.Millisecond)
	script(t, s, "next probe 3 \n hit 3 \n next probe 4 \n hit 4")
	left(0, time.Second)
	script(t, s, "next ended 0 \n next probe 1 \n hit 1")
	left(0, time.Millisecond)
	script(t, s, "next probe 2 \n hit 2")
	left(0, 0)

	s = nodes{after().takes(time.Second), after(0).takes(time.Hour)}.start(sched.Config{})
	script(t, s, "next probe 0 \n miss 0 \n next run 0 \n cancel")
	left(0, time.Second) // nothing follows
	left(time.Millisecond, 999*time.Millisecond)
}

// TestFault holds that a call which the drawing does not allow names the call, the node and its state.
func TestFault(t *testing.T) {
	tests := []struct {
		name string
		call func(s *sched.Scheduler) // node 0 has succeeded, 1 is probing, 2 waits
		want string
	}{
		{"hit", func(s *sched.Scheduler) { s.Hit(0) }, "Hit(node 0): the node is succeeded"},
		{"miss", func(s *sched.Scheduler) { s.Miss(2) }, "Miss(node 2): the node is waiting"},
		{"succeeded without a run", func(s *sched.Scheduler) { s.Finished(1, sched.Succeeded) }, "Finished(node 1): the node is probing"},
		{"finished twice", func(s *sched.Scheduler) { s.Finished(0, sched.Succeeded) }, "Finished(node 0): the node is succeeded"},
		{"not an outcome", func(s *sched.Scheduler) { s.Finished(1, sched.Skipped) }, "Finished(node 1): skipped is not an outcome"},
		{"expand", func(s *sched.Scheduler) { s.Expand(2, nil) }, "Expand(node 2): the node is waiting"},
		{"no such node", func(s *sched.Scheduler) { s.State(9) }, "State(node 9): there are 3 nodes"},
		{"cancel without a cause", func(s *sched.Scheduler) { s.Cancel(nil) }, "Cancel without a cause"},
		{"started twice", func(s *sched.Scheduler) { s.Start() }, "called twice"},
		{"node after start", func(s *sched.Scheduler) { s.AddNode(nil, 0) }, "AddNode after Start"},
		{"next before start", func(*sched.Scheduler) { sched.New(sched.Config{}).Next() }, "Next before Start"},
		{"hit before start", func(*sched.Scheduler) { sched.New(sched.Config{}).Hit(0) }, "Hit(node 0) before Start"},
		{"cancel before start", func(*sched.Scheduler) { sched.New(sched.Config{}).Cancel(errInterrupted) }, "Cancel before Start"},
		{"forward edge", func(*sched.Scheduler) { sched.New(sched.Config{}).AddNode([]sched.NodeID{0}, 0) }, "node 0 cannot depend on node 0"},
		{"negative bound", func(*sched.Scheduler) { sched.New(sched.Config{Slots: -1}) }, "negative bound"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := nodes{after(), after(0), after(1)}.start(sched.Config{})
			script(t, s, "next probe 0 \n miss 0 \n next run 0 \n finished 0 succeeded \n next probe 1")
			defer func() {
				if got := fmt.Sprint(recover()); !strings.Contains(got, test.want) {
					t.Errorf("it panics with %q, want %q", got, test.want)
				}
			}()
			test.call(s)
		})
	}
}

func TestNames(t *testing.T) {
	if got := fmt.Sprint(sched.State(200), sched.Kind(200)); got != "state(200) kind(200)" {
		t.Errorf("unknown ones are called %s", got)
	}
	if got := (&sched.NodeError{Node: 7, State: sched.Failed}).Error(); got != "node 7 failed" {
		t.Errorf("the error says %q", got)
	}
}
