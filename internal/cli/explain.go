package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/towpath/towpath/internal/engine"
)

func (a *App) explainCommand() *cobra.Command {
	var params []string
	var asJSON bool
	c := &cobra.Command{
		Use:   "explain STAGE…",
		Short: "Say whether stages would run now, and why",
		Long: `Say for stages whether "tow run" would run them now, and which input, file, parameter or
part of the pipeline program changed since they last ran. Nothing is run.`,
		Example: `  tow explain test
  tow explain wheel -P version=1.2 --json`,
		Args:              args(1, -1, "at least one stage"),
		ValidArgsFunction: a.completeStages,
		RunE: func(c *cobra.Command, targets []string) error {
			given, err := parseParams(params)
			if err != nil {
				return err
			}
			return a.with(c.Context(), func(w *workplace) error {
				all, err := a.engine(w).Explain(c.Context(), engine.Request{Targets: targets, Params: given})
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(a.Stdout, all)
				}
				a.printExplanations(all, targets)
				return nil
			})
		},
	}
	c.Flags().StringArrayVarP(&params, "param", "P", nil, "give a parameter its value, as `name=value`")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON, for all stages that are needed")
	return c
}

// printExplanations prints those of the targets, and of the stages before them that run.
func (a *App) printExplanations(all []engine.Explanation, targets []string) {
	byName := map[string]engine.Explanation{}
	for _, x := range all {
		byName[x.Stage] = x
	}
	for _, x := range all {
		asked := false
		for _, t := range targets {
			asked = asked || x.Stage == t || strings.HasPrefix(x.Stage, t+"[")
		}
		switch {
		case x.State == "cached" && asked:
			fmt.Fprintf(a.Stdout, "%s is cached: run %s made its result, and nothing changed since\n", x.Stage, x.From)
		case x.State == "runs":
			fmt.Fprintf(a.Stdout, "%s runs:\n", x.Stage)
			for _, r := range x.Reasons {
				fmt.Fprintf(a.Stdout, "  %s\n", r.Text)
			}
		case x.State == "unknown" && asked:
			fmt.Fprintf(a.Stdout, "%s runs if the result of %s changes\n", x.Stage, strings.Join(x.After, " or "))
		}
	}
}
