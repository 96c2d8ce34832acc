//go:build !linux

package sandbox

// Groups make no control groups on this system.
type Groups struct{}

// OpenGroups returns Groups that make none.
func OpenGroups() *Groups { return &Groups{} }

// Missing returns everything.
func (*Groups) Missing() []string { return []string{"cpu", "memory", "pids"} }
