package plan_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/towpath/towpath/internal/plan"
	"github.com/towpath/towpath/protocol"
	"pgregory.net/rapid"
)

// drawGraph draws which stages each of up to 60 stages needs. Without cycles a stage needs only those of lower rank; ranks have nothing to do with names.
func drawGraph(t *rapid.T, cycles bool) [][]int {
	needs := make([][]int, rapid.IntRange(1, 60).Draw(t, "stages"))
	rank := rapid.Permutation(indexes(len(needs))).Draw(t, "rank")
	for i := range needs {
		for _, other := range rapid.SliceOfN(rapid.IntRange(0, len(needs)-1), 0, 5).Draw(t, "needs") {
			if cycles || rank[other] < rank[i] {
				needs[i] = append(needs[i], other)
			}
		}
	}
	return needs
}

func indexes(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

func nameOf(i int) string { return fmt.Sprintf("s%d", i) }

// draw makes a plan of a graph, with edges of every kind and some effects.
func drawPlan(t *rapid.T, graph [][]int) protocol.Plan {
	var p protocol.Plan
	p.Version = protocol.Version
	for i, ns := range graph {
		s := stage(nameOf(i))
		if rapid.IntRange(0, 5).Draw(t, "is an effect") == 0 {
			s.Kind = protocol.KindEffect
		}
		for j, need := range ns {
			name := fmt.Sprintf("in%d", j)
			switch rapid.IntRange(0, 2).Draw(t, "kind of edge") {
			case 0:
				s.Inputs = append(s.Inputs, input(name, typ("int"), outOf(nameOf(need))))
			case 1:
				s.Inputs = append(s.Inputs, input(name, protocol.ListOf(typ("int")), gather(nameOf(need), nameOf(need))))
			default:
				s.After = append(s.After, nameOf(need))
			}
		}
		p.Stages = append(p.Stages, s)
	}
	return p
}

func TestRandomGraphsWithoutCyclesAreSortedAndSelectIsClosed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		graph := drawGraph(t, false)
		p := drawPlan(t, graph)
		g, err := plan.New(p, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(g.Stages) != len(graph) {
			t.Fatalf("%d stages of %d", len(g.Stages), len(graph))
		}
		for i, s := range g.Stages {
			if s.Index != i || g.Find(s.Name) != s {
				t.Fatalf("%s has the index %d at %d", s.Name, s.Index, i)
			}
			last := -1
			for _, need := range s.Needs {
				if need.Index >= i || need.Index <= last {
					t.Fatalf("%s at %d needs %s at %d, after %d", s.Name, i, need.Name, need.Index, last)
				}
				last = need.Index
			}
		}
		checkSelect(t, g, graph, rapid.SliceOfN(rapid.IntRange(0, len(graph)-1), 0, 4).Draw(t, "targets"))
	})
}

// checkSelect compares what is selected with the stages that can be reached from the targets.
func checkSelect(t *rapid.T, g *plan.Graph, graph [][]int, targets []int) {
	reached := map[int]bool{}
	var reach func(i int)
	reach = func(i int) {
		if !reached[i] {
			reached[i] = true
			for _, need := range graph[i] {
				reach(need)
			}
		}
	}
	effect := func(i int) bool {
		reached = map[int]bool{}
		reach(i)
		for j := range reached {
			if g.Find(nameOf(j)).Effect() {
				return true
			}
		}
		return false
	}
	want := map[int]bool{}
	var texts []string
	for _, i := range targets {
		texts = append(texts, nameOf(i))
	}
	if len(targets) == 0 {
		for i := range graph {
			want[i] = !effect(i)
		}
	} else {
		reached = map[int]bool{}
		for _, i := range targets {
			reach(i)
		}
		want = reached
	}
	got, err := g.Select(texts)
	if err != nil {
		for i, is := range want {
			if is {
				t.Fatalf("Select = %v, want %s among others", err, nameOf(i))
			}
		}
		return
	}
	selected := map[string]bool{}
	for _, s := range got {
		for _, need := range s.Needs {
			if !selected[need.Name] {
				t.Fatalf("%s is selected, and %s, which it needs, is not selected before it", s.Name, need.Name)
			}
		}
		selected[s.Name] = true
	}
	for i := range graph {
		if selected[nameOf(i)] != want[i] {
			t.Fatalf("%s is selected: %t, want %t", nameOf(i), selected[nameOf(i)], want[i])
		}
	}
}

func TestRandomGraphsAreRefusedWhereTheyHaveACycleWhichIsNamed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		graph := drawGraph(t, true)
		g, err := plan.New(drawPlan(t, graph), nil)
		if err == nil {
			if len(g.Stages) != len(graph) {
				t.Fatalf("%d stages of %d", len(g.Stages), len(graph))
			}
			return // that it is sorted is held by the other test
		}
		var pe *plan.Error
		if !errors.As(err, &pe) {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, problem := range pe.Problems {
			path, ok := strings.CutPrefix(problem.Text, "stages need each other in a cycle: ")
			if !ok {
				t.Fatal(problem)
			}
			if strings.Contains(path, "more)") {
				continue
			}
			names := strings.Split(path, " needs ")
			if len(names) < 2 || names[0] != names[len(names)-1] {
				t.Fatalf("no cycle: %s", path)
			}
			for i, name := range names[1:] {
				if !needsDirectly(graph, names[i], name) {
					t.Fatalf("%s does not need %s, as is said in: %s", names[i], name, path)
				}
				if seen[name] {
					t.Fatalf("%s is in two of the cycles:\n%v", name, err)
				}
				seen[name] = true
			}
		}
	})
}

func needsDirectly(graph [][]int, a, b string) bool {
	for i, needs := range graph {
		for _, need := range needs {
			if nameOf(i) == a && nameOf(need) == b {
				return true
			}
		}
	}
	return false
}
