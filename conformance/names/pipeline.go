// Package names declares a pipeline that pipeline.py declares too: names: of stages, inputs and fields, in both languages, and of nodes with bound values.
package names

import (
	"context"

	"github.com/towpath/towpath"
)

// HTTPServer has fields whose names in the plan are not theirs in lower case.
type HTTPServer struct {
	ServerURL string
	HTMLPage  string
	IDs       []int
	X2        int
	From      string `towpath:"from_"`
}

type serveIn struct {
	Server         HTTPServer
	UserID         string
	OSName         string
	Python3Version string
}

type boundIn struct {
	Text   string
	Number float64
	Flag   bool
	None   *int
	Items  []string
}

func serve(_ context.Context, in serveIn) (HTTPServer, error)      { return in.Server, nil }
func bound(context.Context, boundIn) (out towpath.None, err error) { return }

// Pipeline declares the stages.
func Pipeline(p *towpath.Pipeline) {
	towpath.Stage(p, "serve_v2", serve, serveIn{})
	for _, node := range []struct {
		in   boundIn
		bind towpath.Option
	}{
		{boundIn{Text: "a/b:c@1.0+x-y_z", Number: 1}, towpath.Bind("text", "number")},
		{boundIn{Text: "two words", Number: 0.1}, towpath.Bind("number", "text")},
		{boundIn{Flag: true}, towpath.Bind("text", "flag")},
		{boundIn{None: new(3)}, towpath.Bind("none", "flag")},
		{boundIn{Items: []string{"a", `b"`}}, towpath.Bind("none", "items")},
		{boundIn{Text: "déjà,x]"}, towpath.Bind("text")},
		{boundIn{Number: 1e-9}, towpath.Bind("number", "items")},
	} {
		towpath.Stage(p, "bound", bound, node.in, node.bind)
	}
}
