package tree

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/digest"
)

// batch is how many files and symlinks a Visitor gets at once at most: a folder of 20,000 files keeps all processors busy.
const batch = 128

// Visitor is what Spread calls. Both functions are called from several goroutines at once.
type Visitor struct {
	// Folder is called for each folder, "" for the root, with how many entries are directly in it, before anything else about what is in it.
	Folder func(path string, entries int) error
	// Leaves is called with files and symlinks of one folder, some at a time.
	Leaves func(leaves []Entry) error
}

// Spread visits all of the tree d with all processors. The first error ends it and is returned.
func Spread(ctx context.Context, store cas.Store, d digest.Digest, v Visitor) error {
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(workers())
	s := &spreader{ctx: groupCtx, store: store, visitor: v, group: group}
	group.Go(func() error { return s.folder("", d, 0) })
	return group.Wait()
}

type spreader struct {
	ctx     context.Context
	store   cas.Store
	visitor Visitor
	group   *errgroup.Group
	seen    atomic.Int64
}

// folder visits the folder d at path and all that is below it, or has it visited.
func (s *spreader) folder(path string, d digest.Digest, depth int) error {
	if err := s.ctx.Err(); err != nil {
		return err
	}
	m, err := Load(s.ctx, s.store, d)
	if err != nil {
		return fmt.Errorf("folder %q: %w", path, err)
	}
	entries := list(m)
	if s.seen.Add(int64(len(entries))) > MaxEntries || depth > MaxDepth {
		return &InvalidError{Digest: d, Reason: fmt.Sprintf("the tree has more than %d paths or is deeper than %d folders", MaxEntries, MaxDepth)}
	}
	if err := s.visitor.Folder(path, len(entries)); err != nil {
		return err
	}
	leaves := make([]Entry, 0, len(m.Files)+len(m.Symlinks))
	for _, e := range entries {
		e.Path = join(path, e.Path)
		if e.Kind != KindDirectory {
			leaves = append(leaves, e)
			continue
		}
		if err := s.share(func() error { return s.folder(e.Path, e.Digest, depth+1) }); err != nil {
			return err
		}
	}
	return s.leaves(leaves)
}

// leaves visits files and symlinks, the last of them itself.
func (s *spreader) leaves(leaves []Entry) error {
	for len(leaves) > batch {
		some := slices.Clip(leaves[:batch])
		leaves = leaves[batch:]
		if err := s.share(func() error { return s.visitor.Leaves(some) }); err != nil {
			return err
		}
		if err := s.ctx.Err(); err != nil {
			return err
		}
	}
	if len(leaves) == 0 {
		return nil
	}
	return s.visitor.Leaves(leaves)
}

// share has another goroutine do the work, or does it where all are busy.
func (s *spreader) share(work func() error) error {
	if s.group.TryGo(work) {
		return nil
	}
	return work()
}

// workers is how many files are copied or hashed at once.
func workers() int { return min(max(2*runtime.GOMAXPROCS(0), 4), 32) }
