// Package fanout_gather declares a pipeline that pipeline.py declares too: fanning out over what was gathered and over a list that is known.
package fanout_gather

import (
	"context"

	"github.com/towpath/towpath"
)

type buildIn struct {
	OS string
}

type binaryIn struct {
	Binary towpath.Ref[towpath.File]
}

type probeIn struct {
	Ratio towpath.Ref[float64]
	Name  string
}

type doneIn struct {
	Verified towpath.Ref[[]bool]
	Probes   towpath.Ref[[][]float64]
	None     towpath.Ref[[]string]
}

func build(context.Context, buildIn) (out towpath.File, err error) { return }
func sign(context.Context, binaryIn) (out towpath.File, err error) { return }
func verify(context.Context, binaryIn) (out bool, err error)       { return }
func probe(context.Context, probeIn) (out []float64, err error)    { return }
func done(context.Context, doneIn) (out towpath.None, err error)   { return }

// Pipeline declares the stages.
func Pipeline(p *towpath.Pipeline) {
	linux := towpath.Stage(p, "build", build, buildIn{OS: "linux"}, towpath.Bind("os"))
	darwin := towpath.Stage(p, "build", build, buildIn{OS: "darwin"}, towpath.Bind("os"))
	signed := towpath.Stage(p, "sign", sign, binaryIn{Binary: towpath.Each(towpath.Gather(linux, darwin))})
	verified := towpath.Stage(p, "verify", verify, binaryIn{Binary: towpath.Each(towpath.Gather(signed))})
	probes := towpath.Stage(p, "probe", probe, probeIn{Ratio: towpath.Each(towpath.Value([]float64{1, 0.5, 2})), Name: "a"})
	towpath.Stage(p, "done", done, doneIn{
		Verified: towpath.Gather(verified), Probes: towpath.Gather(probes), None: towpath.Gather[string](),
	})
}
