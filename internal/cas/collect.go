package cas

import (
	"context"
	"time"
)

// Verified is what reading all of a store has shown.
type Verified struct {
	// Checked is how much there was.
	Checked int
	Bytes   int64
	// Damaged is how much of it was dropped, since it was not what it should be.
	Damaged int
	// Dangling is how much was dropped because it names what is not in the store.
	Dangling int
	// Marked is how much was whole and only looked as if it had been changed.
	Marked int
	// Unreadable is how much belongs to somebody else and may not be read.
	Unreadable int
}

// Item is something that a store keeps, as who collects garbage sees it.
type Item struct {
	// Name is known to the store only.
	Name string
	// Bytes is the size of the content, Disk what it takes on the disk.
	Bytes, Disk int64
	// Used is when the item was last used, at most an hour too early.
	Used time.Time
}

// Collector is a store that can be told to drop what has not been used for long.
type Collector interface {
	// Items returns what is kept. What comes or goes meanwhile may be in it or not.
	Items(ctx context.Context) ([]Item, error)
	// Drop removes an item unless it was used at before or later, and tells whether it did. Who has found an item in that very moment either has noted
	// the use, and it stays, or finds it gone.
	Drop(ctx context.Context, name string, before time.Time) (bool, error)
}
