package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/towpath/towpath/internal/session"
)

func (a *App) checkCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "check",
		Short: "Check the pipeline without running it",
		Long:  `Load the pipeline program and check its graph: names, edges, types, parameters. Nothing is run.`,
		Args:  args(0, 0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.describe(c.Context(), func(w *workplace, s *session.Session) error {
				if asJSON {
					return printJSON(a.Stdout, map[string]any{
						"program": w.program.Name(), "stages": len(s.Graph.Stages), "params": len(s.Graph.Params), "digest": s.Digest.String(),
					})
				}
				fmt.Fprintf(a.Stdout, "%s is valid: %s, %s\n", w.program.Name(), count(len(s.Graph.Stages), "stage"), count(len(s.Graph.Params), "parameter"))
				return nil
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}
