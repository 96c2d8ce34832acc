package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/towpath/towpath/bench/harness"
	"github.com/towpath/towpath/bench/proc"
)

// childArgument is the first argument of this program where it is its own child: a run of the scheduler has a process for itself, so that the
// peak of its memory is that of the run.
const childArgument = "schedule-child"

const (
	manyStages = 100_000
	fewStages  = 10_000
)

func schedule(l *lab) harness.Row {
	return harness.Row{
		Name:  "schedule-100k",
		About: "a stage among 100,000 in the scheduler against one among 10,000",
		Limit: 1.2,
		// The executor takes most of the time and memory of a stage, and would hide what becomes of the scheduler. So that is measured alone as well. Its time is
		// reported aside: it follows the caches of the processor, which neighbours on the machine share.
		Metrics: []harness.Metric{
			{Name: "time", Unit: "ns/stage"},
			{Name: "memory", Unit: "B/stage"},
			{Name: "time without steps", Unit: "ns/stage", Aside: true},
			{Name: "memory without steps", Unit: "B/stage"},
		},
		Warmups: 1,
		Runs:    21,
		Prepare: func(context.Context) (*harness.Trial, error) {
			self, err := os.Executable()
			if err != nil {
				return nil, err
			}
			return &harness.Trial{
				Peer:   fmt.Sprintf("itself, with %d stages", fewStages),
				Ours:   l.scheduled(self, manyStages),
				Theirs: l.scheduled(self, fewStages),
			}, nil
		},
	}
}

// outcome is what a child tells its parent about a run.
type outcome struct {
	Stages int   `json:"stages"` // that succeeded
	Nanos  int64 `json:"ns"`     // of the run
	Bytes  int64 `json:"bytes"`  // of memory at the peak of the run, besides what the process had before
}

// What a child does for a stage.
const (
	withSteps    = "steps"
	withoutSteps = "nothing"
)

func (l *lab) scheduled(self string, stages int) harness.Sampler {
	return func(ctx context.Context) ([]float64, error) {
		var values []float64
		for _, doing := range []string{withSteps, withoutSteps} {
			result, err := l.runner.Run(ctx, proc.Cmd{
				Path: self,
				Args: []string{childArgument, doing, strconv.Itoa(stages)},
				Dir:  l.folder,
				Env:  l.environment(),
			})
			if err != nil {
				return nil, err
			}
			var o outcome
			if err := json.Unmarshal(result.Stdout, &o); err != nil {
				return nil, fmt.Errorf("the child wrote %q: %w", result.Stdout, err)
			}
			if o.Stages != stages {
				return nil, fmt.Errorf("%d of %d stages were run", o.Stages, stages)
			}
			values = append(values, float64(o.Nanos)/float64(stages), float64(o.Bytes)/float64(stages))
		}
		return values, nil
	}
}

// child runs the scheduler and writes the outcome.
func child(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := runChild(ctx, args)
	if err == nil {
		err = json.NewEncoder(stdout).Encode(o)
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}

func runChild(ctx context.Context, args []string) (outcome, error) {
	if len(args) != 2 || args[0] != withSteps && args[0] != withoutSteps {
		return outcome{}, fmt.Errorf("takes %s or %s, and a number of stages", withSteps, withoutSteps)
	}
	stages, err := strconv.Atoi(args[1])
	if err != nil || stages < layers || stages%layers != 0 {
		return outcome{}, fmt.Errorf("%q is not a number of stages that can be put in %d layers", args[1], layers)
	}
	before, err := peakMemory()
	if err != nil {
		return outcome{}, err
	}
	var w work = &nothing{}
	if args[0] == withSteps {
		if w, err = newSteps(ctx); err != nil {
			return outcome{}, err
		}
	}
	begin := time.Now()
	succeeded, err := runStages(stages, w)
	elapsed := time.Since(begin)
	if err != nil {
		return outcome{}, err
	}
	after, err := peakMemory()
	if err != nil {
		return outcome{}, err
	}
	return outcome{Stages: succeeded, Nanos: elapsed.Nanoseconds(), Bytes: after - before}, w.check(stages)
}
