package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/towpath/towpath/internal/cas/collect"
)

// collected is what `tow cache gc` tells.
type collected struct {
	Folder   string            `json:"folder"`
	DryRun   bool              `json:"dry_run"`
	Stores   []collect.Outcome `json:"stores"`
	Dangling int               `json:"dangling_results"`
	Dropped  collect.Sum       `json:"dropped"`
	Kept     collect.Sum       `json:"kept"`
	Needed   collect.Sum       `json:"needed"`
}

func (a *App) cacheGCCommand() *cobra.Command {
	var (
		maxSize, maxAge string
		dryRun, asJSON  bool
	)
	c := &cobra.Command{
		Use:   "gc",
		Short: "Drop what was not used for the longest time",
		Long: `Drop blobs, results, checked-out folders, compiled programs, SDKs and indexes of all pipelines: those that were last used before
--max-age, and those that were last used the longest ago until the rest takes no more of the disk than --max-size. What was dropped is
made again when it is needed. The history of runs stays.

Pipelines may run meanwhile: what was used since one hour before the oldest running tow began stays, whatever the limits say.`,
		Example: "  tow cache gc --max-size 20GiB\n  tow cache gc --max-age 30d --dry-run",
		Args:    args(0, 0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			r, err := a.collectRequest(maxSize, maxAge)
			if err != nil {
				return err
			}
			r.DryRun = dryRun
			s, settings, err := a.stores()
			if err != nil {
				return err
			}
			out, err := a.collect(c.Context(), s, settings.CacheDir, r)
			if err := errors.Join(err, s.Close(c.Context())); err != nil {
				return err
			}
			if asJSON {
				return printJSON(a.Stdout, out)
			}
			return a.tellCollected(out)
		},
	}
	c.Flags().StringVar(&maxSize, "max-size", "", "how much of the disk the cache may take: 500MiB, 20GiB")
	c.Flags().StringVar(&maxAge, "max-age", "", "how long ago the last use may be: 12h, 30d")
	c.Flags().BoolVar(&dryRun, "dry-run", false, "only say what would be dropped")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// collectRequest reads the limits, at least one of which must be there.
func (a *App) collectRequest(maxSize, maxAge string) (collect.Request, error) {
	r := collect.Request{MaxSize: -1}
	if maxSize == "" && maxAge == "" {
		return r, &usageError{text: "`tow cache gc` needs --max-size, --max-age, or both", hint: "for example: tow cache gc --max-size 20GiB"}
	}
	if maxSize != "" {
		n, err := parseSize(maxSize)
		if err != nil {
			return r, &usageError{text: fmt.Sprintf("--max-size %q is not a size", maxSize), hint: "write a number and a unit: 500MiB, 20GiB"}
		}
		r.MaxSize = n
	}
	if maxAge != "" {
		d, err := parseAge(maxAge)
		if err != nil {
			return r, &usageError{text: fmt.Sprintf("--max-age %q is not a duration", maxAge), hint: "write a number and a unit: 90m, 12h, 30d"}
		}
		r.Since = a.Now().Add(-d)
	}
	return r, nil
}

// parseSize reads a number of bytes: 1024, 10K, 10KiB, 1.5GiB, 2GB. Units are powers of 1024 unless they end in a B without an i.
func parseSize(text string) (int64, error) {
	i := strings.IndexFunc(text, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
	number, unit := text, ""
	if i >= 0 {
		number, unit = text[:i], strings.ToUpper(strings.TrimSpace(text[i:]))
	}
	n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil {
		return 0, err
	}
	factor, ok := factorOf(unit)
	if !ok {
		return 0, fmt.Errorf("there is no unit %q", unit)
	}
	n *= factor
	if n >= 1<<62 {
		return 0, errors.New("it is too large")
	}
	return int64(n), nil
}

func factorOf(unit string) (float64, bool) {
	binary, decimal := 1.0, 1.0
	if unit == "" || unit == "B" {
		return 1, true
	}
	for _, prefix := range []string{"K", "M", "G", "T"} {
		binary, decimal = binary*1024, decimal*1000
		switch unit {
		case prefix, prefix + "IB":
			return binary, true
		case prefix + "B":
			return decimal, true
		}
	}
	return 0, false
}

// parseAge reads a duration, which may be in days.
func parseAge(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseFloat(days, 64)
		if err != nil || n < 0 || n > 36500 {
			return 0, fmt.Errorf("%q is not a number of days", days)
		}
		return time.Duration(n * 24 * float64(time.Hour)), nil
	}
	d, err := time.ParseDuration(text)
	if err == nil && d < 0 {
		err = errors.New("it is negative")
	}
	return d, err
}

func (a *App) collect(ctx context.Context, s *Stores, cacheDir string, r collect.Request) (out collected, err error) {
	out = collected{Folder: cacheDir, DryRun: r.DryRun}
	if r.Unneeded, err = s.Blobs.Unneeded(); err != nil {
		return out, err
	}
	trees := checkouts{s.Checkouts}
	out.Stores, err = collect.Run(ctx, everything(s, trees, cacheDir), r)
	for _, o := range out.Stores {
		out.Dropped.Add(o.Dropped)
		out.Kept.Add(o.Kept)
		out.Needed.Add(o.Needed)
	}
	if err != nil || r.DryRun || out.Dropped.Items == 0 {
		return out, err
	}
	if _, err := trees.Collect(ctx, time.Time{}); err != nil { // files that were only in trees that are gone
		return out, err
	}
	rest, err := s.Results.Verify(ctx, wholeResults(ctx, s.Blobs.Unnoted()))
	out.Dangling = rest.Dangling
	return out, err
}

// everything lists what the cache folder holds. Of what was used at the same time a result goes before its blobs: a result without them would only be
// looked at in vain.
func everything(s *Stores, trees checkouts, cacheDir string) []collect.Store {
	below := func(names ...string) collect.Folders {
		f := collect.Folders{}
		for _, name := range names {
			f.Parents = append(f.Parents, filepath.Join(cacheDir, filepath.FromSlash(name)))
		}
		return f
	}
	return []collect.Store{
		{Name: "results", Collector: s.Results}, {Name: "checkouts", Collector: trees}, {Name: "blobs", Collector: s.Blobs},
		{Name: "programs", Collector: below("programs", "programs/go", "gowork", "sdk/go", "sdk/python")}, {Name: "indexes", Collector: below("index")},
	}
}

func (a *App) tellCollected(out collected) error {
	t := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
	for _, o := range out.Stores {
		if o.Dropped.Items+o.Kept.Items > 0 {
			fmt.Fprintf(t, "%s\t%d dropped, %s\t%d kept, %s\n", o.Store, o.Dropped.Items, size(o.Dropped.Bytes), o.Kept.Items, size(o.Kept.Bytes))
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if out.Dangling > 0 {
		fmt.Fprintf(a.Stdout, "%s whose blobs are gone dropped\n", count(out.Dangling, "result"))
	}
	if out.Needed.Items > 0 {
		fmt.Fprintf(a.Stdout, "%s above the limits kept: used by what is running, or in the last hour\n", size(out.Needed.Bytes))
	}
	how := "freed"
	if out.DryRun {
		how = "would be freed"
	}
	fmt.Fprintf(a.Stdout, "%s %s, %s left in %s\n", size(out.Dropped.Bytes), how, size(out.Kept.Bytes), out.Folder)
	return nil
}
