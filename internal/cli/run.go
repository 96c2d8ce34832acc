package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/towpath/towpath/internal/engine"
	"github.com/towpath/towpath/internal/ui"
)

func (a *App) runCommand() *cobra.Command {
	var params []string
	var jobs int
	var noCache, asJSON, plain, verbose, quiet bool
	c := &cobra.Command{
		Use:   "run [STAGE…]",
		Short: "Run stages and what they need",
		Long: `Run stages and everything that they need. What has a result already is not run again.

Without a stage, the setting "targets" says what is run, else every stage that is
no effect and needs none. The name of a function that was bound (test) stands for all
its stages (test[shard=0], test[shard=1]).

Exit codes: 0 all went well, 1 a stage failed, 2 the pipeline or the command is wrong,
3 tow or the machine failed, 130 interrupted.`,
		Example: `  tow run
  tow run lint test
  tow run publish -P index=staging
  tow run --no-cache --json`,
		ValidArgsFunction: a.completeStages,
		RunE: func(c *cobra.Command, targets []string) error {
			given, err := parseParams(params)
			if err != nil {
				return err
			}
			return a.with(c.Context(), func(w *workplace) error {
				if c.Flags().Changed("jobs") {
					if jobs < 1 {
						return &usageError{text: fmt.Sprintf("--jobs is %d; it is a number from 1", jobs)}
					}
					w.settings.Jobs = jobs
				}
				if len(targets) == 0 {
					targets = w.settings.Targets
				}
				out, err := ui.Choose(ui.Options{
					JSON: asJSON, Plain: plain, Verbose: verbose, Quiet: quiet, LookupEnv: a.Lookup, Stdout: a.Stdout, Command: a.command(),
				})
				if err != nil {
					return &usageError{text: err.Error()}
				}
				result, err := a.engine(w).Run(c.Context(), engine.Request{
					Targets: targets, Params: given, NoCache: noCache || !w.settings.Cache,
				}, out)
				if err := errors.Join(err, out.Close()); err != nil {
					return err
				}
				if result.ExitCode != engine.ExitOK {
					return &exitError{result.ExitCode}
				}
				return nil
			})
		},
	}
	f := c.Flags()
	f.StringArrayVarP(&params, "param", "P", nil, "give a parameter its value, as `name=value`")
	f.IntVarP(&jobs, "jobs", "j", 0, "how many stages, and how many steps, run at once (default: the number of CPUs)")
	f.BoolVar(&noCache, "no-cache", false, "run everything again, also what has a result")
	f.BoolVar(&asJSON, "json", false, "print one event a line (docs/events.md)")
	f.BoolVar(&plain, "plain", false, "print lines, also on a terminal")
	f.BoolVarP(&verbose, "verbose", "v", false, "print more: every cached stage, every step")
	f.BoolVarP(&quiet, "quiet", "q", false, "print failures only")
	return c
}

// command is how tow was called, as far as it matters to the commands that hints name.
func (a *App) command() string {
	if a.file == "" {
		return "tow"
	}
	return ui.Command("tow", "--file", a.file)
}

// parseParams reads the values of -P.
func parseParams(list []string) (map[string]string, error) {
	out := make(map[string]string, len(list))
	for _, p := range list {
		name, value, ok := strings.Cut(p, "=")
		if !ok || name == "" {
			return nil, &usageError{text: fmt.Sprintf("-P %s is not of the form name=value", p)}
		}
		if _, twice := out[name]; twice {
			return nil, &usageError{text: fmt.Sprintf("parameter %s is given twice", name)}
		}
		out[name] = value
	}
	return out, nil
}
