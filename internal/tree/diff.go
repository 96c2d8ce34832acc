package tree

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/digest"
)

// ChangeKind is what happened to a path.
type ChangeKind int

// The kinds of changes.
const (
	Added ChangeKind = iota + 1
	Removed
	Modified
)

// String returns the kind as a word.
func (k ChangeKind) String() string {
	switch k {
	case Added:
		return "added"
	case Removed:
		return "removed"
	case Modified:
		return "modified"
	}
	return "unknown"
}

// Change is a path in which two trees differ.
type Change struct {
	Path     string
	Kind     ChangeKind
	Old, New Entry // the zero Entry where there is none
}

// Diff returns the paths in which the tree b differs from a, sorted, and at most limit of them unless that is 0. Only files,
// symlinks and empty folders are reported: a folder that is new is told by what is in it. Where a file became a folder it was
// removed, and what is in the folder was added. Subtrees that are equal are not read.
func Diff(ctx context.Context, store cas.Store, a, b digest.Digest, limit int) ([]Change, error) {
	d := &differ{ctx: ctx, store: store, limit: limit}
	if err := d.diff("", &a, &b, 0); err != nil && !errors.Is(err, fs.SkipAll) {
		return nil, fmt.Errorf("compare trees: %w", err)
	}
	slices.SortStableFunc(d.changes, func(a, b Change) int { return strings.Compare(a.Path, b.Path) })
	return d.changes, nil
}

type differ struct {
	ctx     context.Context
	store   cas.Store
	limit   int
	changes []Change
}

// side is what a stop is in each of two folders.
type side struct {
	stop
	old, new *Entry
}

// diff compares two folders, either of which may be nil. It returns fs.SkipAll once there are enough changes.
func (d *differ) diff(path string, a, b *digest.Digest, depth int) error {
	if a != nil && b != nil && *a == *b {
		return nil
	}
	if depth > MaxDepth {
		return &PathError{Path: path, Reason: fmt.Sprintf("is deeper than %d folders", MaxDepth)}
	}
	sides := map[stop]*side{}
	olds, err := d.load(path, a)
	if err != nil {
		return err
	}
	news, err := d.load(path, b)
	if err != nil {
		return err
	}
	if path != "" && len(olds)+len(news) == 0 { // an empty folder on one side; on both it would be the same
		return d.report(path, folder(a), folder(b))
	}
	for _, e := range olds {
		at(sides, e).old = &e
	}
	for _, e := range news {
		at(sides, e).new = &e
	}
	order := make([]*side, 0, len(sides))
	for _, s := range sides {
		order = append(order, s)
	}
	slices.SortFunc(order, func(a, b *side) int { return comparePaths(a.entry.Path, a.content, b.entry.Path, b.content) })
	for _, s := range order {
		if s.content {
			err = d.diff(join(path, s.entry.Path), digestOf(s.old), digestOf(s.new), depth+1)
		} else {
			err = d.report(join(path, s.entry.Path), s.old, s.new)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *differ) load(path string, dir *digest.Digest) ([]Entry, error) {
	if dir == nil {
		return nil, nil
	}
	m, err := Load(d.ctx, d.store, *dir)
	if err != nil {
		return nil, fmt.Errorf("folder %q: %w", path, err)
	}
	return list(m), nil
}

// at returns the side for e: folders meet folders only.
func at(sides map[stop]*side, e Entry) *side {
	key := stop{entry: Entry{Path: e.Path}, content: e.Kind == KindDirectory}
	if sides[key] == nil {
		sides[key] = &side{stop: key}
	}
	return sides[key]
}

func digestOf(e *Entry) *digest.Digest {
	if e == nil {
		return nil
	}
	return &e.Digest
}

func folder(d *digest.Digest) *Entry {
	if d == nil {
		return nil
	}
	return &Entry{Kind: KindDirectory, Digest: *d}
}

// report notes that the path is before in one tree and after in the other, if these differ.
func (d *differ) report(path string, before, after *Entry) error {
	c := Change{Path: path, Kind: Modified}
	if before != nil {
		c.Old = *before
		c.Old.Path = path
	} else {
		c.Kind = Added
	}
	if after != nil {
		c.New = *after
		c.New.Path = path
	} else {
		c.Kind = Removed
	}
	if c.Old == c.New {
		return nil
	}
	if d.changes = append(d.changes, c); len(d.changes) == d.limit {
		return fs.SkipAll
	}
	return nil
}
