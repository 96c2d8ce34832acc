package durable

import (
	"iter"

	"golang.org/x/sync/errgroup"
)

// syncers is how many files are synced at once. File systems commit their journal for all who wait at the time, so that many
// waiters cost little more than one.
const syncers = 32

// Parallel calls fn for each of items, on as many goroutines as sync well together, and returns when all calls have.
func Parallel[T any](items iter.Seq[T], fn func(T)) {
	var g errgroup.Group
	g.SetLimit(syncers)
	for item := range items {
		g.Go(func() error { fn(item); return nil })
	}
	_ = g.Wait()
}
