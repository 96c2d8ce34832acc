// Package towpathtest runs the stages of a pipeline in unit tests, without tow.
//
// New makes an engine that keeps files in memory and runs no commands: a test
// says what they would do.
//
//	func TestWheel(t *testing.T) {
//		engine := towpathtest.New(t)
//		engine.OnRun("uv", "build").Returns(towpathtest.Result{
//			Outputs: map[string]string{"dist/app.whl": "content"},
//		})
//		src := engine.Directory(map[string]string{"pyproject.toml": ""})
//		wheel, err := Wheel(engine.Context(), WheelIn{Src: towpath.Value(src)})
//		…
//	}
//
// Plan declares a pipeline through a real connection and returns its plan, so that
// a test can look at the graph.
//
// The package is for tests of pipelines. It does what the protocol says and knows
// nothing of how the engine does it: a digest of a directory, for one, is none
// that another engine would give.
package towpathtest
