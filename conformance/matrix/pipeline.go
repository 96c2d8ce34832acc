// Package matrix declares a pipeline that pipeline.py declares too: a matrix of two axes, gathered, and members of it that are used alone.
package matrix

import (
	"context"

	"github.com/towpath/towpath"
)

type WheelIn struct {
	Src towpath.Ref[towpath.Directory]
	OS  string
}

type TestIn struct {
	Src    towpath.Ref[towpath.Directory]
	OS     string
	Python string
	Shard  int
}

type ReportIn struct {
	Reports towpath.Ref[[]towpath.TestReport]
	Wheels  towpath.Ref[[]towpath.File]
}

type SmokeIn struct {
	First towpath.Ref[towpath.File]
	One   towpath.Ref[[]towpath.TestReport]
}

func wheel(context.Context, WheelIn) (out towpath.File, err error)     { return }
func test(context.Context, TestIn) (out towpath.TestReport, err error) { return }
func report(context.Context, ReportIn) (out string, err error)         { return }
func smoke(context.Context, SmokeIn) (out towpath.None, err error)     { return }

// Pipeline declares the stages.
func Pipeline(p *towpath.Pipeline) {
	src := p.Source("src")
	var tests []towpath.Ref[towpath.TestReport]
	var wheels []towpath.Ref[towpath.File]
	for _, os := range []string{"linux", "darwin"} {
		wheels = append(wheels, towpath.Stage(p, "wheel", wheel, WheelIn{Src: src, OS: os}, towpath.Bind("os")))
		for _, python := range []string{"3.11", "3.12"} {
			tests = append(tests, towpath.Stage(p, "test", test, TestIn{Src: src, OS: os, Python: python}, towpath.Bind("python", "os")))
		}
	}
	towpath.Stage(p, "report", report, ReportIn{Reports: towpath.Gather(tests...), Wheels: towpath.Gather(wheels...)})
	towpath.Stage(p, "smoke", smoke, SmokeIn{First: wheels[0], One: towpath.Gather(tests[0])})
}
