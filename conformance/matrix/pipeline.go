// Package matrix declares a pipeline that pipeline.py declares too: a matrix of two axes, gathered, and members of it that are used alone.
package matrix

import (
	"context"

	"github.com/towpath/towpath"
)

type wheelIn struct {
	Src towpath.Ref[towpath.Directory]
	OS  string
}

type testIn struct {
	Src    towpath.Ref[towpath.Directory]
	OS     string
	Python string
	Shard  int
}

type reportIn struct {
	Reports towpath.Ref[[]towpath.TestReport]
	Wheels  towpath.Ref[[]towpath.File]
}

type smokeIn struct {
	First towpath.Ref[towpath.File]
	One   towpath.Ref[[]towpath.TestReport]
}

func wheel(context.Context, wheelIn) (out towpath.File, err error)     { return }
func test(context.Context, testIn) (out towpath.TestReport, err error) { return }
func report(context.Context, reportIn) (out string, err error)         { return }
func smoke(context.Context, smokeIn) (out towpath.None, err error)     { return }

// Pipeline declares the stages.
func Pipeline(p *towpath.Pipeline) {
	src := p.Source("src")
	var tests []towpath.Ref[towpath.TestReport]
	var wheels []towpath.Ref[towpath.File]
	for _, os := range []string{"linux", "darwin"} {
		wheels = append(wheels, towpath.Stage(p, "wheel", wheel, wheelIn{Src: src, OS: os}, towpath.Bind("os")))
		for _, python := range []string{"3.11", "3.12"} {
			tests = append(tests, towpath.Stage(p, "test", test, testIn{Src: src, OS: os, Python: python}, towpath.Bind("python", "os")))
		}
	}
	towpath.Stage(p, "report", report, reportIn{Reports: towpath.Gather(tests...), Wheels: towpath.Gather(wheels...)})
	towpath.Stage(p, "smoke", smoke, smokeIn{First: wheels[0], One: towpath.Gather(tests[0])})
}
