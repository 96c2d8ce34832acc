// Package reports declares a pipeline that pipeline.py declares too: test reports, alone, in lists and in maps.
package reports

import (
	"context"

	"github.com/towpath/towpath"
)

type unitIn struct {
	Src towpath.Ref[towpath.Directory]
}

type slowIn struct {
	Src   towpath.Ref[towpath.Directory]
	Level int
}

type collectIn struct {
	Reports towpath.Ref[[]towpath.TestReport]
}

type renderIn struct {
	Reports  towpath.Ref[map[string]towpath.TestReport]
	Baseline *towpath.TestReport
}

func unit(context.Context, unitIn) (out towpath.TestReport, err error) { return }
func slow(context.Context, slowIn) (out towpath.TestReport, err error) { return }

func collect(_ context.Context, in collectIn) (map[string]towpath.TestReport, error) {
	out := make(map[string]towpath.TestReport)
	for _, report := range in.Reports.Get() {
		out[report.JUnit.Name()] = report
	}
	return out, nil
}

func render(context.Context, renderIn) (out towpath.File, err error) { return }

// Pipeline declares the stages.
func Pipeline(p *towpath.Pipeline) {
	src := p.Source("src", "tests")
	reports := []towpath.Ref[towpath.TestReport]{towpath.Stage(p, "unit", unit, unitIn{Src: src})}
	for _, level := range []int{1, 2} {
		reports = append(reports, towpath.Stage(p, "slow", slow, slowIn{Src: src, Level: level}, towpath.Bind("level")))
	}
	collected := towpath.Stage(p, "collect", collect, collectIn{Reports: towpath.Gather(reports...)})
	towpath.Stage(p, "render", render, renderIn{Reports: collected})
}
