package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/towpath/towpath/internal/config"
	"github.com/towpath/towpath/internal/engine"
	"github.com/towpath/towpath/internal/plan"
	"github.com/towpath/towpath/internal/ui"
)

// runOptions are the flags of `tow run`.
type runOptions struct {
	targets, params                        []string
	jobs                                   int
	jobsSet                                bool
	noCache, asJSON, plain, verbose, quiet bool
	watch, shellOnFailure                  bool
}

func (a *App) runCommand() *cobra.Command {
	var o runOptions
	c := &cobra.Command{
		Use:   "run [STAGE…]",
		Short: "Run stages and what they need",
		Long: `Run stages and everything that they need. What has a result already is not run again.

Without a stage, the setting "targets" says what is run, else every stage that is
no effect and needs none. The name of a function that was bound (test) stands for all
its stages (test[shard=0], test[shard=1]).

With --watch, tow waits after the run and runs again when a file is saved that matters to
it, until Ctrl-C. A save during a run ends that run and starts the next, unless the run has
effects: then it is finished first.

With --shell-on-failure, a shell opens in the sandbox of the step that failed, as "tow shell"
opens it.

Exit codes: 0 all went well, 1 a stage failed, 2 the pipeline or the command is wrong,
3 tow or the machine failed, 130 interrupted.`,
		Example: `  tow run
  tow run lint test
  tow run test --watch
  tow run test --shell-on-failure
  tow run publish -P index=staging
  tow run --no-cache --json`,
		ValidArgsFunction: a.completeStages,
		RunE: func(c *cobra.Command, targets []string) error {
			o.targets, o.jobsSet = targets, c.Flags().Changed("jobs")
			return a.run(c.Context(), o)
		},
	}
	f := c.Flags()
	f.StringArrayVarP(&o.params, "param", "P", nil, "give a parameter its value, as `name=value`")
	f.IntVarP(&o.jobs, "jobs", "j", 0, "how many steps run at once (default: the number of CPUs)")
	f.BoolVar(&o.noCache, "no-cache", false, "run everything again, also what has a result")
	f.BoolVar(&o.watch, "watch", false, "run again whenever a file that matters is saved, until Ctrl-C")
	f.BoolVar(&o.shellOnFailure, "shell-on-failure", false, "open a shell in the sandbox of the step that failed; needs a terminal")
	f.BoolVar(&o.asJSON, "json", false, "print one event a line (docs/events.md)")
	f.BoolVar(&o.plain, "plain", false, "print lines, also on a terminal")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "print more: every cached stage, every step")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "print failures only")
	return c
}

func (a *App) run(ctx context.Context, o runOptions) error {
	if o.jobsSet && o.jobs < 1 {
		return &usageError{text: fmt.Sprintf("--jobs is %d; it is a number from 1", o.jobs)}
	}
	if err := a.checkShellOnFailure(o); err != nil {
		return err
	}
	if o.watch {
		return a.watch(ctx, o)
	}
	return a.with(ctx, func(w *workplace) error {
		result, err := a.runOnce(ctx, w, o)
		if err != nil {
			return err
		}
		if o.shellOnFailure && result.ExitCode == engine.ExitFailed {
			a.shellAfter(ctx, w, result.Run)
		}
		if result.ExitCode != engine.ExitOK {
			return &exitError{result.ExitCode}
		}
		return nil
	})
}

// runOnce does one run and shows it.
func (a *App) runOnce(ctx context.Context, w *workplace, o runOptions) (engine.Result, error) {
	if err := w.checkIsolation(); err != nil {
		return engine.Result{}, err
	}
	request, err := w.request(o)
	if err != nil {
		return engine.Result{}, err
	}
	out, err := ui.Choose(ui.Options{
		JSON: o.asJSON, Plain: o.plain, Verbose: o.verbose, Quiet: o.quiet, LookupEnv: a.Lookup, Stdout: a.Stdout, Command: a.command(),
	})
	if err != nil {
		return engine.Result{}, &usageError{text: err.Error()}
	}
	result, err := a.engine(w).Run(ctx, request, out)
	if len(o.targets) == 0 {
		err = wrongTargets(w.settings, err)
	}
	return result, errors.Join(err, out.Close())
}

// wrongTargets adds to an error about a stage that the settings name and that is not there where they do.
func wrongTargets(s config.Settings, err error) error {
	use, ok := errors.AsType[*plan.UsageError](err)
	if !ok || !s.Given("targets") || !strings.HasPrefix(use.Text, "there is no stage ") {
		return err
	}
	wrong := s.Wrong("targets", use.Text)
	wrong.Hint = use.Hint
	return wrong
}

// request is what the flags, and the settings where there are none, ask for.
func (w *workplace) request(o runOptions) (engine.Request, error) {
	given, err := parseParams(o.params)
	if err != nil {
		return engine.Request{}, err
	}
	if o.jobsSet {
		w.settings.Jobs = o.jobs
	}
	targets := o.targets
	if len(targets) == 0 {
		targets = w.settings.Targets
	}
	return engine.Request{Targets: targets, Params: given, NoCache: o.noCache || !w.settings.Cache}, nil
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
