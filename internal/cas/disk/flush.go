package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/cas/durable"
	"github.com/towpath/towpath/internal/digest"
)

// Flush implements cas.Store. When the system fails to sync a blob nobody knows what the disk holds, and syncing again would
// report success without having written anything (https://lwn.net/Articles/752063). Such a blob is removed, and Flush keeps
// failing until it has been put again.
func (s *Store) Flush(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.group.Do(ctx, s.flush); err != nil {
		return fmt.Errorf("cas: flush: %w", cas.Writing(s.dir, err))
	}
	return nil
}

// flush makes what is dirty durable: first the names, then the content, then the mark that says so.
func (s *Store) flush() error {
	s.mu.Lock()
	dirty := s.dirty
	s.dirty, s.syncing = make(map[digest.Digest]struct{}), dirty
	s.mu.Unlock()
	if len(dirty) > 0 && durable.SyncsLate {
		s.syncAll(dirty)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.syncing = nil
	for d, err := range s.lost {
		return fmt.Errorf("blob %s is lost: %w", d.Short(), err)
	}
	return nil
}

// syncAll makes the blobs dirty durable. A round is one for all of them: the kernel is told what to write before anything is waited for, all is waited
// for at once, and each folder is synced once. Where they are very many, one call for the whole file system costs less than one for each.
func (s *Store) syncAll(dirty map[digest.Digest]struct{}) {
	var failed durable.Failures
	if len(dirty) >= durable.Many && s.temp.SyncFileSystem() {
		durable.Parallel(maps.Keys(dirty), func(d digest.Digest) {
			_ = os.Chmod(s.path(d), modeDurable) // a mark: without it, the blob is synced once more by whoever finds it
		})
		return
	}
	paths := func(yield func(string) bool) {
		for d := range dirty {
			if !yield(s.path(d)) {
				return
			}
		}
	}
	if len(dirty) > 1 {
		durable.Parallel(paths, durable.StartWriteback)
	}
	durable.Parallel(maps.Keys(durable.Folders(s.dir, paths)), func(dir string) { failed.Add(dir, durable.SyncDir(dir)) })
	durable.Parallel(paths, func(p string) {
		// One that is gone was removed since it was put, which is no failure. The permissions are a mark: without it, the blob is synced once more by whoever
		// finds it.
		if err := durable.Sync(p, modeDurable); !errors.Is(err, fs.ErrNotExist) {
			failed.Add(p, err)
		}
	})
	failed.Add(s.dir, durable.Barrier(s.blobs))
	s.lose(dirty, &failed)
}

// lose removes the blobs that failed.
func (s *Store) lose(dirty map[digest.Digest]struct{}, failed *durable.Failures) {
	for d := range dirty {
		if err := failed.Of(s.dir, s.path(d)); err != nil {
			_ = os.Remove(s.path(d))
			s.mu.Lock()
			s.lost[d] = err
			s.mu.Unlock()
		}
	}
}
