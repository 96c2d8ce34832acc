package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/towpath/towpath/internal/engine"
	"github.com/towpath/towpath/internal/plan"
	"github.com/towpath/towpath/internal/session"
)

func (a *App) explainCommand() *cobra.Command {
	var params []string
	var ref string
	var asJSON, steps bool
	c := &cobra.Command{
		Use:   "explain STAGE…",
		Short: "Say whether stages would run now, and why, and why their steps ran",
		Long: `Say for stages whether "tow run" would run them now, and which input, file, parameter or
part of the pipeline program changed since they last ran. Nothing is run. STAGE may be an
element of a fanned-out stage, such as test[0].

What steps a stage has is known only when it is called. So for steps this says what the last
call did: which commands were run, and what was different from the call before: an argument,
a variable, an input file, a tool. With --run it says the same of an earlier run.`,
		Example: `  tow explain test
  tow explain test --steps
  tow explain test --run 20260102-1504
  tow explain wheel -P version=1.2 --json`,
		Args:              args(1, -1, "at least one stage"),
		ValidArgsFunction: a.completeElements,
		RunE: func(c *cobra.Command, targets []string) error {
			given, err := parseParams(params)
			if err != nil {
				return err
			}
			if ref != "" && len(params) > 0 {
				return &usageError{text: "-P says what a run would do now, and --run is about one that has been", hint: "leave one of them out"}
			}
			return a.with(c.Context(), func(w *workplace) error {
				if ref != "" {
					return a.explainRun(c.Context(), w.stores.History, ref, targets, asJSON)
				}
				stages, err := withoutElements(c.Context(), w, targets)
				if err != nil {
					return err
				}
				all, err := a.engine(w).Explain(c.Context(), engine.Request{Targets: stages, Params: given})
				if err != nil {
					return err
				}
				if err := checkElements(all, targets); err != nil {
					return err
				}
				full, err := withSteps(c.Context(), w.stores.History, all)
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(a.Stdout, full)
				}
				a.printExplanations(full, targets, steps)
				return nil
			})
		},
	}
	c.Flags().StringArrayVarP(&params, "param", "P", nil, "give a parameter its value, as `name=value`")
	c.Flags().BoolVar(&steps, "steps", false, "tell every step of the last call, cached ones as well, with all reasons")
	c.Flags().StringVar(&ref, "run", "", "tell what this `run` did and why: an id, the beginning of one, or latest")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON, for all stages that are needed")
	return c
}

// withoutElements puts the stage in place of each element of a fan-out: the plan knows only of stages.
func withoutElements(ctx context.Context, w *workplace, targets []string) ([]string, error) {
	out := slices.Clone(targets)
	if !slices.ContainsFunc(targets, func(t string) bool { _, ok := element(t); return ok }) {
		return out, nil
	}
	s, err := session.Open(ctx, w.program, w.session)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	for i, t := range targets {
		of, _ := element(t)
		if slices.ContainsFunc(s.Graph.Stages, func(st *plan.Stage) bool { return st.Name == of && st.FannedOut() }) {
			out[i] = of
		}
	}
	return out, nil
}

// checkElements refuses elements that their stages do not have. Where those are not known yet, any may come.
func checkElements(all []engine.Explanation, targets []string) error {
	for _, t := range targets {
		stage, ok := element(t)
		if !ok {
			continue
		}
		found, n := false, 0
		for _, x := range all {
			found = found || x.Stage == t || x.Stage == stage
			if of, is := element(x.Stage); is && of == stage {
				n++
			}
		}
		if !found {
			hint := stage + " has no elements"
			if n > 0 {
				hint = fmt.Sprintf("%s has %s, from %s[0] to %s[%d]", stage, count(n, "element"), stage, stage, n-1)
			}
			return &usageError{text: fmt.Sprintf("there is no stage %q", t), hint: hint}
		}
	}
	return nil
}

// printExplanations prints those of the targets, with the steps of their last call, and of the stages before them that run.
func (a *App) printExplanations(all []explained, targets []string, steps bool) {
	for _, x := range all {
		stage, isElement := element(x.Stage)
		asked, sibling := false, false
		for _, t := range targets {
			of, one := element(t)
			asked = asked || x.Stage == t || strings.HasPrefix(x.Stage, t+"[") || one && x.Stage == of
			sibling = sibling || one && isElement && of == stage
		}
		switch {
		case sibling && !asked:
		case x.State == "cached" && asked:
			of := ""
			if x.elsewhere {
				of = ", which is none of the runs that are kept of this folder,"
			}
			fmt.Fprintf(a.Stdout, "%s is cached: run %s%s made its result, and nothing changed since\n", x.Stage, x.From, of)
		case x.State == "runs":
			fmt.Fprintf(a.Stdout, "%s runs:\n", x.Stage)
			for _, r := range x.Reasons {
				fmt.Fprintf(a.Stdout, "  %s\n", r.Text)
			}
		case x.State == "unknown" && asked:
			fmt.Fprintf(a.Stdout, "%s runs if the result of %s changes\n", x.Stage, strings.Join(x.After, " or "))
		}
		if asked && len(x.Steps) > 0 {
			fmt.Fprintf(a.Stdout, "when %s was called last, in run %s:\n", x.Stage, x.Last)
			a.printSteps(x.Steps, steps)
		}
	}
}
