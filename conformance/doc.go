// Package conformance holds that a pipeline means the same in every language.
//
// Each folder has one pipeline in every language that there is an SDK for, the
// plan that all of them have to declare, to the byte, and, where its stages can be
// called without an engine, calls with what they return. The tests start the
// worker of every SDK as the engine does and know nothing of either SDK's inside.
//
// To add one: write pipeline.py and pipeline.go in a new folder, name it in
// pipelines, and write its plan with `go test ./conformance -update`, which takes
// it from the Go worker. Read the plan before you commit it.
package conformance
