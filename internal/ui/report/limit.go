package report

import "fmt"

// maxAlike is how many stages with the same fate are told in a line each before the rest is only counted.
const maxAlike = 10

// Limit keeps many lines of one kind from drowning the others: the first ones are shown, the rest is counted.
type Limit struct {
	// What the stages are: `cached`.
	What string

	shown, held int
}

// Show tells whether to show one more line.
func (l *Limit) Show() bool {
	if l.shown < maxAlike {
		l.shown++
		return true
	}
	l.held++
	return false
}

// Rest is `… and 980 more cached` for what was left out since it was last called, empty for nothing.
func (l *Limit) Rest() string {
	if l.held == 0 {
		return ""
	}
	n := l.held
	l.held = 0
	return fmt.Sprintf("… and %d more %s", n, l.What)
}
