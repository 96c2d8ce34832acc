// Package fanout_gather declares a pipeline that pipeline.py declares too: fanning out over what was gathered and over a list that is known.
package fanout_gather

import (
	"context"

	"github.com/towpath/towpath"
)

type BuildIn struct {
	OS string
}

type BinaryIn struct {
	Binary towpath.Ref[towpath.File]
}

type ProbeIn struct {
	Ratio towpath.Ref[float64]
	Name  string
}

type DoneIn struct {
	Verified towpath.Ref[[]bool]
	Probes   towpath.Ref[[][]float64]
	None     towpath.Ref[[]string]
}

func build(context.Context, BuildIn) (out towpath.File, err error) { return }
func sign(context.Context, BinaryIn) (out towpath.File, err error) { return }
func verify(context.Context, BinaryIn) (out bool, err error)       { return }
func probe(context.Context, ProbeIn) (out []float64, err error)    { return }
func done(context.Context, DoneIn) (out towpath.None, err error)   { return }

// Pipeline declares the stages.
func Pipeline(p *towpath.Pipeline) {
	linux := towpath.Stage(p, "build", build, BuildIn{OS: "linux"}, towpath.Bind("os"))
	darwin := towpath.Stage(p, "build", build, BuildIn{OS: "darwin"}, towpath.Bind("os"))
	signed := towpath.Stage(p, "sign", sign, BinaryIn{Binary: towpath.Each(towpath.Gather(linux, darwin))})
	verified := towpath.Stage(p, "verify", verify, BinaryIn{Binary: towpath.Each(towpath.Gather(signed))})
	probes := towpath.Stage(p, "probe", probe, ProbeIn{Ratio: towpath.Each(towpath.Value([]float64{1, 0.5, 2})), Name: "a"})
	towpath.Stage(p, "done", done, DoneIn{
		Verified: towpath.Gather(verified), Probes: towpath.Gather(probes), None: towpath.Gather[string](),
	})
}
