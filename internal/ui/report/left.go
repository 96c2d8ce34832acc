package report

import (
	"time"
)

// Left estimates how long the run still takes: the longest way through the stages that are not done, by what each took when it last ran. It is
// sure when that is known of all of them and none on that way has taken longer already; otherwise the run takes at least that long.
func (r *Run) Left(now time.Time) (left time.Duration, sure bool) {
	if !r.sorted {
		r.sort()
	}
	known := true
	sure = true
	for _, s := range r.order {
		s.left, s.late = 0, false
		if s.Status == Done {
			continue
		}
		for _, d := range s.deps {
			if d.left > s.left || d.left == s.left && d.late {
				s.left, s.late = d.left, d.late
			}
		}
		own := s.Expected
		known = known && own > 0
		if s.Status == Running {
			own -= max(now.Sub(s.Started), 0)
		}
		s.late = s.late || own < 0
		s.left += max(own, 0)
		if s.left > left {
			left, sure = s.left, !s.late
		}
	}
	return left, sure && known
}

// sort puts every stage behind those that it depends on. What lies on a cycle, which no plan has, comes in any order.
func (r *Run) sort() {
	seen := make(map[*Stage]bool, len(r.order))
	sorted := make([]*Stage, 0, len(r.order))
	type visit struct {
		stage *Stage
		next  int
	}
	var stack []visit
	for _, root := range r.order {
		if seen[root] {
			continue
		}
		seen[root] = true
		stack = append(stack, visit{stage: root})
		for len(stack) > 0 {
			top := &stack[len(stack)-1]
			if top.next == len(top.stage.deps) {
				sorted = append(sorted, top.stage)
				stack = stack[:len(stack)-1]
				continue
			}
			dep := top.stage.deps[top.next]
			top.next++
			if !seen[dep] {
				seen[dep] = true
				stack = append(stack, visit{stage: dep})
			}
		}
	}
	r.order, r.sorted = sorted, true
}
