// Package effects declares a pipeline that pipeline.py declares too: effects and stages with every policy.
package effects

import (
	"context"
	"time"

	"github.com/towpath/towpath"
)

type checkIn struct {
	Binary towpath.Ref[towpath.File]
}

type uploadIn struct {
	Binary towpath.Ref[towpath.File]
	Bucket towpath.Ref[string]
}

type deployIn struct {
	Place towpath.Ref[string]
}

type pageIn struct {
	Text string
}

func build(context.Context, struct{}) (out towpath.File, err error)  { return }
func check(context.Context, checkIn) (out bool, err error)           { return }
func upload(context.Context, uploadIn) (out string, err error)       { return }
func deploy(context.Context, deployIn) (out towpath.None, err error) { return }
func page(context.Context, pageIn) (out towpath.None, err error)     { return }

// Pipeline declares the stages.
func Pipeline(p *towpath.Pipeline) {
	binary := towpath.Stage(p, "build", build, struct{}{}, towpath.Retry(2), towpath.Timeout(10*time.Minute))
	checked := towpath.Stage(p, "check", check, checkIn{Binary: binary}, towpath.Timeout(1500*time.Millisecond))
	bucket := towpath.Param[string](p, "bucket", towpath.Default("nightly"))
	uploaded := towpath.Effect(p, "upload", upload, uploadIn{Binary: binary, Bucket: bucket},
		towpath.Idempotent(), towpath.Retry(3), towpath.Timeout(90*time.Minute))
	towpath.Effect(p, "deploy", deploy, deployIn{Place: uploaded}, towpath.After(uploaded, checked))
	towpath.Effect(p, "page", page, pageIn{Text: "done"})
}
