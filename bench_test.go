package towpath_test

import (
	"testing"

	"github.com/towpath/towpath"
	"github.com/towpath/towpath/towpathtest"
)

func BenchmarkPlanOf1000Stages(b *testing.B) {
	for b.Loop() {
		_, err := towpathtest.Plan(func(p *towpath.Pipeline) {
			src := p.Source("src")
			for shard := range 1000 {
				towpath.Stage(p, "check", Check, CheckIn{Src: src, Shard: shard}, towpath.Bind("shard"))
			}
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}
