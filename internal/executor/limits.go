package executor

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Limits bound what a command may use; zero is no limit. A command may go on when it meets one, and make something else than it makes
// without: they are part of its action.
type Limits struct {
	// CPUs is how many processors' worth of time it may use.
	CPUs float64
	// MemoryBytes is how much memory it and all that it starts may use together.
	MemoryBytes int64
	// PIDs is how many processes and threads it may have at once.
	PIDs int64
	// OutputBytes is how much it may print, and how large its outputs may be, together. What else it writes is not bounded.
	OutputBytes int64
}

// String returns the canonical text, which names only those that are set: `cpus=1.5 memory=1024 output=10 pids=3`.
func (l Limits) String() string {
	var out []string
	if l.CPUs != 0 {
		out = append(out, "cpus="+strconv.FormatFloat(l.CPUs, 'f', -1, 64))
	}
	for _, n := range []struct {
		name  string
		value int64
	}{{"memory", l.MemoryBytes}, {"output", l.OutputBytes}, {"pids", l.PIDs}} {
		if n.value != 0 {
			out = append(out, n.name+"="+strconv.FormatInt(n.value, 10))
		}
	}
	return strings.Join(out, " ")
}

// parseLimits is the inverse of String.
func parseLimits(text string) (l Limits, err error) {
	for field := range strings.FieldsSeq(text) {
		name, value, _ := strings.Cut(field, "=")
		switch name {
		case "cpus":
			l.CPUs, err = strconv.ParseFloat(value, 64)
		case "memory":
			l.MemoryBytes, err = strconv.ParseInt(value, 10, 64)
		case "output":
			l.OutputBytes, err = strconv.ParseInt(value, 10, 64)
		case "pids":
			l.PIDs, err = strconv.ParseInt(value, 10, 64)
		default:
			err = fmt.Errorf("there is no limit %q", name)
		}
		if err != nil {
			return Limits{}, err
		}
	}
	return l, nil
}

func (l Limits) check() error {
	if !(l.CPUs >= 0) || math.IsInf(l.CPUs, 0) || l.MemoryBytes < 0 || l.PIDs < 0 || l.OutputBytes < 0 {
		return &InvalidError{"limits", fmt.Sprintf("%q has one that is no number above 0", l)}
	}
	return nil
}
