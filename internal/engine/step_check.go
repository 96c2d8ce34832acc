package engine

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/event"
	"github.com/towpath/towpath/internal/executor"
	"github.com/towpath/towpath/protocol"
)

const (
	// leastMemory is the smallest limit of memory: no program starts in less.
	leastMemory = 1 << 20
	// mostCPUs and mostPIDs are more than any machine has.
	mostCPUs, mostPIDs = 1 << 16, 1 << 22
)

// checkLimits refuses limits that nobody can mean.
func checkLimits(l *protocol.StepLimits) error {
	if l == nil {
		return nil
	}
	switch {
	case !(l.CPUs >= 0 && l.CPUs <= mostCPUs):
		return invalid("a step cannot be limited to %v processors: a limit is a number above 0 and at most %d", l.CPUs, mostCPUs)
	case l.Memory < 0:
		return invalid("a step cannot be limited to %d bytes of memory: a limit is a number above 0", l.Memory)
	case l.Memory > 0 && l.Memory < leastMemory:
		return invalid("a step cannot run in %d bytes of memory: the limit is in bytes, and at least %d", l.Memory, leastMemory)
	case l.PIDs < 0 || l.PIDs > mostPIDs:
		return invalid("a step cannot be limited to %d processes: a limit is a number above 0 and at most %d", l.PIDs, mostPIDs)
	case l.Output < 0:
		return invalid("a step cannot be limited to %d bytes of output: a limit is a number above 0", l.Output)
	}
	return nil
}

// limits returns what a step may use, for the executor.
func limits(l *protocol.StepLimits) executor.Limits {
	if l == nil {
		return executor.Limits{}
	}
	return executor.Limits{CPUs: l.CPUs, MemoryBytes: l.Memory, PIDs: l.PIDs, OutputBytes: l.Output}
}

// exceeded says which limit a command has met.
func exceeded(limit string, l executor.Limits) string {
	switch limit {
	case "memory":
		return fmt.Sprintf("needed more than the %s of memory that it may have", inBytes(l.MemoryBytes))
	case "pids":
		return fmt.Sprintf("started more than the %d processes and threads that it may have at once", l.PIDs)
	case "output":
		return fmt.Sprintf("printed or made more than the %s that it may", inBytes(l.OutputBytes))
	}
	return "exceeded its limit of " + limit
}

// inBytes writes a size as a person would set it: `512 MiB`, `1.5 GiB`, `10 MB`. It is exact.
func inBytes(n int64) string {
	binary, decimal := inUnits(n, 1024, "KiB", "MiB", "GiB", "TiB"), inUnits(n, 1000, "kB", "MB", "GB", "TB")
	number := func(text string) string { number, _, _ := strings.Cut(text, " "); return number }
	if len(number(decimal)) < len(number(binary)) {
		return decimal
	}
	return binary
}

// inUnits writes a size in the largest of those units that it reaches, each of which is step times the one before.
func inUnits(n int64, step float64, units ...string) string {
	value, unit := float64(n), "bytes"
	for _, u := range units {
		if value < step {
			break
		}
		value, unit = value/step, u
	}
	return strconv.FormatFloat(value, 'f', -1, 64) + " " + unit
}

// storeAction stores the messages of the step before it is run, so that what was run can be explained and looked at however it ends.
func (s *step) storeAction(ctx context.Context) error {
	action, command, _ := s.action.Encode()
	for _, b := range [][]byte{command, action} {
		if _, err := cas.PutBytes(ctx, s.o.e.c.Store, b); err != nil {
			return fmt.Errorf("store a step: %w", err)
		}
	}
	return nil
}

// warnOfGaps tells, once in a run, what this machine does not let the executor enforce although it weakens every step.
func (o *operations) warnOfGaps() {
	o.gaps.Do(func() {
		for _, g := range o.e.c.Executor.Gaps() {
			if !g.Weak {
				continue
			}
			message := g.What
			if g.Why != "" {
				message += ": " + g.Why
			}
			o.run.rec.emit(event.Warning{Message: message, Hint: g.Remedy})
		}
	})
}
