// Package edges declares a pipeline that pipeline.py declares too: stages that take the outputs of others, and plain values.
package edges

import (
	"context"

	"github.com/towpath/towpath"
)

type CompileIn struct {
	Src towpath.Ref[towpath.Directory]
}

type LintIn struct {
	Src    towpath.Ref[towpath.Directory]
	Strict bool
}

type CountIn struct {
	Binary towpath.Ref[towpath.File]
	Limit  int
}

type SummaryIn struct {
	Binary   towpath.Ref[towpath.File]
	Findings towpath.Ref[string]
	Size     towpath.Ref[int]
	Note     string
}

func compile(context.Context, CompileIn) (out towpath.File, err error) { return }
func lint(context.Context, LintIn) (out string, err error)             { return }
func count(context.Context, CountIn) (out int, err error)              { return }
func summary(context.Context, SummaryIn) (out string, err error)       { return }

// Pipeline declares the stages.
func Pipeline(p *towpath.Pipeline) {
	src := p.Source("src")
	binary := towpath.Stage(p, "compile", compile, CompileIn{Src: src})
	findings := towpath.Stage(p, "lint", lint, LintIn{Src: src, Strict: true})
	size := towpath.Stage(p, "count", count, CountIn{Binary: binary, Limit: 10})
	towpath.Stage(p, "summary", summary, SummaryIn{Binary: binary, Findings: findings, Size: size})
}
