package local

import (
	"math"

	"github.com/towpath/towpath/internal/executor"
	"github.com/towpath/towpath/internal/sandbox"
)

// limit makes the group that holds the limits of a command, and returns those that each of its processes is held to since no group can hold them.
func (e *Executor) limit(l executor.Limits) (sandbox.Limits, *sandbox.Group, error) {
	var each sandbox.Limits
	if l.CPUs == 0 && l.MemoryBytes == 0 && l.PIDs == 0 {
		return each, &sandbox.Group{}, nil
	}
	group, err := e.groups().New(sandbox.GroupLimits{CPUs: l.CPUs, MemoryBytes: l.MemoryBytes, PIDs: l.PIDs})
	if err != nil {
		return each, nil, err
	}
	if !group.Holds("memory") {
		each.MemoryBytes = l.MemoryBytes
	}
	if !group.Holds("pids") {
		each.Processes = l.PIDs
	}
	if !group.Holds("cpu") {
		each.CPUs = int(math.Ceil(l.CPUs))
	}
	return each, group, nil
}

// exceededOf names the limit that a command has met, also where it went on: what it has made then is not what it makes otherwise.
func exceededOf(group *sandbox.Group, r executor.Result) string {
	switch {
	case r.Exceeded != "":
		return r.Exceeded
	case group.OutOfMemory():
		return "memory"
	case group.OutOfPIDs():
		return "pids"
	}
	return ""
}
