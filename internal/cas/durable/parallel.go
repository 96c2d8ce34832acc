package durable

import (
	"iter"

	"golang.org/x/sync/errgroup"
)

// syncers is how many files are synced at once. File systems commit their journal for all who wait at the time, so that many
// waiters cost little more than one.
const syncers = 32

// Many is from how many files on syncing the whole file system is tried first (measured on ext4: 3,000 files take 40 ms so, and 200 ms one by one). With
// fewer, waiting for what others have written there may cost more than it saves.
const Many = 200

// Parallel calls fn for each of items, on as many goroutines as sync well together, and returns when all calls have.
func Parallel[T any](items iter.Seq[T], fn func(T)) {
	var g errgroup.Group
	g.SetLimit(syncers)
	for item := range items {
		g.Go(func() error { fn(item); return nil })
	}
	_ = g.Wait()
}
