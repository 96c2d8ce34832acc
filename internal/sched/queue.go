package sched

// queue is a binary heap of nodes, the one with the longest path to a sink first and the lowest ID among equals. It is
// written out, as container/heap would allocate for every node.
type queue []NodeID

func before(nodes []node, a, b NodeID) bool {
	if la, lb := nodes[a].level, nodes[b].level; la != lb {
		return la > lb
	}
	return a < b
}

func (q *queue) push(nodes []node, n NodeID) {
	h := append(*q, n)
	i := len(h) - 1
	for i > 0 {
		up := (i - 1) / 2
		if !before(nodes, n, h[up]) {
			break
		}
		h[i] = h[up]
		i = up
	}
	h[i] = n
	*q = h
}

func (q *queue) pop(nodes []node) (NodeID, bool) {
	h := *q
	if len(h) == 0 {
		return 0, false
	}
	top, last := h[0], h[len(h)-1]
	h = h[:len(h)-1]
	*q = h
	i := 0
	for {
		down := 2*i + 1
		if down >= len(h) {
			break
		}
		if right := down + 1; right < len(h) && before(nodes, h[right], h[down]) {
			down = right
		}
		if !before(nodes, h[down], last) {
			break
		}
		h[i] = h[down]
		i = down
	}
	if len(h) > 0 {
		h[i] = last
	}
	return top, true
}

// list is a first-in first-out queue that gives its memory back once it has been drained.
type list struct {
	ids  []NodeID
	head int
}

func (l *list) push(n NodeID) { l.ids = append(l.ids, n) }

func (l *list) pop() (NodeID, bool) {
	if l.head == len(l.ids) {
		*l = list{}
		return 0, false
	}
	n := l.ids[l.head]
	l.head++
	return n, true
}
