package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/towpath/towpath/internal/engine"
	"github.com/towpath/towpath/internal/event"
	"github.com/towpath/towpath/internal/history"
	"github.com/towpath/towpath/internal/ui"
)

const (
	// listedSteps is how many steps of a stage are told unless all are asked for, and listedReasons how many reasons of each.
	listedSteps, listedReasons = 10, 5
)

// explained is a stage with what its last call did.
type explained struct {
	engine.Explanation
	// Steps are those of the run Last.
	Steps []explainedStep `json:"steps,omitempty"`

	elsewhere bool // From is no run of this folder, or is not kept any more
}

// explainedStep is what became of a step, and why it was run.
type explainedStep struct {
	Step int      `json:"step"`
	Args []string `json:"args"`
	Key  string   `json:"key"`
	// State is `ran`, `cached`, or `cut off`.
	State string `json:"state"`
	// From is the run that made the result of a step that was cached.
	From     string         `json:"from,omitempty"`
	ExitCode int            `json:"exit_code"`
	Signal   string         `json:"signal,omitempty"`
	Exceeded string         `json:"exceeded,omitempty"`
	Refused  string         `json:"refused,omitempty"`
	Error    string         `json:"error,omitempty"`
	Duration time.Duration  `json:"duration_ns"`
	Reasons  []event.Reason `json:"reasons,omitempty"`

	end string // how it ended, in words
}

// called is what a run did with a stage.
type called struct {
	Run     string          `json:"run"`
	Stage   string          `json:"stage"`
	Outcome event.Outcome   `json:"outcome,omitempty"`
	From    string          `json:"from,omitempty"` // the run that made the result, where it was cached
	Reasons []event.Reason  `json:"reasons,omitempty"`
	Because string          `json:"because,omitempty"`
	Steps   []explainedStep `json:"steps,omitempty"`
}

// callsOf reads what a run did with its stages, in the order in which they began.
func callsOf(ctx context.Context, h history.Store, run string) ([]*called, error) {
	calls, err := history.CallsOf(ctx, h, run)
	var out []*called
	for _, c := range calls.Stages {
		x := &called{Run: run, Stage: c.Stage, Outcome: c.Outcome, From: c.From, Reasons: c.Reasons, Because: c.Because}
		for _, s := range c.Steps {
			x.Steps = append(x.Steps, explainStep(s))
		}
		out = append(out, x)
	}
	return out, err
}

func explainStep(s history.Step) explainedStep {
	x := explainedStep{Step: s.Step, Args: s.Args, Key: s.Key, State: "cut off", Reasons: s.Reasons, end: s.End()}
	if f := s.Finished; f != nil {
		x.State = "ran"
		if f.Cached {
			x.State = "cached"
		}
		x.From, x.ExitCode, x.Signal, x.Exceeded, x.Refused, x.Error, x.Duration = f.From, f.ExitCode, f.Signal, f.Exceeded, f.Refused, f.Error, f.Duration
	}
	return x
}

// withSteps adds the steps of the last calls, of the runs that are kept.
func withSteps(ctx context.Context, h history.Store, all []engine.Explanation) ([]explained, error) {
	runs := map[string]map[string]*called{}
	here, err := runsHere(ctx, h)
	if err != nil {
		return nil, err
	}
	out := make([]explained, len(all))
	for i, x := range all {
		out[i].Explanation = x
		out[i].elsewhere = x.From != "" && !here(x.From)
		if x.Last == "" {
			continue
		}
		if runs[x.Last] == nil {
			runs[x.Last] = map[string]*called{}
			list, err := callsOf(ctx, h, x.Last)
			if _, damaged := errors.AsType[*history.DamagedError](err); err != nil && !damaged && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
			for _, c := range list {
				runs[x.Last][c.Stage] = c
			}
		}
		if c := runs[x.Last][x.Stage]; c != nil {
			out[i].Steps = c.Steps
		}
	}
	return out, nil
}

// runsHere tells of runs whether the history has them.
func runsHere(ctx context.Context, h history.Store) (func(run string) bool, error) {
	list, err := h.Runs(ctx, 0)
	if err != nil {
		return nil, err
	}
	ids := map[string]bool{}
	for _, r := range list {
		ids[r.ID] = true
	}
	return func(run string) bool { return ids[run] }, nil
}

// printSteps prints the steps of a call: those that were run, unless all are asked for.
func (a *App) printSteps(steps []explainedStep, all bool) {
	told, cached := 0, 0
	for _, s := range steps {
		if s.State == "cached" && !all {
			cached++
			continue
		}
		if told++; told > listedSteps && !all {
			continue
		}
		fmt.Fprintf(a.Stdout, "  step %d %s: %s\n", s.Step, s.how(), ui.Command(s.Args...))
		for i, r := range s.Reasons {
			if i == listedReasons && !all {
				fmt.Fprintf(a.Stdout, "    and %d more (--steps tells all)\n", len(s.Reasons)-i)
				break
			}
			fmt.Fprintf(a.Stdout, "    %s\n", r.Text)
		}
	}
	if more := told - listedSteps; more > 0 && !all {
		fmt.Fprintf(a.Stdout, "  %s more ran (--steps tells all)\n", count(more, "step"))
	}
	if cached > 0 {
		fmt.Fprintf(a.Stdout, "  %s cached\n", wasOrWere(cached, "step"))
	}
}

func wasOrWere(n int, noun string) string {
	if n == 1 {
		return count(n, noun) + " was"
	}
	return count(n, noun) + " were"
}

// how says what became of a step.
func (s explainedStep) how() string {
	switch {
	case s.State == "cached":
		return "was cached (run " + s.From + " did it)"
	case s.State == "cut off", s.Error != "", s.Signal != "", s.Exceeded != "":
		return s.end
	case s.ExitCode == 0 && s.Refused == "":
		return "ran"
	}
	return "ran and " + s.end
}

// explainRun says what a run did with stages, and why.
func (a *App) explainRun(ctx context.Context, h history.Store, ref string, targets []string, asJSON bool) error {
	id, err := h.Resolve(ctx, ref)
	if err != nil {
		return err
	}
	list, err := callsOf(ctx, h, id)
	if err != nil {
		return err
	}
	var wanted []*called
	for _, t := range targets {
		found := false
		for _, c := range list {
			if c.Stage == t || inFamily(c.Stage, t) {
				wanted, found = append(wanted, c), true
			}
		}
		if !found {
			return &history.NotFoundError{What: fmt.Sprintf("stage %s in run %s", t, id), Hint: "`tow runs` lists the runs, `tow stages` the stages"}
		}
	}
	if asJSON {
		return printJSON(a.Stdout, wanted)
	}
	for _, c := range wanted {
		a.printCalled(c)
	}
	return nil
}

func (a *App) printCalled(c *called) {
	switch {
	case c.From != "":
		fmt.Fprintf(a.Stdout, "%s was cached in run %s: run %s made its result\n", c.Stage, c.Run, c.From)
	case len(c.Reasons) == 0 && c.Because != "":
		fmt.Fprintf(a.Stdout, "%s was %s in run %s: %s\n", c.Stage, outcomeText(c.Outcome), c.Run, c.Because)
	default:
		fmt.Fprintf(a.Stdout, "%s ran in run %s:\n", c.Stage, c.Run)
		for _, r := range c.Reasons {
			fmt.Fprintf(a.Stdout, "  %s\n", r.Text)
		}
	}
	a.printSteps(c.Steps, true)
}
