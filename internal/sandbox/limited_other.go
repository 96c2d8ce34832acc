//go:build !linux && !darwin

package sandbox

import (
	"os"
	"os/exec"
)

// NotLimited returns which of "cpu", "memory" and "pids" Limit cannot hold.
func NotLimited() []string { return []string{"cpu", "memory", "pids"} }

// Limited is a command that is held to no limits on this system.
type Limited struct{}

// Limit changes nothing.
func Limit(*exec.Cmd, Limits, []*os.File) (*Limited, error) { return &Limited{}, nil }

// Close does nothing.
func (*Limited) Close() {}

// Started does nothing.
func (*Limited) Started() error { return nil }

func mainIfLimited() {}
