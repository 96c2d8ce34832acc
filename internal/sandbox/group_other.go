//go:build !linux

package sandbox

import "os"

// Groups make no control groups on this system.
type Groups struct{}

// OpenGroups returns Groups that make none.
func OpenGroups() *Groups { return &Groups{} }

// Missing returns everything.
func (*Groups) Missing() []string { return []string{"cpu", "memory", "pids"} }

// GroupLimits are held by no group on this system.
type GroupLimits struct {
	CPUs        float64
	MemoryBytes int64
	PIDs        int64
}

// New returns a group that holds nothing.
func (*Groups) New(GroupLimits) (*Group, error) { return &Group{}, nil }

// Group holds nothing on this system.
type Group struct{}

// Files returns none.
func (*Group) Files() []*os.File { return nil }

// Holds returns false.
func (*Group) Holds(string) bool { return false }

// OutOfMemory returns false.
func (*Group) OutOfMemory() bool { return false }

// OutOfPIDs returns false.
func (*Group) OutOfPIDs() bool { return false }

// Close does nothing.
func (*Group) Close() error { return nil }
