//go:build !linux

package main

import (
	"errors"
	"runtime"
)

// peakMemory is not known here.
func peakMemory() (int64, error) {
	return 0, errors.New("peak memory is not measured on " + runtime.GOOS)
}
