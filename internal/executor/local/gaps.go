package local

import (
	"runtime"
	"slices"
	"strings"

	"github.com/towpath/towpath/internal/executor"
	"github.com/towpath/towpath/internal/sandbox"
)

// Gaps implements executor.Executor.
func (e *Executor) Gaps() []executor.Gap {
	if e.sandbox != nil {
		return limitGaps(e.groups().Missing(), nil)
	}
	gap := executor.Gap{What: "steps see the machine's files, network and processes", Why: "that was asked for", Weak: true}
	if e.refused != nil {
		gap.Why, gap.Remedy = e.refused.Why, e.refused.Remedy
	}
	return append([]executor.Gap{gap}, limitGaps(e.groups().Missing(), sandbox.NotLimited())...)
}

// limitGaps tells of the limits that no group can hold, some of which cannot be held for a process either.
func limitGaps(missing, never []string) []executor.Gap {
	var each, none []string
	for _, limit := range missing {
		if slices.Contains(never, limit) {
			none = append(none, limit)
		} else {
			each = append(each, limit)
		}
	}
	var gaps []executor.Gap
	why, remedy := "this system has no control groups", ""
	if runtime.GOOS == "linux" {
		why, remedy = "tow may not make control groups for them", "run tow in a delegated control group, such as `systemd-run --user --scope -p Delegate=yes tow …`"
	}
	if len(each) > 0 {
		gaps = append(gaps, executor.Gap{
			What: "limits of " + strings.Join(each, ", ") + " are held for each process of a step, not for all of them together", Why: why, Remedy: remedy,
		})
	}
	if len(none) > 0 {
		gaps = append(gaps, executor.Gap{What: "limits of " + strings.Join(none, ", ") + " are not held", Why: why, Remedy: remedy})
	}
	return gaps
}
