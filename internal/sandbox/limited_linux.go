package sandbox

import (
	"os"

	"golang.org/x/sys/unix"
)

// NotLimited returns which of "cpu", "memory" and "pids" Limit cannot hold: the number of processes of root is not bounded.
func NotLimited() []string {
	if os.Geteuid() == 0 {
		return []string{pidsController}
	}
	return nil
}

func thisProgram() (string, error) { return "/proc/self/exe", nil }

func chooseCPUs(n int) error {
	set := firstCPUs(n)
	if set == nil {
		return nil
	}
	return unix.SchedSetaffinity(0, set)
}

// firstCPUs returns n of the processors that this process may run on, or nil where it has no more.
func firstCPUs(n int) *unix.CPUSet {
	var all, some unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil || all.Count() <= n {
		return nil
	}
	for cpu := 0; some.Count() < n; cpu++ {
		if all.IsSet(cpu) {
			some.Set(cpu)
		}
	}
	return &some
}
