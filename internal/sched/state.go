package sched

import "fmt"

// State is where a node stands. The package comment draws how they follow each other.
type State uint8

const (
	// Waiting is the initial state: not every node that it depends on has succeeded, or Next has not handed it out yet.
	Waiting State = iota

	// Probing: the inputs are there, and the engine computes the node's key and looks the caches up. It takes no slot.
	Probing

	// Queued: nothing was found and the node waits for a slot.
	Queued

	// Running: the engine does the node's work. It takes a slot.
	Running

	// Expanded: the node turned out to be a fan-out and waits for its elements. It takes no slot.
	Expanded

	// Succeeded: the work was done, or every element of the fan-out succeeded or was cached.
	Succeeded

	// Cached: an earlier result served.
	Cached

	// Failed: the work, or that of an element, was done and failed.
	Failed

	// Cancelled: the run stopped before the node was done, for a reason that is not upstream of it.
	Cancelled

	// Skipped: something upstream did not succeed, so that the node has no inputs.
	Skipped

	numStates = iota
)

// Final tells whether a node in this state stays there.
func (s State) Final() bool { return s >= Succeeded }

// Good tells whether the nodes that depend on one in this state may go on.
func (s State) Good() bool { return s == Succeeded || s == Cached }

// String returns the state's name in lower case.
func (s State) String() string {
	names := [numStates]string{
		"waiting", "probing", "queued", "running", "expanded", "succeeded", "cached", "failed", "cancelled", "skipped",
	}
	if int(s) >= len(names) {
		return fmt.Sprintf("state(%d)", s)
	}
	return names[s]
}

// Counts holds the number of nodes in each state: counts[Running].
type Counts [numStates]int

// Total returns the number of nodes.
func (c Counts) Total() int {
	total := 0
	for _, n := range c {
		total += n
	}
	return total
}

// Final returns the number of nodes that have ended.
func (c Counts) Final() int {
	return c[Succeeded] + c[Cached] + c[Failed] + c[Cancelled] + c[Skipped]
}
