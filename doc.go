// Package towpath is the Go SDK of Towpath: what a pipeline program written in
// Go imports.
//
// A pipeline is a main package whose main function calls Main with a function
// that declares stages:
//
//	func main() { towpath.Main(pipeline) }
//
//	func pipeline(p *towpath.Pipeline) {
//		src := p.Source("src", "tests")
//		towpath.Stage(p, "test", Test, TestIn{Src: src}, towpath.Retry(2))
//	}
//
//	type TestIn struct {
//		Src   towpath.Ref[towpath.Directory] // comes from somewhere else in the pipeline
//		Shard int                            // is known when the stage is declared
//	}
//
//	func Test(ctx context.Context, in TestIn) (towpath.TestReport, error) {
//		result, err := towpath.Run(ctx, towpath.Step{
//			Args:    []string{"pytest", "--junitxml=report.xml"},
//			Tree:    []towpath.Mount{{Content: in.Src.Get()}},
//			Outputs: []string{"report.xml"},
//		})
//		…
//	}
//
// The inputs of a stage are the fields of a struct, so that a wrong edge does
// not compile. An input is called as its field, in snake_case, or as a tag
// `towpath:"name"` says. What an input, an output or a field of either may be:
//
//	bool, int, int64, float64, string      and types made of them
//	File, Directory, TestReport, Secret    kept by the engine, not by the program
//	[]T, map[string]T                      lists and maps
//	*T                                     a T, or nothing
//	struct                                 a record of exported fields
//	None                                   nothing; for outputs
//
// Declaring only builds a graph. Stages run when the engine, `tow`, asks the
// program for them over the protocol; a stage in turn asks the engine to run
// commands and to keep files, with the context that it was given. The package
// knows nothing of how the engine does that, and it must stay free of imports
// besides the standard library and the protocol: it is compiled into every
// pipeline.
//
// Package towpathtest runs stages in unit tests without an engine.
package towpath
