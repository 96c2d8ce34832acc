package cli

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/towpath/towpath/internal/cas/collect"
	"github.com/towpath/towpath/internal/config"
	"github.com/towpath/towpath/internal/session"
)

func (a *App) cacheCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "cache",
		Short: "Look at the cache, check it, make it smaller, or clear it",
		Args:  args(0, 0, "a command: info, verify, gc or clear"),
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.cacheInfoCommand(), a.cacheVerifyCommand(), a.cacheGCCommand(), a.cacheClearCommand())
	return c
}

// stores opens the stores without a pipeline: the cache is one for all of them.
func (a *App) stores() (*Stores, config.Settings, error) {
	p, err := session.Find(a.Dir, a.file)
	if err != nil && a.file == "" {
		p, err = session.Program{Root: a.Dir, Repository: a.Dir, Path: a.Dir}, nil
	}
	if err != nil {
		return nil, config.Settings{}, err
	}
	settings, err := a.settings(p.Root, p.Repository)
	if err != nil {
		return nil, settings, err
	}
	s, err := a.Open(settings, p)
	return s, settings, err
}

// cacheInfo is what `tow cache info` tells.
type cacheInfo struct {
	Folder        string `json:"folder"`
	Blobs         int    `json:"blobs"`
	BlobBytes     int64  `json:"blob_bytes"`
	Results       int    `json:"results"`
	ResultBytes   int64  `json:"result_bytes"`
	Checkouts     int    `json:"checkouts"`
	CheckoutBytes int64  `json:"checkout_bytes"`
	Programs      int    `json:"programs"`
	ProgramBytes  int64  `json:"program_bytes"`
	Indexes       int    `json:"indexes"`
	IndexBytes    int64  `json:"index_bytes"`
}

func (a *App) cacheInfoCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "info",
		Short: "Say where the cache is and how large it is",
		Args:  args(0, 0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			s, settings, err := a.stores()
			if err != nil {
				return err
			}
			i, err := inform(c.Context(), s, settings.CacheDir)
			if err := errors.Join(err, s.Close(c.Context())); err != nil {
				return err
			}
			if asJSON {
				return printJSON(a.Stdout, i)
			}
			t := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintf(t, "folder\t%s\nblobs\t%d, %s\nresults\t%d, %s\n", i.Folder, i.Blobs, size(i.BlobBytes), i.Results, size(i.ResultBytes))
			fmt.Fprintf(t, "checkouts\t%d, %s\nprograms\t%d, %s\n", i.Checkouts, size(i.CheckoutBytes), i.Programs, size(i.ProgramBytes))
			fmt.Fprintf(t, "indexes\t%d, %s\n", i.Indexes, size(i.IndexBytes))
			return t.Flush()
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// inform counts everything.
func inform(ctx context.Context, s *Stores, cacheDir string) (i cacheInfo, err error) {
	i.Folder = cacheDir
	trees := checkouts{s.Checkouts}
	to := map[string]struct {
		items *int
		bytes *int64
	}{
		"blobs": {&i.Blobs, &i.BlobBytes}, "results": {&i.Results, &i.ResultBytes}, "checkouts": {&i.Checkouts, &i.CheckoutBytes},
		"programs": {&i.Programs, &i.ProgramBytes}, "indexes": {&i.Indexes, &i.IndexBytes},
	}
	for _, store := range everything(s, trees, cacheDir) {
		items, err := store.Collector.Items(ctx)
		if err != nil {
			return i, err
		}
		*to[store.Name].items = len(items)
		for _, item := range items {
			*to[store.Name].bytes += item.Bytes
		}
	}
	return i, nil
}

// cleared is what `tow cache clear` tells.
type cleared struct {
	Folder  string            `json:"folder"`
	Stores  []collect.Outcome `json:"stores"`
	Dropped collect.Sum       `json:"dropped"`
}

func (a *App) cacheClearCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "clear",
		Short: "Remove everything that can be made again",
		Long: `Remove all results and blobs, checked-out folders, compiled programs, SDKs and indexes, of all pipelines. Everything runs again
then; the history of runs stays. A run that is under way elsewhere makes again what it misses, or fails and says so.`,
		Args: args(0, 0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			s, settings, err := a.stores()
			if err != nil {
				return err
			}
			out, err := a.clear(c.Context(), s, settings.CacheDir)
			if err := errors.Join(err, s.Close(c.Context())); err != nil {
				return err
			}
			if asJSON {
				return printJSON(a.Stdout, out)
			}
			fmt.Fprintf(a.Stdout, "cleared %s, %s\n", out.Folder, size(out.Dropped.Bytes))
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// clear drops everything, whoever uses it.
func (a *App) clear(ctx context.Context, s *Stores, cacheDir string) (out cleared, err error) {
	out.Folder = cacheDir
	trees := checkouts{s.Checkouts}
	later := a.Now().Add(time.Hour) // than any use that is on record
	out.Stores, err = collect.Run(ctx, everything(s, trees, cacheDir), collect.Request{MaxSize: -1, Since: later, Unneeded: later})
	for _, o := range out.Stores {
		out.Dropped.Add(o.Dropped)
	}
	if err != nil {
		return out, err
	}
	if _, err := trees.Collect(ctx, later); err != nil { // files that were in no tree
		return out, err
	}
	// What has come meanwhile, and what is on record as used in times to come.
	return out, errors.Join(s.Results.Clear(ctx), s.Blobs.Clear(ctx))
}
