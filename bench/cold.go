package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/towpath/towpath/bench/harness"
	"github.com/towpath/towpath/bench/proc"
)

func coldMake(l *lab) harness.Row {
	return harness.Row{
		Name:    "cold-1000-make",
		About:   "a run of 1,000 stages that copy a file each, with nothing cached, against make -j2 of the same",
		Limit:   3,
		Metrics: timeAndCPU(),
		Warmups: 1,
		Runs:    7,
		Prepare: func(ctx context.Context) (*harness.Trial, error) {
			path, version, err := l.builder(ctx, "make", "make")
			if err != nil {
				return nil, err
			}
			folder, err := l.workload("make", "", makeFiles(), func(string) error { return nil })
			if err != nil {
				return nil, err
			}
			ours, err := l.coldPipeline(ctx)
			if err != nil {
				return nil, err
			}
			theirs := proc.Cmd{Path: path, Args: []string{"--silent", "-j2"}, Dir: folder, Env: l.environment()}
			return &harness.Trial{
				Peer:       "GNU Make " + version,
				Ours:       ours,
				Theirs:     l.cold(theirs, []string{filepath.Join(folder, "out")}, func(context.Context) error { return madeCopies(folder) }, prints("")),
				Afterwards: func(context.Context) error { return os.RemoveAll(l.removed()) },
			}, nil
		},
	}
}

// coldPipeline is a sampler of runs of the graph in Towpath for which nothing is known: no plan, no result, no source.
func (l *lab) coldPipeline(ctx context.Context) (harness.Sampler, error) {
	warm, err := l.pipelineRun(ctx)
	if err != nil {
		return nil, err
	}
	cache, state := filepath.Join(l.folder, "tow-cold-cache"), filepath.Join(l.folder, "tow-cold-state")
	run := warm
	run.Args = []string{"run", "--jobs=2"}
	run.Env = append(withoutVariables(warm.Env, "TOW_CACHE_DIR", "TOW_STATE_DIR"), "TOW_CACHE_DIR="+cache, "TOW_STATE_DIR="+state)
	list := run
	list.Args = []string{"artifacts", "--json"}
	made := func(ctx context.Context) error {
		result, err := l.runner.Run(ctx, list)
		if err != nil {
			return err
		}
		return copied(result.Stdout)
	}
	return l.cold(run, []string{cache, state}, made, allRan), nil
}

func withoutVariables(env []string, names ...string) []string {
	var rest []string
	for _, variable := range env {
		name, _, _ := strings.Cut(variable, "=")
		keep := true
		for _, n := range names {
			keep = keep && n != name
		}
		if keep {
			rest = append(rest, variable)
		}
	}
	return rest
}

// cold returns a sampler that first puts empty folders in the place of others, which does not count, then runs and measures a command, and checks what
// it printed and what it made. What was there before is removed later: file systems take long to make files right after many were removed.
func (l *lab) cold(c proc.Cmd, folders []string, made func(context.Context) error, printed func(stdout string) error) harness.Sampler {
	measure := l.timed(c, printed)
	return func(ctx context.Context) ([]float64, error) {
		for _, folder := range folders {
			if err := l.emptied(folder); err != nil {
				return nil, err
			}
		}
		sample, err := measure(ctx)
		if err != nil {
			return nil, err
		}
		return sample, made(ctx)
	}
}

// emptied puts an empty folder in the place of another.
func (l *lab) emptied(folder string) error {
	if err := os.MkdirAll(l.removed(), 0o777); err != nil {
		return err
	}
	aside, err := os.MkdirTemp(l.removed(), "")
	if err != nil {
		return err
	}
	if err := os.Rename(folder, filepath.Join(aside, "old")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.MkdirAll(folder, 0o777)
}

// removed is where folders are until the row has been measured.
func (l *lab) removed() string { return filepath.Join(l.folder, "removed") }

// makeFiles is the graph for make. Its recipes are run without a shell.
func makeFiles() map[string]string {
	files := map[string]string{}
	var rules, all strings.Builder
	for layer := range layers {
		for i := range width {
			name := stageName(layer, i)
			files["src/"+name+".txt"] = sourceOf(name)
			all.WriteString(copiesOf([]string{name}))
			fmt.Fprintf(&rules, "\nout/%s.txt: src/%s.txt%s\n\tcp $< $@\n", name, name, copiesOf(needs(layer, i)))
		}
	}
	files["Makefile"] = "all:" + all.String() + "\n.PHONY: all\n" + rules.String()
	return files
}

// allRan checks that a run of tow called every stage.
func allRan(stdout string) error {
	want := fmt.Sprintf("ok: %d ran, ", inGraph)
	if summary := lastLines(stdout, 1); !strings.HasPrefix(summary, want) || strings.Contains(summary, " cached") {
		return fmt.Errorf("did not call every stage: the last line of its output is %q and not %q", summary, want+"…")
	}
	return nil
}
