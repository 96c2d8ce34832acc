// Package protocol is what the engine and an SDK have in common: the messages
// of SPEC.md as Go types, canonical JSON, the plan, and Conn, which carries
// messages over a pair of pipes.
//
// Start at Conn to see how a connection behaves, at Plan to see what a pipeline
// program declares, and at Canonicalize to see what digests are taken of.
//
// This room knows neither how a stage is scheduled, executed or cached nor how
// a pipeline is written. It imports the standard library only, because every
// pipeline program links it, and holds no state besides that of a Conn.
package protocol

// Version is the version of the protocol that this package speaks.
const Version = 1

// The limits of section 8. Sizes are in bytes.
const (
	MaxFrame     = 64 << 20 // a frame, without its length
	MaxNesting   = 64       // arrays and objects around the innermost value of a canonical document
	MaxValue     = 4 << 20  // the value of a stage, in canonical JSON
	MaxStages    = 200_000  // stages of a plan; elements of a fan-out
	MaxStageName = 300      // the name of a stage
	MaxFunction  = 100      // the name of a function
	MaxStepText  = 1 << 20  // args and env of a step, together
	MaxMessage   = 64 << 10 // the message of a log line; message, hint and trace of an error
	MaxFields    = 64 << 10 // the fields of a log line, in canonical JSON
	MaxOutputs   = 20_000   // entries that the outputs of a step match
	MaxOpen      = 10_000   // open requests of a worker
	MaxChunk     = 1 << 20  // bytes that one file.read or blob.append carries
	MaxEntries   = 10_000   // entries that one directory.list returns
)
