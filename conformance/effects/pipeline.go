// Package effects declares a pipeline that pipeline.py declares too: effects and stages with every policy.
package effects

import (
	"context"
	"time"

	"github.com/towpath/towpath"
)

type CheckIn struct {
	Binary towpath.Ref[towpath.File]
}

type UploadIn struct {
	Binary towpath.Ref[towpath.File]
	Bucket towpath.Ref[string]
}

type DeployIn struct {
	Place towpath.Ref[string]
}

type PageIn struct {
	Text string
}

func build(context.Context, struct{}) (out towpath.File, err error)  { return }
func check(context.Context, CheckIn) (out bool, err error)           { return }
func upload(context.Context, UploadIn) (out string, err error)       { return }
func deploy(context.Context, DeployIn) (out towpath.None, err error) { return }
func page(context.Context, PageIn) (out towpath.None, err error)     { return }

// Pipeline declares the stages.
func Pipeline(p *towpath.Pipeline) {
	binary := towpath.Stage(p, "build", build, struct{}{}, towpath.Retry(2), towpath.Timeout(10*time.Minute))
	checked := towpath.Stage(p, "check", check, CheckIn{Binary: binary}, towpath.Timeout(1500*time.Millisecond))
	bucket := towpath.Param[string](p, "bucket", towpath.Default("nightly"))
	uploaded := towpath.Effect(p, "upload", upload, UploadIn{Binary: binary, Bucket: bucket},
		towpath.Idempotent(), towpath.Retry(3), towpath.Timeout(90*time.Minute))
	towpath.Effect(p, "deploy", deploy, DeployIn{Place: uploaded}, towpath.After(uploaded, checked))
	towpath.Effect(p, "page", page, PageIn{Text: "done"})
}
