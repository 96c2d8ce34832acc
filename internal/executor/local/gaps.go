package local

import (
	"strings"

	"github.com/towpath/towpath/internal/executor"
)

// Gaps implements executor.Executor.
func (e *Executor) Gaps() []executor.Gap {
	if e.sandbox != nil {
		missing := e.groups().Missing()
		if len(missing) == 0 {
			return nil
		}
		return []executor.Gap{{
			What:   "limits of " + strings.Join(missing, ", ") + " are held for each process of a step, not for all of them together",
			Why:    "tow may not make control groups for them",
			Remedy: "run tow in a delegated control group, such as `systemd-run --user --scope -p Delegate=yes tow …`",
		}}
	}
	limits := executor.Gap{What: "limits of cpu, memory and pids are not held", Why: "only a sandbox holds them"}
	gap := executor.Gap{What: "steps see the machine's files, network and processes", Why: "that was asked for", Weak: true}
	if e.refused != nil {
		gap.Why, gap.Remedy = e.refused.Why, e.refused.Remedy
	}
	return []executor.Gap{gap, limits}
}
