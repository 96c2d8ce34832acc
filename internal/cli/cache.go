package cli

import (
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

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
	Folder      string `json:"folder"`
	Blobs       int    `json:"blobs"`
	BlobBytes   int64  `json:"blob_bytes"`
	Results     int    `json:"results"`
	ResultBytes int64  `json:"result_bytes"`
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
			i := cacheInfo{Folder: settings.CacheDir}
			i.Blobs, i.BlobBytes, err = s.Blobs.Info(c.Context())
			if err == nil {
				i.Results, i.ResultBytes, err = s.Results.Info(c.Context())
			}
			if err := errors.Join(err, s.Close(c.Context())); err != nil {
				return err
			}
			if asJSON {
				return printJSON(a.Stdout, i)
			}
			t := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintf(t, "folder\t%s\nblobs\t%d, %s\nresults\t%d, %s\n", i.Folder, i.Blobs, size(i.BlobBytes), i.Results, size(i.ResultBytes))
			return t.Flush()
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (a *App) cacheClearCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "clear",
		Short: "Remove all results and blobs",
		Long: `Remove all results and blobs, of all pipelines. Everything runs again then; the history of runs stays.
A run that is under way elsewhere makes again what it misses, or fails and says so.`,
		Args: args(0, 0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			s, settings, err := a.stores()
			if err != nil {
				return err
			}
			// Results first: a result without its blobs would only be looked at in vain.
			err = s.Results.Clear(c.Context())
			if err == nil {
				err = s.Blobs.Clear(c.Context())
			}
			if err := errors.Join(err, s.Close(c.Context())); err != nil {
				return err
			}
			fmt.Fprintf(a.Stdout, "cleared %s\n", settings.CacheDir)
			return nil
		},
	}
}
