// Package optionals declares a pipeline that pipeline.py declares too: outputs that go into inputs which may be missing.
package optionals

import (
	"context"

	"github.com/towpath/towpath"
)

type buildIn struct {
	Src towpath.Ref[*towpath.Directory]
}

type findIn struct {
	Binary towpath.Ref[*towpath.File]
	Cache  towpath.Ref[*towpath.Directory]
}

type showIn struct {
	Found towpath.Ref[*string]
	Count *int
	Ratio *float64
}

func build(context.Context, buildIn) (out towpath.File, err error) { return }
func find(context.Context, findIn) (out *string, err error)        { return }
func show(_ context.Context, in showIn) (*string, error)           { return in.Found.Get(), nil }

// Pipeline declares the stages.
func Pipeline(p *towpath.Pipeline) {
	binary := towpath.Stage(p, "build", build, buildIn{Src: towpath.Optional(p.Source("src"))})
	found := towpath.Stage(p, "find", find, findIn{Binary: towpath.Optional(binary)})
	towpath.Stage(p, "show", show, showIn{Found: found, Count: new(0)})
}
