package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sync"

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
		return fmt.Errorf("cas: flush: %w", err)
	}
	return nil
}

// flush makes what is dirty durable: first the names, then the content, then the mark that says so.
func (s *Store) flush() error {
	s.mu.Lock()
	dirty := s.dirty
	s.dirty = make(map[digest.Digest]struct{})
	s.mu.Unlock()
	if len(dirty) > 0 && durable.SyncsLate {
		s.syncAll(dirty)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for d, err := range s.lost {
		return fmt.Errorf("blob %s is lost: %w", d.Short(), err)
	}
	return nil
}

func (s *Store) syncAll(dirty map[digest.Digest]struct{}) {
	if len(dirty) > 1 {
		durable.Parallel(maps.Keys(dirty), func(d digest.Digest) {
			if f, err := os.Open(s.path(d)); err == nil {
				durable.StartWriteback(f)
				f.Close()
			}
		})
	}
	dirs := map[string]struct{}{s.blobs: {}, filepath.Dir(s.blobs): {}}
	for d := range dirty {
		dirs[filepath.Dir(s.path(d))] = struct{}{}
	}
	failed := newFailures()
	durable.Parallel(maps.Keys(dirs), func(dir string) { failed.add(dir, durable.SyncDir(dir)) })
	durable.Parallel(maps.Keys(dirty), func(d digest.Digest) { failed.add(s.path(d), s.sync(d)) })
	if err := durable.Barrier(s.blobs); err != nil {
		failed.add(s.blobs, err)
	}
	for d := range dirty {
		p := s.path(d)
		if err := failed.first(p, filepath.Dir(p), s.blobs, filepath.Dir(s.blobs)); err != nil {
			_ = os.Remove(p)
			s.mu.Lock()
			s.lost[d] = err
			s.mu.Unlock()
		}
	}
}

// sync makes the content of the blob d durable and marks it. One that is gone was removed since it was put, which is no failure.
func (s *Store) sync(d digest.Digest) error {
	f, err := os.Open(s.path(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if err := durable.SyncFile(f); err != nil {
		return &fs.PathError{Op: "sync", Path: f.Name(), Err: err}
	}
	_ = f.Chmod(modeDurable) // a mark: without it, the blob is synced once more by whoever finds it
	return nil
}

// failures collects what failed, by path.
type failures struct {
	mu     sync.Mutex
	byPath map[string]error
}

func newFailures() *failures { return &failures{byPath: map[string]error{}} }

func (f *failures) add(path string, err error) {
	if err == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.byPath[path] = err
}

func (f *failures) first(paths ...string) error {
	for _, p := range paths {
		if err := f.byPath[p]; err != nil {
			return err
		}
	}
	return nil
}
