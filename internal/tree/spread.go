package tree

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
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
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &spreader{ctx: ctx, cancel: cancel, store: store, visitor: v}
	s.group.SetLimit(workers())
	s.ended(s.folder("", d, 0)) // here: a small tree needs no other goroutine
	_ = s.group.Wait()
	return s.err
}

type spreader struct {
	ctx     context.Context
	cancel  context.CancelFunc
	store   cas.Store
	visitor Visitor
	group   errgroup.Group
	seen    atomic.Int64

	first sync.Once
	err   error // the first that there was
}

// ended notes how a part of the work ended.
func (s *spreader) ended(err error) {
	if err != nil {
		s.first.Do(func() {
			s.err = err
			s.cancel()
		})
	}
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
	if s.group.TryGo(func() error { s.ended(work()); return nil }) {
		return nil
	}
	return work()
}

// workers is how many files are copied or hashed at once.
func workers() int { return min(max(2*runtime.GOMAXPROCS(0), 4), 32) }
