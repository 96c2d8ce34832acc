// Package docs declares a pipeline that pipeline.py declares too: descriptions, of which the plan keeps the first paragraph.
package docs

import (
	"context"

	"github.com/towpath/towpath"
)

type longIn struct {
	Name string
}

func nothing(context.Context, struct{}) (out towpath.None, err error) { return }
func long(context.Context, longIn) (out towpath.None, err error)      { return }

// Pipeline declares the stages.
func Pipeline(p *towpath.Pipeline) {
	towpath.Stage(p, "none", nothing, struct{}{})
	towpath.Stage(p, "short", nothing, struct{}{}, towpath.Doc("Do it."))
	towpath.Stage(p, "long", long, longIn{Name: "x"}, towpath.Doc(`
		Build the   wheel,
		with	tabs and “quotes” and "these".

		This is not in the plan.
	`))
	towpath.Effect(p, "publish", nothing, struct{}{}, towpath.Doc("Publish <all> & sundry \U0001f600.\n \nNor this."))
}
