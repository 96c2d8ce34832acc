package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/source/statindex"
)

const (
	// smallFile is read into memory, so that the store is asked for it before it is put; a larger one goes to the store as it is
	// read.
	smallFile = 256 << 10
	// A batch is read by one goroutine and put with one question to the store.
	batchFiles = 128
	batchBytes = 1 << 20
	// missingBatch is how many digests the store is asked for at once when nothing has to be read.
	missingBatch = 4096
)

// intake gives every scanned file its digest and puts what the store does not have.
type intake struct {
	store cas.Store
	index *statindex.Index
	clock *statindex.Clock
	top   string
	// believe takes it that the store has what the stat index knows.
	believe bool
}

// item is a file that has to be read.
type item struct {
	node *node
	file *file
	data []byte // of a small file that has been read
}

func (in *intake) run(ctx context.Context, root *node) error {
	var known []digest.Digest
	var unread []item
	for n := range root.walk {
		for i := range n.files {
			f := &n.files[i]
			switch {
			case !f.hasContent():
			case !f.known:
				unread = append(unread, item{node: n, file: f})
			case !in.believe:
				known = append(known, f.digest)
			}
		}
	}
	missing, err := missingOf(ctx, in.store, known)
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		unread = append(unread, lost(root, missing, func(f *file) bool { return f.known })...)
	}
	return in.takeAll(ctx, unread)
}

func (in *intake) takeAll(ctx context.Context, items []item) error {
	if len(items) > 0 {
		in.clock.Sample() // before anything is read
	}
	batches := batch(items)
	return parallel(ctx, len(batches), func(i int) error { return in.take(ctx, batches[i]) })
}

// restore asks the store for all files of a finished snapshot and puts again what it does not have. The nodes are left as they are.
func (in *intake) restore(ctx context.Context, root *node) error {
	var all []digest.Digest
	for n := range root.walk {
		for i := range n.files {
			if f := &n.files[i]; f.hasContent() {
				all = append(all, f.digest)
			}
		}
	}
	missing, err := missingOf(ctx, in.store, all)
	if err != nil || len(missing) == 0 {
		return err
	}
	items := lost(root, missing, (*file).hasContent)
	again := make([]file, len(items))
	promised := make([]digest.Digest, len(items))
	for i := range items {
		again[i], promised[i] = *items[i].file, items[i].file.digest
		items[i].file = &again[i]
	}
	if err := in.takeAll(ctx, items); err != nil {
		return err
	}
	for i, f := range again {
		const hint = "run again: the store has lost what it had of the file, and the work tree no longer has it"
		switch {
		case f.fault != nil:
			f.fault.Hint = hint
			return f.fault
		case f.digest != promised[i]:
			return &Error{Path: join(items[i].node.path, f.name), Reason: "has changed since the snapshot was taken", Hint: hint}
		}
	}
	return nil
}

// hasContent tells whether the file has a digest and a blob.
func (f *file) hasContent() bool { return f.fault == nil && f.stat.Type() == statindex.TypeRegular }

// lost returns the files that the store does not have, of those that count.
func lost(root *node, missing []digest.Digest, counts func(*file) bool) []item {
	set := make(map[digest.Digest]bool, len(missing))
	for _, d := range missing {
		set[d] = true
	}
	var items []item
	for n := range root.walk {
		for i := range n.files {
			if f := &n.files[i]; counts(f) && set[f.digest] {
				items = append(items, item{node: n, file: f})
			}
		}
	}
	return items
}

func batch(items []item) [][]item {
	var batches [][]item
	var bytes int64
	from := 0
	for i := range items {
		size := items[i].file.stat.Size
		if i > from && (i-from == batchFiles || bytes+size > batchBytes) {
			batches = append(batches, items[from:i])
			from, bytes = i, 0
		}
		bytes += size
	}
	if from < len(items) {
		batches = append(batches, items[from:])
	}
	return batches
}

// take reads a batch and puts what of it the store does not have.
func (in *intake) take(ctx context.Context, items []item) error {
	var total int64
	for i := range items {
		if size := items[i].file.stat.Size; size <= smallFile {
			total += size + 1 // one more than the file holds, to see that it has not grown
		}
	}
	arena := make([]byte, 0, total)
	var folder *statindex.Folder
	var digests []digest.Digest
	small := make(map[digest.Digest][]byte, len(items))
	for i := range items {
		it := &items[i]
		if i == 0 || it.node != items[i-1].node {
			folder = in.index.Folder(filepath.Join(in.top, filepath.FromSlash(it.node.path)))
		}
		var err error
		if arena, err = in.read(ctx, it, arena); err != nil {
			return err
		}
		if it.file.known = false; it.file.fault != nil {
			continue
		}
		folder.Record(in.clock, it.file.name, it.file.stat, it.file.digest)
		if it.data != nil {
			digests = append(digests, it.file.digest)
			small[it.file.digest] = it.data
		}
	}
	missing, err := in.store.Missing(ctx, digests)
	if err != nil {
		return err
	}
	for _, d := range missing {
		if _, err := in.store.Put(ctx, bytes.NewReader(small[d])); err != nil {
			return err
		}
	}
	return nil
}

// read finds the digest of a file, at the end of arena if it is small and in the store if it is not. A file that changes meanwhile
// is read once more.
func (in *intake) read(ctx context.Context, it *item, arena []byte) ([]byte, error) {
	path := filepath.Join(in.top, filepath.FromSlash(join(it.node.path, it.file.name)))
	for range 2 {
		err := in.readOnce(ctx, it, path, &arena)
		var store *storeError
		switch {
		case err == nil:
			return arena, nil
		case errors.As(err, &store):
			return arena, store.err
		case ctx.Err() != nil:
			return arena, ctx.Err()
		}
		var changed *changedError
		if !errors.As(err, &changed) {
			it.fail("cannot be read", cause(err))
			return arena, nil
		}
		if changed.now.Type() != statindex.TypeRegular {
			break
		}
		it.file.stat = changed.now
	}
	it.fail("changed while it was being read", nil)
	it.file.fault.Hint = "something else is writing to the work tree: run again when it has finished"
	return arena, nil
}

func (it *item) fail(reason string, err error) {
	it.file.fault = &Error{Path: join(it.node.path, it.file.name), Reason: reason, Err: err}
}

// changedError reports that a file is not what it was when it was looked at before.
type changedError struct{ now statindex.Stat }

func (e *changedError) Error() string { return "the file has changed" }

// storeError is a failure of the store, as against one of the file.
type storeError struct{ err error }

func (e *storeError) Error() string { return e.err.Error() }

func (in *intake) readOnce(ctx context.Context, it *item, path string, arena *[]byte) error {
	c, err := openContent(path, false)
	if err != nil {
		return err
	}
	defer c.close()
	want := it.file.stat
	if want.Size > smallFile {
		r := &contentReader{content: c}
		d, err := in.store.Put(ctx, r)
		switch {
		case r.err != nil:
			return r.err
		case err != nil:
			return &storeError{err}
		}
		it.file.digest = d
		return unchanged(c, want, d.Size)
	}
	data, err := readSmall(c, int(want.Size), arena)
	if err != nil {
		return err
	}
	it.data, it.file.digest = data, digest.OfBytes(data)
	return unchanged(c, want, int64(len(data)))
}

// readSmall appends at most one byte more than size to the arena and returns what it read.
func readSmall(c *content, size int, arena *[]byte) ([]byte, error) {
	a := *arena
	if cap(a)-len(a) < size+1 {
		a = make([]byte, 0, size+1)
	}
	buf := a[len(a) : len(a)+size+1]
	n := 0
	for n < len(buf) {
		m, err := c.readSome(buf[n:])
		if err != nil {
			return nil, err
		}
		n += m
		if m == 0 || n == size {
			break // all of it: whether it has grown since is for the caller to see
		}
	}
	*arena = a[:len(a)+n]
	return buf[:n:n], nil
}

// unchanged compares an open file that has been read with what it was, and the number of bytes with its size.
func unchanged(c *content, want statindex.Stat, n int64) error {
	now, err := c.stat()
	if err != nil {
		return err
	}
	if !now.Same(want) || now.Size != n {
		return &changedError{now: now}
	}
	return nil
}

// contentReader is an io.Reader of a file that keeps the error apart from what the store makes of it.
type contentReader struct {
	content *content
	err     error
}

func (r *contentReader) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	n, err := r.content.readSome(b)
	if err != nil {
		r.err = err
		return 0, err
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// missingOf is Store.Missing in parallel. Digests that begin with the same byte are asked for together, since stores tend to keep them together.
func missingOf(ctx context.Context, store cas.Store, all []digest.Digest) ([]digest.Digest, error) {
	all = byFirstByte(all)
	var mu sync.Mutex
	var missing []digest.Digest
	batches := (len(all) + missingBatch - 1) / missingBatch
	err := parallel(ctx, batches, func(i int) error {
		part, err := store.Missing(ctx, all[i*missingBatch:min(len(all), (i+1)*missingBatch)])
		mu.Lock()
		defer mu.Unlock()
		missing = append(missing, part...)
		return err
	})
	return missing, err
}

// byFirstByte returns the same digests in the order of the first byte.
func byFirstByte(all []digest.Digest) []digest.Digest {
	var ends [257]int
	for i := range all {
		ends[int(all[i].Hash[0])+1]++
	}
	for b := range 256 {
		ends[b+1] += ends[b]
	}
	sorted := make([]digest.Digest, len(all))
	for i := range all {
		b := all[i].Hash[0]
		sorted[ends[b]] = all[i]
		ends[b]++
	}
	return sorted
}

// Digest returns the digest of one file, through the same index: one that has not changed is not read. The file may be anywhere,
// is given by its absolute path, and may be a symlink to a file. It is not put in the store.
func (s *Snapshotter) Digest(ctx context.Context, path string) (digest.Digest, error) {
	if !filepath.IsAbs(path) {
		return digest.Digest{}, fmt.Errorf("digest of a file: the path %q is not absolute", path)
	}
	before, err := statPath(path)
	if err != nil {
		return digest.Digest{}, fmt.Errorf("digest of a file: %w", err)
	}
	folder := s.index.Folder(filepath.Dir(path))
	cursor := folder.Cursor()
	if d, ok := cursor.Lookup(filepath.Base(path), before); ok {
		return d, ctx.Err()
	}
	clock := s.clock()
	for range 2 {
		if err := ctx.Err(); err != nil {
			return digest.Digest{}, err
		}
		if before.Type() != statindex.TypeRegular {
			return digest.Digest{}, fmt.Errorf("digest of a file: %s is not a file", path)
		}
		d, err := digestOnce(path, before)
		var changed *changedError
		switch {
		case err == nil:
			folder.Record(clock, filepath.Base(path), before, d)
			return d, nil
		case !errors.As(err, &changed):
			return digest.Digest{}, fmt.Errorf("digest of a file: %w", err)
		}
		before = changed.now
	}
	return digest.Digest{}, &Error{Path: path, Reason: "changed while it was being read"}
}

func digestOnce(path string, want statindex.Stat) (digest.Digest, error) {
	c, err := openContent(path, true)
	if err != nil {
		return digest.Digest{}, err
	}
	defer c.close()
	d, err := digest.OfReader(&contentReader{content: c})
	if err != nil {
		return digest.Digest{}, err
	}
	return d, unchanged(c, want, d.Size)
}
