// Package params declares a pipeline that pipeline.py declares too: parameters of every type, with and without a default, a variable and a description.
package params

import (
	"context"

	"github.com/towpath/towpath"
)

type buildIn struct {
	Name    towpath.Ref[string]
	Jobs    towpath.Ref[int]
	Ratio   towpath.Ref[float64]
	Debug   towpath.Ref[bool]
	Limit   towpath.Ref[float64]
	Count   towpath.Ref[int]
	Force   towpath.Ref[bool]
	Channel towpath.Ref[string]
}

type publishIn struct {
	Index   towpath.Ref[string]
	Channel towpath.Ref[string]
	Big     towpath.Ref[int64]
}

func build(context.Context, buildIn) (out string, err error)           { return }
func publish(context.Context, publishIn) (out towpath.None, err error) { return }

// Pipeline declares the stages.
func Pipeline(p *towpath.Pipeline) {
	channel := towpath.Param[string](p, "release_channel", towpath.Default("beta"), towpath.Doc("Where the\n   release goes."))
	towpath.Stage(p, "build", build, buildIn{
		Name:    towpath.Param[string](p, "name"),
		Jobs:    towpath.Param[int](p, "jobs", towpath.Default(4), towpath.Env("BUILD_JOBS")),
		Ratio:   towpath.Param[float64](p, "ratio", towpath.Default(1), towpath.Doc("How much of it.")),
		Debug:   towpath.Param[bool](p, "debug", towpath.Default(false), towpath.Env("BUILD_DEBUG"), towpath.Doc("Keep symbols.")),
		Limit:   towpath.Param[float64](p, "limit"),
		Count:   towpath.Param[int](p, "count"),
		Force:   towpath.Param[bool](p, "force"),
		Channel: channel,
	})
	towpath.Effect(p, "publish", publish, publishIn{
		Index:   towpath.Param[string](p, "index", towpath.Default(""), towpath.Env("PUBLISH_INDEX")),
		Channel: channel,
		Big:     towpath.Param[int64](p, "big", towpath.Default(int64(9007199254740993))),
	})
}
