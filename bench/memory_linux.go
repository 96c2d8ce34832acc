package main

import (
	"fmt"
	"os"
	"strings"
)

// peakMemory returns the most memory that this process has had resident. It is not taken from getrusage, whose maximum a process inherits from
// the one that it was started by.
func peakMemory() (int64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, fmt.Errorf("peak memory: %w", err)
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			var kilobytes int64
			if _, err := fmt.Sscanf(value, "%d kB", &kilobytes); err != nil {
				return 0, fmt.Errorf("peak memory: %q: %w", line, err)
			}
			return kilobytes << 10, nil
		}
	}
	return 0, fmt.Errorf("peak memory: /proc/self/status does not tell it")
}
