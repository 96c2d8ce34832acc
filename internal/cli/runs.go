package cli

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/towpath/towpath/internal/history"
)

func (a *App) runsCommand() *cobra.Command {
	var asJSON bool
	var limit int
	c := &cobra.Command{
		Use:     "runs",
		Short:   "List the runs of this pipeline",
		Long:    "List the runs of this pipeline, the newest first. The newest 200 are kept, with their logs.",
		Example: "  tow runs\n  tow runs --limit 100 --json",
		Args:    args(0, 0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c.Context(), func(w *workplace) error {
				runs, err := w.stores.History.Runs(c.Context(), limit)
				if err != nil {
					return err
				}
				if asJSON {
					if runs == nil {
						runs = []history.Summary{}
					}
					return printJSON(a.Stdout, runs)
				}
				if len(runs) == 0 {
					fmt.Fprintln(a.Stderr, "tow: there are no runs of this pipeline yet")
					return nil
				}
				t := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
				fmt.Fprintln(t, "RUN\tSTARTED\tOUTCOME\tTOOK\tRAN\tCACHED\tSTAGES")
				for _, r := range runs {
					outcome := string(r.Outcome)
					if outcome == "" {
						outcome = "unfinished"
					}
					if r.Damaged {
						outcome = "damaged"
					}
					started := "-"
					if !r.Started.IsZero() {
						started = r.Started.Local().Format(time.DateTime)
					}
					targets := strings.Join(r.Targets, " ")
					if len(r.Failed) > 0 {
						targets += " (failed: " + strings.Join(r.Failed, ", ") + ")"
					}
					fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%d\t%s\n", r.ID, started, outcome,
						r.Duration.Round(time.Millisecond), r.Ran, r.Cached, strings.TrimSpace(targets))
				}
				return t.Flush()
			})
		},
	}
	c.Flags().IntVarP(&limit, "limit", "n", 20, "how many, the newest first; 0 for all")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}
