package local

import (
	"math"

	"github.com/towpath/towpath/internal/executor"
	"github.com/towpath/towpath/internal/sandbox"
)

// limit makes the group that holds the limits of a command, and returns those that each of its processes is held to since no group can hold them.
func (e *Executor) limit(l executor.Limits) (sandbox.Limits, *sandbox.Group, error) {
	each := sandbox.Limits{FileBytes: l.OutputBytes}
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

// exceededOf names the limit that a command has met, where it has failed and none is known yet.
func exceededOf(group *sandbox.Group, r executor.Result, o executor.Options) string {
	switch {
	case r.Exceeded != "" || r.Signal == "" && o.Accepts(r.ExitCode):
		return r.Exceeded
	case r.Signal == "SIGXFSZ" && o.Limits.OutputBytes > 0:
		return exceededOutput
	case group.OutOfMemory():
		return "memory"
	case group.OutOfPIDs():
		return "pids"
	}
	return ""
}
