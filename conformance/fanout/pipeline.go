// Package fanout declares a pipeline that pipeline.py declares too: stages that are called once for each element of a list that another returns.
package fanout

import (
	"context"

	"github.com/towpath/towpath"
)

type planIn struct {
	Src towpath.Ref[towpath.Directory]
}

type testIn struct {
	Name    towpath.Ref[string]
	Src     towpath.Ref[towpath.Directory]
	Verbose bool
}

type shardIn struct {
	Name towpath.Ref[string]
	Half int
}

type mergeIn struct {
	Reports towpath.Ref[[]towpath.TestReport]
	Halves  towpath.Ref[[]towpath.File]
}

func plan(context.Context, planIn) (out []string, err error)           { return }
func test(context.Context, testIn) (out towpath.TestReport, err error) { return }
func shard(context.Context, shardIn) (out towpath.File, err error)     { return }
func merge(context.Context, mergeIn) (out string, err error)           { return }

// Pipeline declares the stages.
func Pipeline(p *towpath.Pipeline) {
	src := p.Source("tests")
	names := towpath.Stage(p, "plan", plan, planIn{Src: src})
	reports := towpath.Stage(p, "test", test, testIn{Name: towpath.Each(names), Src: src})
	halves := []towpath.Ref[towpath.File]{
		towpath.Stage(p, "shard", shard, shardIn{Name: towpath.Each(names), Half: 0}, towpath.Bind("half")),
		towpath.Stage(p, "shard", shard, shardIn{Name: towpath.Each(names), Half: 1}, towpath.Bind("half")),
	}
	towpath.Stage(p, "merge", merge, mergeIn{Reports: towpath.Gather(reports), Halves: towpath.Gather(halves...)})
}
