//go:build race

package uitest

// RaceEnabled tells whether the race detector slows the tests down.
const RaceEnabled = true
