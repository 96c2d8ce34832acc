// Package fanout declares a pipeline that pipeline.py declares too: stages that are called once for each element of a list that another returns.
package fanout

import (
	"context"

	"github.com/towpath/towpath"
)

type PlanIn struct {
	Src towpath.Ref[towpath.Directory]
}

type TestIn struct {
	Name    towpath.Ref[string]
	Src     towpath.Ref[towpath.Directory]
	Verbose bool
}

type ShardIn struct {
	Name towpath.Ref[string]
	Half int
}

type MergeIn struct {
	Reports towpath.Ref[[]towpath.TestReport]
	Halves  towpath.Ref[[]towpath.File]
}

func plan(context.Context, PlanIn) (out []string, err error)           { return }
func test(context.Context, TestIn) (out towpath.TestReport, err error) { return }
func shard(context.Context, ShardIn) (out towpath.File, err error)     { return }
func merge(context.Context, MergeIn) (out string, err error)           { return }

// Pipeline declares the stages.
func Pipeline(p *towpath.Pipeline) {
	src := p.Source("tests")
	names := towpath.Stage(p, "plan", plan, PlanIn{Src: src})
	reports := towpath.Stage(p, "test", test, TestIn{Name: towpath.Each(names), Src: src})
	halves := []towpath.Ref[towpath.File]{
		towpath.Stage(p, "shard", shard, ShardIn{Name: towpath.Each(names), Half: 0}, towpath.Bind("half")),
		towpath.Stage(p, "shard", shard, ShardIn{Name: towpath.Each(names), Half: 1}, towpath.Bind("half")),
	}
	towpath.Stage(p, "merge", merge, MergeIn{Reports: towpath.Gather(reports), Halves: towpath.Gather(halves...)})
}
