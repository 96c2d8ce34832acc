// Package cli is the command line of tow: one file per command.
//
// A command reads its flags and arguments, asks the rooms below for what it wants, and prints the answer. It decides nothing about how a
// pipeline is run. Which implementations of the contracts there are is not known here either: cmd/tow passes them in.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/towpath/towpath/internal/actioncache"
	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/checkout"
	"github.com/towpath/towpath/internal/config"
	"github.com/towpath/towpath/internal/engine"
	"github.com/towpath/towpath/internal/executor"
	"github.com/towpath/towpath/internal/history"
	"github.com/towpath/towpath/internal/plan"
	"github.com/towpath/towpath/internal/session"
	"github.com/towpath/towpath/internal/source"
	"github.com/towpath/towpath/internal/watch"
)

// App is what the commands need of their surroundings.
type App struct {
	Stdout, Stderr *os.File
	// Stdin is what a person types, for the commands that take it; nil is nothing.
	Stdin *os.File
	// Dir is the working directory.
	Dir string
	// Lookup is os.LookupEnv or its like.
	Lookup func(string) (string, bool)
	// Environ is what os.Environ returns, for what Lookup is never asked for.
	Environ []string
	// Now is the clock.
	Now func() time.Time
	// Version is that of tow.
	Version string
	// PythonSDK and GoSDK are the SDKs that travel with tow.
	PythonSDK, GoSDK fs.FS
	// Open opens the stores in their folders.
	Open func(config.Settings, session.Program) (*Stores, error)

	file  string            // --file
	flags map[string]string // settings that were given as flags, by key
	told  bool              // whether variables that are no settings were
}

// Counter is a store that can be measured and emptied.
type Counter interface {
	Info(ctx context.Context) (entries int, bytes int64, err error)
	Clear(ctx context.Context) error
}

// Stores are the implementations that cmd/tow has chosen.
type Stores struct {
	Blobs interface {
		cas.Store
		BlobKeeper
	}
	Results interface {
		actioncache.Cache
		ResultKeeper
	}
	Executor  executor.Executor
	Sources   *source.Snapshotter
	Checkouts *checkout.Checkouts
	History   history.Store
	// Close releases all of them. It reports what could not be written.
	Close func(context.Context) error
}

// Main runs the command that args name and returns the exit code.
func (a *App) Main(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return engine.ExitOK
	}
	if exit, ok := errors.AsType[*exitError](err); ok {
		return exit.code
	}
	if ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
		fmt.Fprintln(a.Stderr, "tow: interrupted")
		return engine.ExitCancelled
	}
	a.complain(err)
	return exitCode(err)
}

// exitError ends tow with a code when everything has been said.
type exitError struct{ code int }

func (e *exitError) Error() string { return fmt.Sprintf("exit code %d", e.code) }

// usageError is a command that was typed wrong.
type usageError struct {
	text, hint string
}

func (e *usageError) Error() string { return e.text }

// exitCode tells the user's faults from those of tow and the machine.
func exitCode(err error) int {
	var (
		setting   *config.Error
		missing   *history.NotFoundError
		ambiguous *history.AmbiguousError
		usage     *usageError
	)
	for _, target := range []any{&setting, &missing, &ambiguous, &usage} {
		if errors.As(err, target) {
			return engine.ExitPipeline
		}
	}
	return engine.ExitCode(err)
}

// complain prints an error: what went wrong first, then what to do.
func (a *App) complain(err error) {
	var wrongPlan *plan.Error
	if errors.As(err, &wrongPlan) && len(wrongPlan.Problems) > 1 {
		fmt.Fprintf(a.Stderr, "tow: the pipeline has %d problems\n", len(wrongPlan.Problems))
		for _, p := range wrongPlan.Problems {
			fmt.Fprintf(a.Stderr, "  %s\n", p)
		}
		return
	}
	text := err.Error()
	if strings.Contains(text, "\n") {
		text = strings.ReplaceAll(text, "\n", "\n  ")
	}
	var program *session.Error
	if errors.As(err, &program) && program.Trace != "" {
		fmt.Fprintln(a.Stderr, strings.TrimRight(program.Trace, "\n"))
	}
	fmt.Fprintf(a.Stderr, "tow: %s\n", text)
	if h := hint(err); h != "" {
		// The commands that a hint names are about the program that this one was about.
		fmt.Fprintf(a.Stderr, "hint: %s\n", strings.ReplaceAll(h, "`tow ", "`"+a.command()+" "))
	}
}

func hint(err error) string {
	var (
		setting *config.Error
		missing *history.NotFoundError
		usage   *usageError
		limit   *watch.LimitError
	)
	switch {
	case errors.As(err, &setting):
		return setting.Hint
	case errors.As(err, &missing):
		return missing.Hint
	case errors.As(err, &usage):
		return usage.hint
	case errors.As(err, &limit):
		return limit.Hint
	}
	return engine.Hint(err)
}

func (a *App) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "tow",
		Short: "Run pipelines that are written in Python or Go",
		Long: `tow runs CI/CD pipelines that are programs: typed functions with explicit inputs.
It runs what changed, says why, and finds everything else in its cache.

Start with "tow init python" or "tow init go", then "tow run".`,
		SilenceErrors: true, SilenceUsage: true,
	}
	root.SetOut(a.Stdout)
	root.SetErr(a.Stderr)
	root.PersistentFlags().StringVarP(&a.file, "file", "f", "", "the pipeline program (default: the one in this folder or above)")
	a.flags = map[string]string{}
	for _, s := range config.All() {
		if s.Flag != "" {
			root.PersistentFlags().Var(&settingFlag{key: s.Key, flags: a.flags}, s.Flag, s.Doc)
		}
	}
	isolations := cobra.FixedCompletions([]cobra.Completion{config.IsolationAuto, config.IsolationSandbox, config.IsolationWorkspace}, cobra.ShellCompDirectiveNoFileComp)
	if err := root.RegisterFlagCompletionFunc("isolation", isolations); err != nil {
		panic(err) // there is no such flag
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return &usageError{text: flagText(err), hint: fmt.Sprintf("`%s --help` lists the flags", c.CommandPath())}
	})
	root.AddGroup(
		&cobra.Group{ID: "run", Title: "Run and look:"},
		&cobra.Group{ID: "plan", Title: "The pipeline:"},
		&cobra.Group{ID: "tow", Title: "tow itself:"},
	)
	root.SetHelpCommandGroupID("tow")
	root.SetCompletionCommandGroupID("tow")
	for group, commands := range map[string][]*cobra.Command{
		"run":  {a.runCommand(), a.explainCommand(), a.shellCommand(), a.logsCommand(), a.runsCommand(), a.artifactsCommand()},
		"plan": {a.initCommand(), a.checkCommand(), a.stagesCommand(), a.graphCommand()},
		"tow":  {a.doctorCommand(), a.cacheCommand(), a.sdkCommand(), a.versionCommand()},
	} {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	root.RunE = func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			return &usageError{
				text: fmt.Sprintf("there is no command %q", args[0]),
				hint: meantCommand(c, args[0]),
			}
		}
		return c.Help()
	}
	root.Args = cobra.ArbitraryArgs
	refuseShells(root)
	return root
}

// refuseShells makes `tow completion SHELL` an error for a shell that it knows nothing of, which is a list of commands otherwise.
func refuseShells(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() != "completion" {
			continue
		}
		var shells []string
		for _, shell := range c.Commands() {
			shells = append(shells, shell.Name())
		}
		c.Args = cobra.ArbitraryArgs
		c.RunE = func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return &usageError{text: fmt.Sprintf("there is no completion for the shell %q", args[0]), hint: "there is one for " + strings.Join(shells, ", ")}
			}
			return c.Help()
		}
	}
}

// flagText says what is wrong with a flag, without the names of functions of Go.
func flagText(err error) string {
	text, reason, parsed := strings.Cut(err.Error(), ": strconv.")
	switch {
	case !parsed:
		return text
	case strings.HasPrefix(reason, "ParseBool"):
		return text + ": it is neither true nor false"
	}
	return text + ": it is no whole number"
}

// meantCommand is the hint for a command that is not there.
func meantCommand(root *cobra.Command, name string) string {
	root.SuggestionsMinimumDistance = 2
	if near := root.SuggestionsFor(name); len(near) > 0 {
		return fmt.Sprintf("did you mean `tow %s`?", near[0])
	}
	for _, c := range root.Commands() {
		for _, sub := range c.Commands() {
			if sub.Name() == name {
				return fmt.Sprintf("did you mean `%s`?", sub.CommandPath())
			}
		}
	}
	return fmt.Sprintf("`tow --help` lists them; `tow run %s` runs a stage", name)
}

// settingFlag is a flag that gives a setting its value.
type settingFlag struct {
	key   string
	flags map[string]string
}

// String implements pflag.Value.
func (f *settingFlag) String() string { return "" }

// Set implements pflag.Value.
func (f *settingFlag) Set(v string) error {
	f.flags[f.key] = v
	return nil
}

// Type implements pflag.Value.
func (f *settingFlag) Type() string { return "string" }

// args checks the number of arguments and says what they are.
func args(least, most int, what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) < least || most >= 0 && len(args) > most {
			return &usageError{text: fmt.Sprintf("`%s` takes %s, not %d arguments", c.CommandPath(), what, len(args)), hint: "usage: " + c.UseLine()}
		}
		return nil
	}
}

// workplace is a pipeline program with the stores that belong to it.
type workplace struct {
	settings config.Settings
	program  session.Program
	stores   *Stores
	session  session.Config
}

// open finds the program and opens its stores. The caller closes them.
func (a *App) open() (*workplace, error) {
	p, err := session.Find(a.Dir, a.file)
	if err != nil {
		return nil, err
	}
	settings, err := a.settings(p.Root, p.Repository)
	if err != nil {
		return nil, err
	}
	stores, err := a.Open(settings, p)
	if err != nil {
		return nil, err
	}
	return a.workplace(settings, p, stores), nil
}

func (a *App) workplace(settings config.Settings, p session.Program, stores *Stores) *workplace {
	return &workplace{settings: settings, program: p, stores: stores, session: session.Config{
		CacheDir: settings.CacheDir, Python: settings.Python, Version: a.Version, Lookup: a.Lookup, Digest: stores.Sources.Digest,
		PythonSDK: a.PythonSDK, GoSDK: a.GoSDK,
		Output: func(_, line string) { fmt.Fprintln(a.Stderr, line) },
	}}
}

// checkIsolation refuses a machine that cannot keep steps apart as the settings insist.
func (w *workplace) checkIsolation() error {
	if w.settings.Isolation != config.IsolationSandbox || w.stores.Executor.Isolation() == config.IsolationSandbox {
		return nil
	}
	e := &usageError{
		text: "the setting isolation is sandbox, and this machine has no sandbox for steps",
		hint: "`tow doctor` tells more; with `--isolation auto` steps run in a workspace, and share no results with those of a sandbox",
	}
	for _, gap := range w.stores.Executor.Gaps() {
		if gap.Weak {
			e.text += ": " + gap.Why
			if gap.Remedy != "" {
				e.hint = gap.Remedy + "; " + e.hint
			}
			break
		}
	}
	return e
}

// settings reads the settings for a program in these folders.
func (a *App) settings(folders ...string) (config.Settings, error) {
	if !a.told {
		a.told = true
		for _, e := range config.Unknown(a.Environ) {
			fmt.Fprintf(a.Stderr, "warning: %v\nhint: %s\n", e, e.Hint)
		}
	}
	return config.Load(folders, a.Lookup, a.flags)
}

// engine returns the engine of the workplace.
func (a *App) engine(w *workplace) *engine.Engine {
	return engine.New(engine.Config{
		Store: w.stores.Blobs, Cache: w.stores.Results, Executor: w.stores.Executor, Sources: w.stores.Sources, Journal: journal{w.stores.History},
		Session: w.session, Program: w.program, Jobs: w.settings.Jobs, Now: a.Now, Lookup: a.Lookup,
	})
}

// with opens the workplace for fn and closes it again.
func (a *App) with(ctx context.Context, fn func(w *workplace) error) error {
	w, err := a.open()
	if err != nil {
		return err
	}
	err = fn(w)
	if closing := w.stores.Close(context.WithoutCancel(ctx)); closing != nil {
		if err == nil {
			return closing
		}
		a.complain(closing)
	}
	return err
}

// describe asks the program for its plan.
func (a *App) describe(ctx context.Context, fn func(w *workplace, s *session.Session) error) error {
	return a.with(ctx, func(w *workplace) error {
		s, err := session.Open(ctx, w.program, w.session)
		if err != nil {
			return err
		}
		defer s.Close()
		return fn(w, s)
	})
}

// completeStages completes the names of stages.
func (a *App) completeStages(c *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	return a.complete(c.Context(), args, prefix, false)
}

// completeElements completes the names of stages, and of the elements that fanned-out ones had in the latest run.
func (a *App) completeElements(c *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	return a.complete(c.Context(), args, prefix, true)
}

func (a *App) complete(ctx context.Context, args []string, prefix string, elements bool) ([]string, cobra.ShellCompDirective) {
	var names []string
	err := a.describe(ctx, func(w *workplace, s *session.Session) error {
		seen := map[string]bool{}
		for _, name := range args {
			seen[name] = true
		}
		add := func(name, doc string) {
			if !seen[name] && strings.HasPrefix(name, prefix) {
				seen[name] = true
				names = append(names, name+"\t"+doc)
			}
		}
		fanned := map[string]string{} // their docs
		for _, st := range s.Graph.Stages {
			add(st.Function, st.Doc)
			add(st.Name, st.Doc)
			if st.FannedOut() {
				fanned[st.Name] = st.Doc
			}
		}
		if !elements || len(fanned) == 0 {
			return nil
		}
		id, err := w.stores.History.Resolve(ctx, "")
		if _, none := errors.AsType[*history.NotFoundError](err); none {
			return nil
		}
		if err != nil {
			return err
		}
		ends, err := stagesOf(ctx, w.stores.History, id)
		for _, e := range ends {
			if stage, ok := element(e.name); ok {
				if doc, is := fanned[stage]; is {
					add(e.name, doc)
				}
			}
		}
		return err
	})
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// printJSON writes one indented document.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// count writes "1 stage", "2 stages".
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// size writes a number of bytes for people.
func size(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	f, units := float64(n), "KMGTPE"
	for i := range units {
		f /= unit
		if f < unit || i == len(units)-1 {
			return fmt.Sprintf("%.1f %ciB", f, units[i])
		}
	}
	return ""
}
