// Package sources declares a pipeline that pipeline.py declares too: files of the work tree, with patterns that take away and both roots.
package sources

import (
	"context"

	"github.com/towpath/towpath"
)

type buildIn struct {
	Src   towpath.Ref[towpath.Directory]
	Proto towpath.Ref[towpath.Directory]
	Docs  towpath.Ref[towpath.Directory]
	Again towpath.Ref[towpath.Directory]
	Here  towpath.Ref[towpath.Directory]
}

func build(context.Context, buildIn) (out towpath.Directory, err error) { return }

// Pipeline declares the stages.
func Pipeline(p *towpath.Pipeline) {
	towpath.Stage(p, "build", build, buildIn{
		Src:   p.Source("src", "cmd/**/*.go", "!**/*_test.go", "!src/generated"),
		Proto: p.RepositorySource("proto/**/*.{proto,yaml}"),
		Docs:  p.Source("docs/[a-m]*.md", "docs/déjà vu?.md"),
		Again: p.Source("src", "src"),
		Here:  p.Source("."),
	})
}
