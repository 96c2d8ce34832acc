package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/towpath/towpath/internal/cas/durable"
	"github.com/towpath/towpath/internal/digest"
)

// shardBatch is how many digests of one shard make it worth to open the shard's folder: names are then looked up in it alone.
const shardBatch = 4

// noted is how young the last note of a use is where it certainly needs no other, see durable.Use.
const noted = 59 * time.Minute

// Missing implements cas.Store. Many digests are asked for shard by shard.
func (s *Store) Missing(ctx context.Context, ds []digest.Digest) ([]digest.Digest, error) {
	if len(ds) < shardBatch {
		return s.missing(ctx, ds)
	}
	var counts [256]int
	for i := range ds {
		counts[ds[i].Hash[0]]++
	}
	order, starts := make([]int32, len(ds)), [256]int{}
	for b := 1; b < len(starts); b++ {
		starts[b] = starts[b-1] + counts[b-1]
	}
	ends := starts
	for i := range ds {
		b := ds[i].Hash[0]
		order[ends[b]] = int32(i)
		ends[b]++
	}
	absent := make([]bool, len(ds))
	for b, start := range starts {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := s.missingOf(byte(b), ds, order[start:ends[b]], absent); err != nil {
			return nil, err
		}
	}
	var missing []digest.Digest
	for i, is := range absent {
		if is {
			missing = append(missing, ds[i])
		}
	}
	return missing, nil
}

// missing looks for each of a few digests by its path.
func (s *Store) missing(ctx context.Context, ds []digest.Digest) ([]digest.Digest, error) {
	var missing []digest.Digest
	for _, d := range ds {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		ok, err := s.there(d)
		if err != nil {
			return nil, err
		}
		if !ok {
			missing = append(missing, d)
		}
	}
	return missing, nil
}

// missingOf looks for those digests of ds that which lists, all of them of the shard b, and notes in absent what is not there.
func (s *Store) missingOf(b byte, ds []digest.Digest, which []int32, absent []bool) (err error) {
	var dir *shard
	since := time.Now().Add(-noted)
	if len(which) >= shardBatch {
		dir = openShard(filepath.Join(s.blobs, fmt.Sprintf("%02x", b)))
		defer dir.close()
	}
	for _, i := range which {
		there := false
		switch dir.look(&ds[i], since) {
		case settled:
			there = true
		case gone:
		default:
			if there, err = s.there(ds[i]); err != nil {
				return err
			}
		}
		absent[i] = !there
	}
	return nil
}

// sight is what one look at a name in a shard tells.
type sight uint8

const (
	unclear sight = iota // it has to be looked at in detail
	settled              // it is there, durable, of the right size, nobody has written to it, and its use was noted lately
	gone
)

// there tells whether the blob d is stored and nobody has written to it since, and has the next Flush cover it if it is.
func (s *Store) there(d digest.Digest) (bool, error) {
	st, err := durable.Lstat(s.path(d))
	switch {
	case err == nil && st.Regular && st.Size == d.Size && s.unchanged(d, st) && s.found(d, st):
		return true, nil
	case err == nil || errors.Is(err, fs.ErrNotExist):
		return false, nil
	default:
		return false, fmt.Errorf("cas: look for blob: %w", err)
	}
}

// unchanged tells whether the blob d, as st says, is still what was stored. One that was written to since is read, and marked again where it was
// only touched. One that nobody has marked as durable may be of a process that was gone before a power cut, after which its size and times can be right and
// its content not: it is read, too, once, unless this store has vouched for it.
func (s *Store) unchanged(d digest.Digest, st durable.Stat) bool {
	marked := st.Modified.Equal(untouched())
	if marked && (!durable.SyncsLate || st.Perm == modeDurable || s.vouched(d)) {
		return true
	}
	if !s.intact(d) {
		return false
	}
	if !marked {
		_ = os.Chtimes(s.path(d), time.Time{}, untouched()) // without it, the blob is read once more
	}
	return true
}

// vouched tells whether this store has written or read the blob d and its flush is to come or under way.
func (s *Store) vouched(d digest.Digest) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, dirty := s.dirty[d]
	_, syncing := s.syncing[d]
	return dirty || syncing
}
