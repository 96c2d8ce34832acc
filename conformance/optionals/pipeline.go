// Package optionals declares a pipeline that pipeline.py declares too: outputs that go into inputs which may be missing.
package optionals

import (
	"context"

	"github.com/towpath/towpath"
)

type BuildIn struct {
	Src towpath.Ref[*towpath.Directory]
}

type FindIn struct {
	Binary towpath.Ref[*towpath.File]
	Cache  towpath.Ref[*towpath.Directory]
}

type ShowIn struct {
	Found towpath.Ref[*string]
	Count *int
	Ratio *float64
}

func build(context.Context, BuildIn) (out towpath.File, err error) { return }
func find(context.Context, FindIn) (out *string, err error)        { return }
func show(_ context.Context, in ShowIn) (*string, error)           { return in.Found.Get(), nil }

// Pipeline declares the stages.
func Pipeline(p *towpath.Pipeline) {
	binary := towpath.Stage(p, "build", build, BuildIn{Src: towpath.Optional(p.Source("src"))})
	found := towpath.Stage(p, "find", find, FindIn{Binary: towpath.Optional(binary)})
	towpath.Stage(p, "show", show, ShowIn{Found: found, Count: new(0)})
}
