package plan_test

import (
	"fmt"
	"testing"

	"github.com/towpath/towpath/internal/plan"
	"github.com/towpath/towpath/protocol"
)

// BenchmarkNew checks plans of two sizes, with one stage that gathers all the others: what a stage costs must not depend on how many there are.
func BenchmarkNew(b *testing.B) {
	for _, size := range []int{10_000, 100_000} {
		var p protocol.Plan
		p.Version = protocol.Version
		all := make([]string, size)
		for i := range all {
			all[i] = fmt.Sprintf("s%06d", i)
			p.Stages = append(p.Stages, stage(all[i], needs(all[max(0, i-3):i]...)...))
		}
		p.Stages = append(p.Stages, stage("total", input("all", protocol.ListOf(typ("int")), gather(all...))))
		b.Run(fmt.Sprintf("stages=%d", size), func(b *testing.B) {
			for b.Loop() {
				g, err := plan.New(p, nil)
				if err != nil {
					b.Fatal(err)
				}
				if got, err := g.Select([]string{"total"}); err != nil || len(got) != size+1 {
					b.Fatal(len(got), err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*size), "ns/stage")
		})
	}
}
