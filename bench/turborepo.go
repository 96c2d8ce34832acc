package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"

	"github.com/towpath/towpath/bench/harness"
	"github.com/towpath/towpath/bench/proc"
)

// The graph that every tool is given: layers of stages, each of which copies a file of its own and needs some of the layer before.
const (
	layers  = 10
	width   = 100
	fanIn   = 3
	inGraph = layers * width
)

// turboVersion is pinned, so that a ratio changes because Towpath did.
const turboVersion = "2.11.11"

func stageName(layer, i int) string { return fmt.Sprintf("s_%d_%d", layer, i%width) }

// needs returns the stages that a stage needs.
func needs(layer, i int) []string {
	var names []string
	if layer > 0 {
		for k := range fanIn {
			names = append(names, stageName(layer-1, i+k))
		}
	}
	return names
}

func cachedTurborepo(l *lab) harness.Row {
	return harness.Row{
		Name:    "cached-1000-turborepo",
		About:   "a fully cached run of 1,000 stages against one of Turborepo on the same graph",
		Limit:   0.1,
		Metrics: timeAndCPU(),
		Warmups: 2,
		Runs:    21,
		Prepare: func(ctx context.Context) (*harness.Trial, error) {
			turbo, err := l.turborepo(ctx)
			if err != nil {
				return nil, err
			}
			ours, err := l.pipeline(ctx)
			if err != nil {
				return nil, err
			}
			return &harness.Trial{
				Peer:       "Turborepo " + turboVersion,
				Ours:       l.timed(ours, allCached),
				Theirs:     l.timed(turbo, fullTurbo),
				Afterwards: func(ctx context.Context) error { return l.startsNothing(ctx, ours, allCached) },
			}, nil
		},
	}
}

// turborepo returns the command that runs the graph in Turborepo, with everything in its cache.
func (l *lab) turborepo(ctx context.Context) (proc.Cmd, error) {
	folder, err := l.workload("turborepo", "turbo", turboFiles(), func(folder string) error {
		if _, err := l.prepare(ctx, folder, "npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"); err != nil {
			return err
		}
		if err := l.commit(ctx, folder); err != nil {
			return err
		}
		return l.primeTurborepo(ctx, folder)
	})
	if err != nil {
		return proc.Cmd{}, err
	}
	return l.turboRun(folder)
}

// turboRun is Turborepo at its fastest: its own binary without the script of npm's that starts it, and a summary alone, as tow
// prints one.
func (l *lab) turboRun(folder string) (proc.Cmd, error) {
	binary, err := turboBinary(folder)
	if err != nil {
		return proc.Cmd{}, err
	}
	return proc.Cmd{
		Path: binary,
		Args: []string{"run", "build", "--cache=local:rw", "--output-logs=none", "--no-update-notifier", "--no-color"},
		Dir:  folder,
		Env:  l.environment("TURBO_TELEMETRY_DISABLED=1", "DO_NOT_TRACK=1"),
	}, nil
}

func turboBinary(folder string) (string, error) {
	system, machine := runtime.GOOS, map[string]string{"amd64": "64", "arm64": "arm64"}[runtime.GOARCH]
	if machine == "" {
		return "", fmt.Errorf("there is no Turborepo for %s", runtime.GOARCH)
	}
	binary := executable(filepath.Join(folder, "node_modules", "@turbo", system+"-"+machine, "bin", "turbo"))
	if _, err := os.Stat(binary); err != nil {
		return "", fmt.Errorf("npm installed no binary of Turborepo: %w", err)
	}
	return binary, nil
}

// primeTurborepo fills Turborepo's cache. Left to itself it would start npm for each task, which takes half a second a thousand times; so it finds another
// npm, which does the same in a millisecond. What ends up in the cache is the same, as the hash of a task does not depend on who runs it.
func (l *lab) primeTurborepo(ctx context.Context, folder string) error {
	runner, err := l.program(ctx, "./bench/scriptrunner")
	if err != nil {
		return err
	}
	shims := filepath.Join(l.folder, "shims")
	shim := executable(filepath.Join(shims, "npm"))
	if err := errors.Join(os.MkdirAll(shims, 0o777), removeIfThere(shim)); err != nil {
		return err
	}
	if err := os.Link(runner, shim); err != nil {
		return err
	}
	command, err := l.turboRun(folder)
	if err != nil {
		return err
	}
	for i, variable := range command.Env {
		if path, ok := strings.CutPrefix(variable, "PATH="); ok {
			command.Env[i] = "PATH=" + shims + string(os.PathListSeparator) + path
		}
	}
	if _, err := l.runner.Run(ctx, command); err != nil {
		return err
	}
	for layer := range layers {
		for i := range width {
			name := stageName(layer, i)
			made, err := os.ReadFile(filepath.Join(folder, "packages", name, "dist", "out.txt"))
			if err != nil {
				return err
			}
			if string(made) != sourceOf(name) {
				return fmt.Errorf("the build of %s made %q", name, made)
			}
		}
	}
	return nil
}

func sourceOf(stage string) string { return "the source of " + stage + "\n" }

func turboFiles() map[string]string {
	type m = map[string]any
	files := map[string]string{
		".gitignore": "node_modules\ndist\n.turbo\n",
		"package.json": toJSON(m{
			"name": "bench", "private": true, "packageManager": "npm@10.9.0", "workspaces": []string{"packages/*"},
			"devDependencies": m{"turbo": turboVersion},
		}),
		"turbo.json": toJSON(m{
			"tasks": m{"build": m{"dependsOn": []string{"^build"}, "inputs": []string{"src/**"}, "outputs": []string{"dist/**"}}},
		}),
	}
	for layer := range layers {
		for i := range width {
			name, dependencies := stageName(layer, i), m{}
			for _, needed := range needs(layer, i) {
				dependencies[needed] = "*"
			}
			files["packages/"+name+"/src/in.txt"] = sourceOf(name)
			files["packages/"+name+"/package.json"] = toJSON(m{
				"name": name, "version": "1.0.0", "private": true, "dependencies": dependencies,
				"scripts": m{"build": "mkdir -p dist && cp src/in.txt dist/out.txt"},
			})
		}
	}
	return files
}

// toJSON encodes what always can be.
func toJSON(v any) string {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		panic(err)
	}
	return string(b) + "\n"
}

// fullTurbo checks that Turborepo took every task from its cache and asked no other.
func fullTurbo(stdout string) error {
	cached := fmt.Sprintf(`(?m)^Cached:\s+%d cached, %d total\s*$`, inGraph, inGraph)
	for _, pattern := range []string{cached, `>>> FULL TURBO`, `(?m)^\s*• Remote caching disabled`} {
		if !regexp.MustCompile(pattern).MatchString(stdout) {
			return fmt.Errorf("did not take everything from its cache, nothing in its output matches %s: %s", pattern, lastLines(stdout, 5))
		}
	}
	return nil
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
