package sdk

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// ParseSize reads a number of bytes as SPEC.md, section 5, has it: "4096", "512MiB",
// "2GB".
func ParseSize(text string) (int64, error) {
	unit := strings.TrimLeft(text, "0123456789")
	factor := unitOf(unit)
	if factor == 0 || len(unit) == len(text) {
		return 0, fmt.Errorf(`%q is no size: write a whole number of bytes, or one with a unit, such as "512MiB" or "2GB"`, text)
	}
	n, err := strconv.ParseInt(strings.TrimSuffix(text, unit), 10, 64)
	if err != nil || n > math.MaxInt64/factor {
		return 0, fmt.Errorf("%q is too large: the most is %d bytes", text, int64(math.MaxInt64))
	}
	if n == 0 {
		return 0, fmt.Errorf("%q is no limit: leave it out where there is none", text)
	}
	return n * factor, nil
}

// unitOf returns how many bytes a unit has, or 0 where there is no such unit.
func unitOf(unit string) int64 {
	switch unit {
	case "", "B":
		return 1
	case "kB", "KB":
		return 1e3
	case "MB":
		return 1e6
	case "GB":
		return 1e9
	case "TB":
		return 1e12
	case "KiB":
		return 1 << 10
	case "MiB":
		return 1 << 20
	case "GiB":
		return 1 << 30
	case "TiB":
		return 1 << 40
	}
	return 0
}
