package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/towpath/towpath/bench/harness"
	"github.com/towpath/towpath/bench/proc"
)

func cachedNinja(l *lab) harness.Row {
	return harness.Row{
		Name:    "cached-1000-ninja",
		About:   "a fully cached run of 1,000 stages against a run of ninja on the same graph that has nothing to do",
		Limit:   10,
		Metrics: timeAndCPU(),
		Warmups: 2,
		Runs:    41,
		Prepare: func(ctx context.Context) (*harness.Trial, error) {
			ninja, version, err := l.ninja(ctx)
			if err != nil {
				return nil, err
			}
			ours, err := l.pipeline(ctx)
			if err != nil {
				return nil, err
			}
			return &harness.Trial{Peer: "ninja " + version, Ours: l.timed(ours, allCached), Theirs: l.timed(ninja, prints("ninja: no work to do.\n"))}, nil
		},
	}
}

// ninja returns the command that runs the graph in ninja, with everything made already.
func (l *lab) ninja(ctx context.Context) (run proc.Cmd, version string, err error) {
	path, version, err := l.builder(ctx, "ninja", "ninja-build")
	if err != nil {
		return proc.Cmd{}, "", err
	}
	folder, err := l.workload("ninja", "", ninjaFiles(), func(string) error { return nil })
	if err != nil {
		return proc.Cmd{}, "", err
	}
	run = proc.Cmd{Path: path, Dir: folder, Env: l.environment()}
	if _, err := l.runner.Run(ctx, run); err != nil {
		return proc.Cmd{}, "", fmt.Errorf("make everything: %w", err)
	}
	return run, version, madeCopies(folder)
}

func ninjaFiles() map[string]string {
	files := map[string]string{}
	var build strings.Builder
	build.WriteString("rule copy\n  command = cp $in $out\n\n")
	for layer := range layers {
		for i := range width {
			name := stageName(layer, i)
			files["src/"+name+".txt"] = sourceOf(name)
			fmt.Fprintf(&build, "build out/%s.txt: copy src/%s.txt", name, name)
			if needed := copiesOf(needs(layer, i)); needed != "" {
				build.WriteString(" |" + needed)
			}
			build.WriteString("\n")
		}
	}
	files["build.ninja"] = build.String()
	return files
}

// copiesOf names the files that stages make, each after a space.
func copiesOf(stages []string) string {
	var b strings.Builder
	for _, stage := range stages {
		b.WriteString(" out/" + stage + ".txt")
	}
	return b.String()
}

// madeCopies checks that each stage has made its copy in a folder.
func madeCopies(folder string) error {
	for layer := range layers {
		for i := range width {
			name := stageName(layer, i)
			made, err := os.ReadFile(filepath.Join(folder, "out", name+".txt"))
			if err != nil {
				return err
			}
			if string(made) != sourceOf(name) {
				return fmt.Errorf("%s made %q", name, made)
			}
		}
	}
	return nil
}

// builder returns the path and the version of a build tool, which is installed where it is missing and this system and user can do so.
func (l *lab) builder(ctx context.Context, name, packaged string) (path, version string, err error) {
	if path, err = exec.LookPath(name); err != nil {
		if path, err = l.installed(ctx, name, packaged); err != nil {
			return "", "", err
		}
	}
	result, err := l.runner.Run(ctx, proc.Cmd{Path: path, Args: []string{"--version"}})
	if err != nil {
		return "", "", err
	}
	first, _, _ := strings.Cut(string(result.Stdout), "\n")
	if first == "" {
		return "", "", errors.New(name + " --version printed nothing")
	}
	return path, strings.TrimPrefix(first, "GNU Make "), nil
}
