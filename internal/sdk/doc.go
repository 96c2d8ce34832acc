// Package sdk is what the Go SDK shares with its test kit and hides from programs:
// how an operation finds the engine that carries it out (Call), what a program has
// read (Reads), globs, sizes, and how a pipeline is served to an engine in
// the same process (Serve).
//
// Package towpath and package towpathtest are built on it, and nothing else imports
// it. Like them it knows of the engine only what the protocol says, and imports the
// standard library and the protocol alone: it is compiled into every pipeline.
package sdk
