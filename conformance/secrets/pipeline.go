// Package secrets declares a pipeline that pipeline.py declares too: secrets as inputs, and their handles as outputs.
package secrets

import (
	"context"

	"github.com/towpath/towpath"
)

type LoginIn struct {
	Token  towpath.Ref[towpath.Secret]
	Backup towpath.Ref[*towpath.Secret]
}

type PushIn struct {
	Token   towpath.Ref[towpath.Secret]
	Signing towpath.Ref[towpath.Secret]
	Maybe   towpath.Ref[*towpath.Secret]
}

func login(_ context.Context, in LoginIn) (towpath.Secret, error) { return in.Token.Get(), nil }
func push(context.Context, PushIn) (out towpath.None, err error)  { return }

// Pipeline declares the stages.
func Pipeline(p *towpath.Pipeline) {
	token := towpath.Stage(p, "login", login, LoginIn{Token: p.Secret("REGISTRY_TOKEN")})
	towpath.Effect(p, "push", push, PushIn{
		Token: token, Signing: p.Secret("signing/key.v2"), Maybe: towpath.Optional(p.Secret("MAYBE")),
	})
}
