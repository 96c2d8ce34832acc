package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/event"
	"github.com/towpath/towpath/internal/executor"
	"github.com/towpath/towpath/internal/history"
	"github.com/towpath/towpath/internal/quote"
)

// shellOptions say which step to open, and what to run in it.
type shellOptions struct {
	// run is "" for the newest run that called the stage.
	run, stage string
	// step is 0 for the last one that failed, else the last one.
	step    int
	command []string
}

func (a *App) shellCommand() *cobra.Command {
	var o shellOptions
	c := &cobra.Command{
		Use:   "shell STAGE [-- COMMAND…]",
		Short: "Open a shell where a step of a stage ran",
		Long: `Open a shell in the sandbox of a step: with its root, its inputs, its variables, in its working
folder. It is the last step that failed when the stage was last called, else its last step. The
command of the step is printed first, so that it can be pasted. The workspace is a fresh one: what
the step had written is not in it, and what you change is gone when you leave.

Instead of a shell, COMMAND is run. The exit code is that of the shell or the command.`,
		Example: `  tow shell test
  tow shell 'test[shard=0]' --step 2
  tow shell test --run 20260102-1504
  tow shell test -- ls -la`,
		ValidArgsFunction: func(c *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return a.completeElements(c, args, prefix)
		},
		RunE: func(c *cobra.Command, given []string) error {
			stages := given
			if dash := c.ArgsLenAtDash(); dash >= 0 {
				stages, o.command = given[:dash], given[dash:]
			}
			if len(stages) != 1 {
				return &usageError{text: fmt.Sprintf("`%s` takes one stage, not %d", c.CommandPath(), len(stages)), hint: "usage: " + c.UseLine()}
			}
			if c.Flags().Changed("step") && o.step < 1 {
				return &usageError{text: fmt.Sprintf("--step is %d; it is a number from 1", o.step)}
			}
			o.stage = stages[0]
			return a.with(c.Context(), func(w *workplace) error {
				code, err := a.shell(c.Context(), w, o)
				if err != nil {
					return err
				}
				if code != 0 {
					return &exitError{code}
				}
				return nil
			})
		},
	}
	c.Flags().IntVar(&o.step, "step", 0, "the `number` of the step (default: the last that failed, else the last)")
	c.Flags().StringVar(&o.run, "run", "", "the `run`: an id, the beginning of one, or latest (default: the latest that called the stage)")
	return c
}

// shell opens the shell of a step and returns its exit code.
func (a *App) shell(ctx context.Context, w *workplace, o shellOptions) (int, error) {
	if err := w.checkIsolation(); err != nil {
		return 0, err
	}
	c, err := findCall(ctx, w.stores.History, o.run, o.stage)
	if err != nil {
		return 0, err
	}
	s, err := c.choose(o.step)
	if err != nil {
		return 0, err
	}
	sheller, ok := w.stores.Executor.(executor.Sheller)
	if !ok {
		return 0, &usageError{text: fmt.Sprintf("the executor %s opens no shells", w.stores.Executor.Name())}
	}
	action, err := loadAction(ctx, w.stores.Blobs, s)
	if err == nil {
		if wrong := action.CheckIsolation(w.stores.Executor.Isolation()); wrong != nil {
			return 0, &usageError{text: fmt.Sprintf("%s cannot be opened here: %v", s, wrong), hint: again(s)}
		}
		fmt.Fprintf(a.Stderr, "%s of run %s %s; what you change here is gone when you leave\n", s, s.run, s.End())
		fmt.Fprintf(a.Stderr, "$ %s\n", quote.Words(action.Args...))
		var code int
		if code, err = sheller.Shell(ctx, action, o.command, a.terminal()); err == nil {
			return code, nil
		}
	}
	return 0, shellError(s, err)
}

// shellError says what a person can do about an error of opening a shell.
func shellError(s step, err error) error {
	var (
		missing *executor.MissingInputError
		none    *executor.CommandNotFoundError
		corrupt *cas.CorruptError
	)
	switch {
	case errors.As(err, &missing), errors.As(err, &corrupt), errors.Is(err, fs.ErrNotExist) && !errors.As(err, &none):
		return &usageError{text: fmt.Sprintf("%s cannot be opened, since not all that it had is in the store any more: %v", s, err), hint: again(s)}
	case errors.As(err, &none):
		return &usageError{text: fmt.Sprintf("%s: %v", s, err), hint: fmt.Sprintf("`tow shell %s -- PROGRAM` runs another program", quote.Words(s.Stage))}
	}
	return fmt.Errorf("open a shell for %s: %w", s, err)
}

func again(s step) string {
	return fmt.Sprintf("`tow run --no-cache %s` runs it again, and then a shell can be opened", quote.Words(s.Stage))
}

// terminal is where a person types and reads.
func (a *App) terminal() executor.Terminal {
	t := executor.Terminal{In: strings.NewReader(""), Out: a.Stdout, Err: a.Stderr}
	if a.Stdin != nil {
		t.In = a.Stdin
	}
	return t
}

// loadAction reads what a step ran from the store.
func loadAction(ctx context.Context, store cas.Store, s step) (executor.Action, error) {
	const limit = 64 << 20 // of a message that names every argument and variable
	key, err := digest.Parse(s.Key)
	if err != nil {
		return executor.Action{}, fmt.Errorf("read the key of %s: %w", s, err)
	}
	action, err := cas.ReadAll(ctx, store, key, limit)
	if err != nil {
		return executor.Action{}, err
	}
	of, err := executor.DecodeAction(action)
	if err != nil {
		return executor.Action{}, err
	}
	command, err := cas.ReadAll(ctx, store, of, limit)
	if err != nil {
		return executor.Action{}, err
	}
	return executor.Decode(action, command)
}

// checkShellOnFailure refuses --shell-on-failure where nobody could use the shell.
func (a *App) checkShellOnFailure(o runOptions) error {
	switch {
	case !o.shellOnFailure:
		return nil
	case o.asJSON:
		return &usageError{text: "--shell-on-failure and --json exclude each other", hint: "`tow shell STAGE` opens the shell later"}
	case o.watch:
		return &usageError{text: "--shell-on-failure and --watch exclude each other", hint: "`tow shell STAGE` in another terminal opens the shell"}
	case !isTerminal(a.Stdin) || !isTerminal(a.Stdout):
		return &usageError{text: "--shell-on-failure needs a terminal", hint: "`tow shell STAGE` opens the shell later"}
	}
	return nil
}

func isTerminal(f *os.File) bool { return f != nil && term.IsTerminal(int(f.Fd())) }

// shellAfter opens the shell of the step by which a run failed. What goes wrong is told, and the run stays what it was.
func (a *App) shellAfter(ctx context.Context, w *workplace, run string) {
	stage, err := firstFailed(ctx, w.stores.History, run)
	if err == nil && stage != "" {
		var c call
		if c, err = findCall(ctx, w.stores.History, run, stage); err == nil {
			if s, failed := c.failed(); failed {
				_, err = a.shell(ctx, w, shellOptions{run: run, stage: stage, step: s.Step.Step})
			} else {
				fmt.Fprintf(a.Stderr, "tow: stage %s failed outside of its steps, so there is no sandbox to open\n", stage)
			}
		}
	}
	if err != nil {
		a.complain(err)
	}
}

// firstFailed returns the stage that failed first in a run, "" where none did.
func firstFailed(ctx context.Context, h history.Store, run string) (string, error) {
	stage := ""
	err := h.Events(ctx, run, func(r event.Record) error {
		if e, ok := r.Event.(event.RunFinished); ok {
			stage = e.FirstFailed
		}
		return nil
	})
	return stage, err
}

// step is a command that a stage ran in a run.
type step struct {
	history.Step
	run string
}

func (s step) String() string { return fmt.Sprintf("step %d of stage %s", s.Step.Step, s.Stage) }

// call is what is known of one call of a stage's function.
type call struct{ *history.Call }

// findCall finds the last call of a stage: in the run that ref names, or in the newest run that called it.
func findCall(ctx context.Context, h history.Store, ref, stage string) (call, error) {
	runs, err := runsWith(ctx, h, ref, stage)
	if err != nil {
		return call{}, err
	}
	for _, id := range runs {
		found, err := callsIn(ctx, h, id, stage)
		if _, damaged := errors.AsType[*history.DamagedError](err); err != nil && !(damaged && len(found) > 0) {
			return call{}, err
		}
		if len(found) == 0 {
			continue
		}
		c, err := theOne(found, stage)
		if err != nil || c.From == "" {
			return c, err
		}
		return madeBy(ctx, h, c)
	}
	what := "a run that called stage " + stage
	if ref != "" {
		what = fmt.Sprintf("a call of stage %s in run %s", stage, runs[0])
	}
	return call{}, &history.NotFoundError{What: what, Hint: "`tow stages` lists the stages, `tow runs` the runs, `tow run` runs stages"}
}

// runsWith lists the runs in which to look for a call of a stage, the newest first: the one that ref names, or all down to the one that is remembered
// to have called it last. A newer one may have been cut off before it could be remembered, or have found it in the cache.
func runsWith(ctx context.Context, h history.Store, ref, stage string) ([]string, error) {
	if ref != "" {
		id, err := h.Resolve(ctx, ref)
		return []string{id}, err
	}
	stages, err := h.Last(ctx)
	if err != nil {
		return nil, err
	}
	last := ""
	for name, s := range stages {
		if name == stage || inFamily(name, stage) {
			last = max(last, s.Run) // ids sort by time
		}
	}
	for limit := 1; ; limit *= 8 {
		list, err := h.Runs(ctx, limit)
		if err != nil {
			return nil, err
		}
		if n := len(list); n == limit && list[n-1].ID > last {
			continue
		}
		var runs []string
		for _, r := range list {
			runs = append(runs, r.ID)
		}
		return runs, nil
	}
}

// madeBy returns the call that made the result of a stage that was cached.
func madeBy(ctx context.Context, h history.Store, c call) (call, error) {
	found, err := callsIn(ctx, h, c.From, c.Stage)
	for _, m := range found {
		if m.Stage == c.Stage && m.From == "" {
			return m, nil
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return call{}, err
	}
	return call{}, &history.NotFoundError{
		What: fmt.Sprintf("run %s, which called stage %s last,", c.From, c.Stage),
		Hint: elsewhere(c.From, c.Stage),
	}
}

// callsIn reads the calls of a stage in a run, or of all stages that the function of that name stands for.
func callsIn(ctx context.Context, h history.Store, run, name string) ([]call, error) {
	all, err := history.CallsOf(ctx, h, run)
	var found []call
	for _, c := range all.Stages {
		if c.Began() && (c.Stage == name || inFamily(c.Stage, name)) {
			found = append(found, call{c})
		}
	}
	return found, err
}

// theOne chooses the stage that a person meant: the only one, or the only one that failed.
func theOne(found []call, name string) (call, error) {
	var failed []call
	var names []string
	for _, c := range found {
		names = append(names, c.Stage)
		if !c.Outcome.OK() {
			failed = append(failed, c)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(failed) == 1:
		return failed[0], nil
	}
	return call{}, &usageError{
		text: fmt.Sprintf("%s stands for %s in run %s, and it is not clear which is meant", name, count(len(found), "stage"), found[0].Run),
		hint: "name one: " + quote.Words(names[:min(len(names), 10)]...),
	}
}

// failed returns the last step that failed, where the stage did not succeed in spite of it.
func (c call) failed() (step, bool) {
	if c.Outcome.OK() {
		return step{}, false
	}
	for _, s := range slices.Backward(c.Steps) {
		if s.Failed() {
			return step{s, c.Run}, true
		}
	}
	return step{}, false
}

// choose returns step n; 0 stands for the last that failed, else the last.
func (c call) choose(n int) (step, error) {
	if len(c.Steps) == 0 {
		return step{}, &history.NotFoundError{What: fmt.Sprintf("a step of stage %s in run %s", c.Stage, c.Run), Hint: "the stage ran no command"}
	}
	if n == 0 {
		if s, ok := c.failed(); ok {
			return s, nil
		}
		return step{c.Steps[len(c.Steps)-1], c.Run}, nil
	}
	for _, s := range c.Steps {
		if s.Step == n {
			return step{s, c.Run}, nil
		}
	}
	return step{}, &usageError{text: fmt.Sprintf("stage %s has no step %d in run %s", c.Stage, n, c.Run), hint: "it has " + count(len(c.Steps), "step")}
}
