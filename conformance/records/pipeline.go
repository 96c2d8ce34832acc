// Package records declares a pipeline that pipeline.py declares too: records inside of lists, maps, optionals and each other.
package records

import (
	"context"

	"github.com/towpath/towpath"
)

// Tag is a record of plain values.
type Tag struct {
	Key    string
	Weight float64
}

// Empty is a record of nothing.
type Empty struct{}

// Wheel is a record of files and of what may be missing.
type Wheel struct {
	File       towpath.File
	Tags       []Tag
	ByPlatform map[string][]towpath.File
	Report     *towpath.TestReport
	Note       *string
}

// Release is a record of records.
type Release struct {
	Wheels map[string]Wheel
	Tree   towpath.Directory
	Token  towpath.Secret
	Best   *Tag
	Sizes  []*int
	Stable bool
}

type echoIn struct {
	Tag   Tag
	Tags  []Tag
	Names map[string]*string
	Ratio *float64
	Empty Empty
	Grid  [][]int
}

type buildIn struct {
	Src   towpath.Ref[towpath.Directory]
	Token towpath.Ref[towpath.Secret]
	Tag   *Tag
}

type releaseIn struct {
	Wheel towpath.Ref[Wheel]
	Token towpath.Ref[towpath.Secret]
	Src   towpath.Ref[towpath.Directory]
}

type announceIn struct {
	Release towpath.Ref[Release]
}

func echo(_ context.Context, in echoIn) (map[string][]Tag, error) {
	out := map[string][]Tag{"one": {in.Tag}, "many": in.Tags}
	for name := range in.Names {
		out[name] = nil
	}
	return out, nil
}

func build(context.Context, buildIn) (out Wheel, err error) { return }

func release(_ context.Context, in releaseIn) (Release, error) {
	wheel := in.Wheel.Get()
	return Release{
		Wheels: map[string]Wheel{wheel.File.Name(): wheel},
		Tree:   in.Src.Get(),
		Token:  in.Token.Get(),
		Best:   &wheel.Tags[0],
		Sizes:  []*int{nil, new(len(wheel.Tags))},
		Stable: wheel.Report == nil,
	}, nil
}

func announce(context.Context, announceIn) (out towpath.None, err error) { return }

// Pipeline declares the stages.
func Pipeline(p *towpath.Pipeline) {
	src, token := p.Source("src"), p.Secret("TOKEN")
	towpath.Stage(p, "echo", echo, echoIn{
		Tag:   Tag{Key: "py3", Weight: 1},
		Tags:  []Tag{{Key: "b", Weight: 0.5}, {Key: "a"}},
		Names: map[string]*string{"z": nil, "a b": new("<&>")},
		Ratio: new(3.0),
		Grid:  [][]int{{}, {1, 2}},
	})
	wheel := towpath.Stage(p, "build", build, buildIn{Src: src, Token: token})
	released := towpath.Stage(p, "release", release, releaseIn{Wheel: wheel, Token: token, Src: src})
	towpath.Stage(p, "announce", announce, announceIn{Release: released})
}
