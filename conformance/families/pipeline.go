// Package families declares a pipeline that pipeline.py declares too: waiting for families: of bound stages, with and without a member of their own name.
package families

import (
	"context"

	"github.com/towpath/towpath"
)

type testIn struct {
	Shard int
}

type buildIn struct {
	OS string
}

type bundleIn struct {
	Native towpath.Ref[towpath.File]
	Others towpath.Ref[[]towpath.File]
	Shards towpath.Ref[[]towpath.None]
}

type publishIn struct {
	Bundle towpath.Ref[towpath.File]
}

func test(context.Context, testIn) (out towpath.None, err error)       { return }
func build(context.Context, buildIn) (out towpath.File, err error)     { return }
func bundle(context.Context, bundleIn) (out towpath.File, err error)   { return }
func publish(context.Context, publishIn) (out towpath.None, err error) { return }
func notify(context.Context, struct{}) (out towpath.None, err error)   { return }

// Pipeline declares the stages.
func Pipeline(p *towpath.Pipeline) {
	var tests []towpath.Ref[towpath.None]
	for shard := range 3 {
		tests = append(tests, towpath.Stage(p, "test", test, testIn{Shard: shard}, towpath.Bind("shard")))
	}
	native := towpath.Stage(p, "build", build, buildIn{OS: "linux"})
	windows := towpath.Stage(p, "build", build, buildIn{OS: "windows"}, towpath.Bind("os"))
	darwin := towpath.Stage(p, "build", build, buildIn{OS: "darwin"}, towpath.Bind("os"))
	bundled := towpath.Stage(p, "bundle", bundle, bundleIn{
		Native: native, Others: towpath.Gather(windows, darwin), Shards: towpath.Gather(tests...),
	})
	published := towpath.Effect(p, "publish", publish, publishIn{Bundle: bundled},
		towpath.After(towpath.Gather(tests...), native, windows, darwin))
	towpath.Effect(p, "notify", notify, struct{}{}, towpath.After(tests[2], published, tests[2]))
}
