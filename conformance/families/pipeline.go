// Package families declares a pipeline that pipeline.py declares too: waiting for families: of bound stages, with and without a member of their own name.
package families

import (
	"context"

	"github.com/towpath/towpath"
)

type TestIn struct {
	Shard int
}

type BuildIn struct {
	OS string
}

type BundleIn struct {
	Native towpath.Ref[towpath.File]
	Others towpath.Ref[[]towpath.File]
	Shards towpath.Ref[[]towpath.None]
}

type PublishIn struct {
	Bundle towpath.Ref[towpath.File]
}

func test(context.Context, TestIn) (out towpath.None, err error)       { return }
func build(context.Context, BuildIn) (out towpath.File, err error)     { return }
func bundle(context.Context, BundleIn) (out towpath.File, err error)   { return }
func publish(context.Context, PublishIn) (out towpath.None, err error) { return }
func notify(context.Context, struct{}) (out towpath.None, err error)   { return }

// Pipeline declares the stages.
func Pipeline(p *towpath.Pipeline) {
	var tests []towpath.Ref[towpath.None]
	for shard := range 3 {
		tests = append(tests, towpath.Stage(p, "test", test, TestIn{Shard: shard}, towpath.Bind("shard")))
	}
	native := towpath.Stage(p, "build", build, BuildIn{OS: "linux"})
	windows := towpath.Stage(p, "build", build, BuildIn{OS: "windows"}, towpath.Bind("os"))
	darwin := towpath.Stage(p, "build", build, BuildIn{OS: "darwin"}, towpath.Bind("os"))
	bundled := towpath.Stage(p, "bundle", bundle, BundleIn{
		Native: native, Others: towpath.Gather(windows, darwin), Shards: towpath.Gather(tests...),
	})
	published := towpath.Effect(p, "publish", publish, PublishIn{Bundle: bundled},
		towpath.After(towpath.Gather(tests...), native, windows, darwin))
	towpath.Effect(p, "notify", notify, struct{}{}, towpath.After(tests[2], published, tests[2]))
}
