package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/towpath/towpath/internal/actioncache"
	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/checkout"
	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/engine"
	"github.com/towpath/towpath/internal/tree"
)

// BlobKeeper is a store of blobs that can be looked after.
type BlobKeeper interface {
	Counter
	cas.Collector
	// Verify reads everything and drops what is damaged.
	Verify(ctx context.Context, progress func(read, all int64)) (cas.Verified, error)
	// Unnoted is a view of the store that leaves no trace of use.
	Unnoted() cas.Store
	// Unneeded is the moment such that what was last used before it is in use by nobody.
	Unneeded() (time.Time, error)
}

// ResultKeeper is a memory for results that can be looked after.
type ResultKeeper interface {
	Counter
	cas.Collector
	// Verify reads everything and drops what is damaged, also by an *actioncache.DamagedError of check, and what check says is not whole.
	Verify(ctx context.Context, check func(actioncache.Entry) (whole bool, err error)) (cas.Verified, error)
}

// verified is what `tow cache verify` tells.
type verified struct {
	Folder          string `json:"folder"`
	Blobs           int    `json:"blobs"`
	BlobBytes       int64  `json:"blob_bytes"`
	DamagedBlobs    int    `json:"damaged_blobs"`
	TouchedBlobs    int    `json:"touched_blobs"`
	UnreadableBlobs int    `json:"unreadable_blobs"`
	Results         int    `json:"results"`
	DamagedResults  int    `json:"damaged_results"`
	DanglingResults int    `json:"dangling_results"`
	Checkouts       int    `json:"dropped_checkouts"`
}

// found tells whether anything was wrong.
func (v verified) found() bool {
	return v.DamagedBlobs+v.TouchedBlobs+v.DamagedResults+v.DanglingResults > 0
}

func (a *App) cacheVerifyCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "verify",
		Short: "Read the whole cache and drop what is damaged",
		Long: `Read every blob and every result, and drop what is not what it should be, down to the last bit. What was dropped is made
again when it is needed. Results that name a blob which is not there go as well, and when a blob was damaged, so do all folders
that were made from blobs.

The exit code is 0 when nothing was wrong, and 1 when something was, and has been repaired.`,
		Args: args(0, 0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			s, settings, err := a.stores()
			if err != nil {
				return err
			}
			v, err := a.verify(c.Context(), s, settings.CacheDir)
			if err := errors.Join(err, s.Close(c.Context())); err != nil {
				return err
			}
			if asJSON {
				err = printJSON(a.Stdout, v)
			} else {
				a.tellVerified(v)
			}
			if err == nil && v.found() {
				return &exitError{engine.ExitFailed}
			}
			return err
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (a *App) verify(ctx context.Context, s *Stores, folder string) (verified, error) {
	p := progress{app: a, terminal: isTerminal(a.Stderr)}
	blobs, err := s.Blobs.Verify(ctx, p.show)
	p.end()
	if err != nil {
		return verified{}, err
	}
	results, err := s.Results.Verify(ctx, wholeResults(ctx, s.Blobs.Unnoted()))
	if err != nil {
		return verified{}, err
	}
	v := verified{
		Folder: folder, Blobs: blobs.Checked, BlobBytes: blobs.Bytes, DamagedBlobs: blobs.Damaged, TouchedBlobs: blobs.Marked, UnreadableBlobs: blobs.Unreadable,
		Results: results.Checked, DamagedResults: results.Damaged, DanglingResults: results.Dangling,
	}
	if blobs.Damaged > 0 {
		v.Checkouts, err = dropCheckouts(ctx, checkouts{s.Checkouts})
	}
	return v, err
}

func (a *App) tellVerified(v verified) {
	fmt.Fprintf(a.Stdout, "%s: %s (%s) and %s read\n", v.Folder, count(v.Blobs, "blob"), size(v.BlobBytes), count(v.Results, "result"))
	for _, line := range []struct {
		n    int
		what string
		fate string
	}{
		{v.DamagedBlobs, "damaged blob", "dropped"},
		{v.TouchedBlobs, "blob", "had been touched and was found whole"},
		{v.UnreadableBlobs, "blob", "may be read by their owner only and not looked at"},
		{v.DamagedResults, "damaged result", "dropped"},
		{v.DanglingResults, "result", "without what it names dropped"},
		{v.Checkouts, "folder", "made from blobs dropped"},
	} {
		if line.n > 0 {
			fmt.Fprintf(a.Stdout, "%s %s\n", count(line.n, line.what), line.fate)
		}
	}
	if !v.found() {
		fmt.Fprintln(a.Stdout, "ok: nothing is damaged")
	}
}

// wholeResults returns what tells whether all that a result refers to is in the store. Each directory is looked through once.
func wholeResults(ctx context.Context, store cas.Store) func(actioncache.Entry) (bool, error) {
	trees := map[digest.Digest]bool{}
	return func(e actioncache.Entry) (bool, error) {
		files, directories, err := engine.References(e.Kind, e.Value)
		if err != nil {
			return false, &actioncache.DamagedError{Err: err}
		}
		if gone, err := store.Missing(ctx, files); err != nil || len(gone) > 0 {
			return false, err
		}
		for _, d := range directories {
			whole, known := trees[d]
			if !known {
				if whole, err = wholeTree(ctx, store, d); err != nil {
					return false, err
				}
				trees[d] = whole
			}
			if !whole {
				return false, nil
			}
		}
		return true, nil
	}
}

func wholeTree(ctx context.Context, store cas.Store, d digest.Digest) (bool, error) {
	all, err := tree.Closure(ctx, store, d)
	var (
		corrupt *cas.CorruptError
		invalid *tree.InvalidError
		large   *cas.TooLargeError
	)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case errors.As(err, &corrupt), errors.As(err, &invalid), errors.As(err, &large):
		return false, &actioncache.DamagedError{Err: err}
	case err != nil:
		return false, err
	}
	gone, err := store.Missing(ctx, all)
	return len(gone) == 0, err
}

// checkouts makes a cas.Collector of the folders that were made from blobs.
type checkouts struct{ *checkout.Checkouts }

// Items implements cas.Collector.
func (c checkouts) Items(ctx context.Context) ([]cas.Item, error) {
	entries, err := c.Entries(ctx)
	var items []cas.Item
	for _, e := range entries {
		items = append(items, cas.Item{Name: e.Name, Bytes: e.Bytes, Disk: e.Bytes, Used: e.LastUsed})
	}
	return items, err
}

// Drop implements cas.Collector.
func (c checkouts) Drop(ctx context.Context, name string, before time.Time) (bool, error) {
	removed, _, err := c.Remove(ctx, checkout.Entry{Name: name, LastUsed: before.Add(-1)})
	return removed, err
}

// dropCheckouts removes every checkout and tells how many there were. What a step makes that runs in one is no result: it is run again.
func dropCheckouts(ctx context.Context, c checkouts) (n int, err error) {
	items, err := c.Items(ctx)
	if err == nil {
		_, err = c.Collect(ctx, time.Now().Add(time.Hour))
	}
	return len(items), err
}

// progress tells on a terminal how far a long reading has come.
type progress struct {
	app      *App
	terminal bool

	mu    sync.Mutex
	shown time.Time
}

func (p *progress) show(read, all int64) {
	if !p.terminal {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := p.app.Now(); now.Sub(p.shown) >= 100*time.Millisecond {
		p.shown = now
		fmt.Fprintf(p.app.Stderr, "\r\x1b[K%s of %s read", size(read), size(all))
	}
}

func (p *progress) end() {
	if !p.shown.IsZero() {
		fmt.Fprint(p.app.Stderr, "\r\x1b[K")
	}
}
