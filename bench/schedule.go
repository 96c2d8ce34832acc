package main

import (
	"context"
	"encoding/json"
	"errors"
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
		Name:    "schedule-100k",
		About:   "a stage among 100,000 in the scheduler against one among 10,000",
		Limit:   1.2,
		Metrics: []harness.Metric{{Name: "time", Unit: "ns/stage"}, {Name: "memory", Unit: "B/stage"}},
		Warmups: 1,
		Runs:    15,
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

// outcome is what a child tells its parent about a run of the scheduler.
type outcome struct {
	Stages int   `json:"stages"` // that ended well
	Nanos  int64 `json:"ns"`
	Bytes  int64 `json:"bytes"` // of memory at the peak of the run, besides what the process had before
}

func (l *lab) scheduled(self string, stages int) harness.Sampler {
	c := proc.Cmd{Path: self, Args: []string{childArgument, strconv.Itoa(stages)}, Dir: l.folder, Env: l.environment()}
	return func(ctx context.Context) ([]float64, error) {
		result, err := l.runner.Run(ctx, c)
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
		return []float64{float64(o.Nanos) / float64(stages), float64(o.Bytes) / float64(stages)}, nil
	}
}

// child runs the scheduler and writes the outcome.
func child(args []string, stdout, stderr io.Writer) int {
	o, err := runChild(args)
	if err == nil {
		err = json.NewEncoder(stdout).Encode(o)
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}

func runChild(args []string) (outcome, error) {
	if len(args) != 1 {
		return outcome{}, errors.New("takes a number of stages")
	}
	stages, err := strconv.Atoi(args[0])
	if err != nil || stages < layers || stages%layers != 0 {
		return outcome{}, fmt.Errorf("%q is not a number of stages that can be put in %d layers", args[0], layers)
	}
	before, err := peakMemory()
	if err != nil {
		return outcome{}, err
	}
	begin := time.Now()
	succeeded, err := runStages(stages)
	elapsed := time.Since(begin)
	if err != nil {
		return outcome{}, err
	}
	after, err := peakMemory()
	return outcome{Stages: succeeded, Nanos: elapsed.Nanoseconds(), Bytes: after - before}, err
}
