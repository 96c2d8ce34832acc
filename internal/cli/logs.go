package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/towpath/towpath/internal/event"
	"github.com/towpath/towpath/internal/history"
	"github.com/towpath/towpath/internal/quote"
	"github.com/towpath/towpath/protocol"
)

func (a *App) logsCommand() *cobra.Command {
	var ref string
	c := &cobra.Command{
		Use:   "logs [STAGE…]",
		Short: "Print what stages printed",
		Long: `Print the logs of stages: the commands of their steps, what those printed, and what the stages
logged. Without a stage, the logs of all stages of the run are printed. The log of a stage
that was cached is that of the run which made its result.`,
		Example: `  tow logs test
  tow logs --run 20260102-1504 lint`,
		ValidArgsFunction: a.completeElements,
		RunE: func(c *cobra.Command, stages []string) error {
			return a.with(c.Context(), func(w *workplace) error {
				return a.logs(c.Context(), w.stores.History, ref, stages)
			})
		},
	}
	c.Flags().StringVar(&ref, "run", "", "the `run`: an id, the beginning of one, or latest (default: the latest with the stage)")
	return c
}

// stageEnd is how a stage ended in a run, and which run has its log.
type stageEnd struct {
	name    string
	outcome event.Outcome
	run     string
	logRun  string
}

// stagesOf reads how the stages of a run ended, in that order. A stage that was started and has no end was cut off.
func stagesOf(ctx context.Context, h history.Store, id string) ([]stageEnd, error) {
	var order []string
	ends := map[string]*stageEnd{}
	at := func(name string) *stageEnd {
		if ends[name] == nil {
			ends[name] = &stageEnd{name: name, run: id, logRun: id}
			order = append(order, name)
		}
		return ends[name]
	}
	err := h.Events(ctx, id, func(r event.Record) error {
		switch e := r.Event.(type) {
		case event.StageStarted:
			at(e.Stage).logRun = id // also where it had been cached before a blob of it was lost
		case event.StageCached:
			at(e.Stage).logRun = e.From
		case event.StageFinished:
			at(e.Stage).outcome = e.Outcome
		default:
			// The other events say nothing of how a stage ended.
		}
		return nil
	})
	out := make([]stageEnd, len(order))
	for i, name := range order {
		out[i] = *ends[name]
	}
	return out, err
}

func (a *App) logs(ctx context.Context, h history.Store, ref string, stages []string) error {
	wanted, err := a.findStages(ctx, h, ref, stages)
	if err != nil {
		return err
	}
	for _, e := range wanted {
		if len(wanted) > 1 {
			fmt.Fprintf(a.Stdout, "== %s (%s)\n", e.name, outcomeText(e.outcome))
		}
		if err := a.copyLog(ctx, h, e, len(wanted) == 1); err != nil {
			return err
		}
	}
	return nil
}

// findStages returns how stages ended in a run; no stage stands for all. Without a run, each is looked for in the newest one that it was part of.
func (a *App) findStages(ctx context.Context, h history.Store, ref string, stages []string) ([]stageEnd, error) {
	if ref != "" || len(stages) == 0 {
		id, err := h.Resolve(ctx, ref)
		if err != nil {
			return nil, err
		}
		ends, err := stagesOf(ctx, h, id)
		if err != nil || len(stages) == 0 {
			return ends, err
		}
		var wanted []stageEnd
		for _, name := range stages {
			found := named(ends, name)
			if len(found) == 0 {
				return nil, &history.NotFoundError{What: fmt.Sprintf("stage %s in run %s", name, id), Hint: "`tow runs` lists the runs, `tow stages` the stages"}
			}
			wanted = append(wanted, found...)
		}
		return wanted, nil
	}
	runs, err := h.Runs(ctx, 0)
	if err != nil {
		return nil, err
	}
	var wanted []stageEnd
	for _, name := range stages {
		var found []stageEnd
		for _, r := range runs {
			ends, err := stagesOf(ctx, h, r.ID)
			if err != nil {
				return nil, err
			}
			if found = named(ends, name); len(found) > 0 {
				break
			}
		}
		if len(found) == 0 {
			return nil, &history.NotFoundError{What: fmt.Sprintf("a run of stage %s", name), Hint: "`tow stages` lists the stages, `tow run` runs them"}
		}
		wanted = append(wanted, found...)
	}
	return wanted, nil
}

// named returns the stages of that name, or those that the function of that name stands for.
func named(ends []stageEnd, name string) []stageEnd {
	var out []stageEnd
	for _, e := range ends {
		if e.name == name || inFamily(e.name, name) {
			out = append(out, e)
		}
	}
	return out
}

// inFamily tells whether a stage is one of those that a function stands for.
func inFamily(stage, function string) bool {
	return len(stage) > len(function) && stage[:len(function)] == function && stage[len(function)] == '['
}

// element takes the name of an element of a fan-out, NAME[3], apart.
func element(name string) (stage string, ok bool) {
	i := strings.LastIndexByte(name, '[')
	if i <= 0 || !strings.HasSuffix(name, "]") {
		return name, false
	}
	n, err := strconv.Atoi(name[i+1 : len(name)-1])
	if err != nil || protocol.ElementName(name[:i], n) != name {
		return name, false
	}
	return name[:i], true
}

func outcomeText(o event.Outcome) string {
	if o == "" {
		return "cut off"
	}
	return string(o)
}

// elsewhere says why a run whose result of a stage is used is not there, and what to do.
func elsewhere(run, stage string) string {
	return fmt.Sprintf("run %s was made in another folder with the same cache, and can be looked at there, or is not kept any more; `tow run --no-cache %s` runs it here",
		run, quote.Words(stage))
}

func (a *App) copyLog(ctx context.Context, h history.Store, e stageEnd, say bool) error {
	l, err := h.Log(ctx, e.logRun, e.name)
	if errors.Is(err, fs.ErrNotExist) {
		if _, gone := h.Resolve(ctx, e.logRun); gone != nil {
			gone := &history.NotFoundError{What: fmt.Sprintf("the log of stage %s, which run %s wrote,", e.name, e.logRun), Hint: elsewhere(e.logRun, e.name)}
			if say {
				return gone
			}
			a.complain(gone)
			return nil
		}
		if say {
			fmt.Fprintf(a.Stderr, "tow: stage %s logged nothing in run %s\n", e.name, e.logRun)
		}
		return nil
	}
	if err != nil {
		return err
	}
	_, err = io.Copy(a.Stdout, l)
	return errors.Join(err, l.Close())
}
