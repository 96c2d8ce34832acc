package local

import "github.com/towpath/towpath/internal/executor"

// Gaps implements executor.Executor.
func (e *Executor) Gaps() []executor.Gap {
	if e.sandbox != nil {
		return nil
	}
	gap := executor.Gap{What: "steps see the machine's files, network and processes", Why: "that was asked for", Weak: true}
	if e.refused != nil {
		gap.Why, gap.Remedy = e.refused.Why, e.refused.Remedy
	}
	return []executor.Gap{gap}
}
