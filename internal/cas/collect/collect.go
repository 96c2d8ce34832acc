// Package collect decides what of a cache goes when it is too large or too old: what was last used the longest ago, whichever store keeps it.
//
// It needs no agreement with who uses the cache. Every use is noted at most an hour late, and every process says since when it uses the cache; so
// nothing that was used later than an hour before the oldest of them began is touched, and the stores see to uses in the very moment of removal. The
// package knows items, sizes and times, and nothing of what they are.
package collect

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/towpath/towpath/internal/cas"
)

// Store is a part of the cache.
type Store struct {
	// Name is for people.
	Name string
	cas.Collector
}

// Request says what is to go.
type Request struct {
	// MaxSize is how many bytes of the disk the cache may take; negative: any number.
	MaxSize int64
	// Since is the moment before which a last use is too long ago; zero: none is.
	Since time.Time
	// Unneeded is the moment such that what was last used before it is in use by nobody. Nothing else is dropped.
	Unneeded time.Time
	// DryRun only tells what would go.
	DryRun bool
}

// Sum is a number of items and what they take on the disk.
type Sum struct {
	Items int   `json:"items"`
	Bytes int64 `json:"bytes"`
}

// Add adds what other has.
func (s *Sum) Add(other Sum) {
	s.Items += other.Items
	s.Bytes += other.Bytes
}

// Outcome is what became of a store.
type Outcome struct {
	Store   string `json:"store"`
	Dropped Sum    `json:"dropped"`
	Kept    Sum    `json:"kept"`
	// Needed is that part of Kept which should have gone and was used too lately for that.
	Needed Sum `json:"needed"`
}

// candidate is an item of one of the stores.
type candidate struct {
	cas.Item
	store int
}

// Run drops what the request says and returns what became of each store, in their order.
func Run(ctx context.Context, stores []Store, r Request) ([]Outcome, error) {
	outcomes := make([]Outcome, len(stores))
	var all []candidate
	var total int64
	for i, s := range stores {
		outcomes[i].Store = s.Name
		items, err := s.Items(ctx)
		if err != nil {
			return outcomes, err
		}
		for _, item := range items {
			all = append(all, candidate{item, i})
			total += item.Disk
		}
	}
	slices.SortStableFunc(all, func(a, b candidate) int {
		return cmp.Or(a.Used.Compare(b.Used), cmp.Compare(a.store, b.store))
	})
	for _, c := range all {
		out := &outcomes[c.store]
		wanted := r.MaxSize >= 0 && total > r.MaxSize || c.Used.Before(r.Since)
		switch dropped, err := r.drop(ctx, stores[c.store], c.Item, wanted); {
		case err != nil:
			return outcomes, err
		case dropped:
			total -= c.Disk
			out.Dropped.Add(Sum{1, c.Disk})
			continue
		case wanted:
			out.Needed.Add(Sum{1, c.Disk})
		}
		out.Kept.Add(Sum{1, c.Disk})
	}
	return outcomes, nil
}

func (r Request) drop(ctx context.Context, s Store, item cas.Item, wanted bool) (bool, error) {
	switch {
	case !wanted || !item.Used.Before(r.Unneeded):
		return false, nil
	case r.DryRun:
		return true, nil
	}
	return s.Drop(ctx, item.Name, r.Unneeded)
}
