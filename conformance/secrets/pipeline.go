// Package secrets declares a pipeline that pipeline.py declares too: secrets as inputs, and their handles as outputs.
package secrets

import (
	"context"

	"github.com/towpath/towpath"
)

type loginIn struct {
	Token  towpath.Ref[towpath.Secret]
	Backup towpath.Ref[*towpath.Secret]
}

type pushIn struct {
	Token   towpath.Ref[towpath.Secret]
	Signing towpath.Ref[towpath.Secret]
	Maybe   towpath.Ref[*towpath.Secret]
}

func login(_ context.Context, in loginIn) (towpath.Secret, error) { return in.Token.Get(), nil }
func push(context.Context, pushIn) (out towpath.None, err error)  { return }

// Pipeline declares the stages.
func Pipeline(p *towpath.Pipeline) {
	token := towpath.Stage(p, "login", login, loginIn{Token: p.Secret("REGISTRY_TOKEN")})
	towpath.Effect(p, "push", push, pushIn{
		Token: token, Signing: p.Secret("signing/key.v2"), Maybe: towpath.Optional(p.Secret("MAYBE")),
	})
}
