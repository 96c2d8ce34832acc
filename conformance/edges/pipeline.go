// Package edges declares a pipeline that pipeline.py declares too: stages that take the outputs of others, and plain values.
package edges

import (
	"context"

	"github.com/towpath/towpath"
)

type compileIn struct {
	Src towpath.Ref[towpath.Directory]
}

type lintIn struct {
	Src    towpath.Ref[towpath.Directory]
	Strict bool
}

type countIn struct {
	Binary towpath.Ref[towpath.File]
	Limit  int
}

type summaryIn struct {
	Binary   towpath.Ref[towpath.File]
	Findings towpath.Ref[string]
	Size     towpath.Ref[int]
	Note     string
}

func compile(context.Context, compileIn) (out towpath.File, err error) { return }
func lint(context.Context, lintIn) (out string, err error)             { return }
func count(context.Context, countIn) (out int, err error)              { return }
func summary(context.Context, summaryIn) (out string, err error)       { return }

// Pipeline declares the stages.
func Pipeline(p *towpath.Pipeline) {
	src := p.Source("src")
	binary := towpath.Stage(p, "compile", compile, compileIn{Src: src})
	findings := towpath.Stage(p, "lint", lint, lintIn{Src: src, Strict: true})
	size := towpath.Stage(p, "count", count, countIn{Binary: binary, Limit: 10})
	towpath.Stage(p, "summary", summary, summaryIn{Binary: binary, Findings: findings, Size: size})
}
