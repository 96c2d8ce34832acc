package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/towpath/towpath/bench/proc"
)

// pipeline returns the command that runs the graph in Towpath, with everything in its cache.
func (l *lab) pipeline(ctx context.Context) (proc.Cmd, error) {
	run, err := l.pipelineRun(ctx)
	if err != nil {
		return proc.Cmd{}, err
	}
	l.say("fill the cache of tow")
	if _, err := l.runner.Run(ctx, run); err != nil {
		return proc.Cmd{}, fmt.Errorf("fill the cache: %w", err)
	}
	made := run
	made.Args = []string{"artifacts", "--json"}
	result, err := l.runner.Run(ctx, made)
	if err != nil {
		return proc.Cmd{}, err
	}
	if err := copied(result.Stdout); err != nil {
		return proc.Cmd{}, fmt.Errorf("tow artifacts: %w", err)
	}
	return run, nil
}

// pipelineRun returns the command that runs the graph in Towpath, its steps in sandboxes: without them it would be another measurement.
func (l *lab) pipelineRun(ctx context.Context) (proc.Cmd, error) {
	tow, err := l.tow(ctx)
	if err != nil {
		return proc.Cmd{}, err
	}
	folder, err := l.workload("pipeline", "", pipelineFiles(), func(folder string) error { return l.commit(ctx, folder) })
	if err != nil {
		return proc.Cmd{}, err
	}
	return proc.Cmd{Path: tow, Args: []string{"run"}, Dir: folder, Env: l.environment(inSandbox)}, nil
}

// inSandbox is the setting that refuses to run steps otherwise.
const inSandbox = "TOW_ISOLATION=sandbox"

// copied checks what tow lists as made by the stages: each of them a copy of its source.
func copied(list []byte) error {
	var artifacts []struct{ Stage, Name, Digest string }
	if err := json.Unmarshal(list, &artifacts); err != nil {
		return err
	}
	made := map[string]string{}
	for _, a := range artifacts {
		made[a.Stage] = a.Name + " " + a.Digest
	}
	for layer := range layers {
		for i := range width {
			stage := stageName(layer, i)
			source := sourceOf(stage)
			want := fmt.Sprintf("out.txt %x/%d", sha256.Sum256([]byte(source)), len(source))
			if made[stage] != want {
				return fmt.Errorf("%s made %q instead of %q", stage, made[stage], want)
			}
		}
	}
	if len(made) != inGraph {
		return fmt.Errorf("%d stages made something", len(made))
	}
	return nil
}

// pipelineFiles is the graph as a person would write it down, would a person write a thousand stages: a module for each layer.
func pipelineFiles() map[string]string {
	files := map[string]string{"stages/__init__.py": ""}
	for layer := range layers {
		files[fmt.Sprintf("stages/layer_%d.py", layer)] = layerModule(layer)
		for i := range width {
			name := stageName(layer, i)
			files["src/"+name+".txt"] = sourceOf(name)
		}
	}
	// The last layer needs all the others.
	var program strings.Builder
	program.WriteString("\"\"\"Copy a thousand files.\"\"\"\n\n")
	importLayer(&program, layers-1)
	program.WriteString("\n__all__ = [\n")
	for i := range width {
		fmt.Fprintf(&program, "    \"%s\",\n", stageName(layers-1, i))
	}
	program.WriteString("]\n")
	files["pipeline.py"] = program.String()
	return files
}

func importLayer(b *strings.Builder, layer int) {
	fmt.Fprintf(b, "from stages.layer_%d import (\n", layer)
	for i := range width {
		fmt.Fprintf(b, "    %s,\n", stageName(layer, i))
	}
	b.WriteString(")\n")
}

func layerModule(layer int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\"\"\"Layer %d of %d.\"\"\"\n\n", layer+1, layers)
	if layer == 0 {
		b.WriteString("from towpath import Directory, File, run, source, stage\n")
	} else {
		b.WriteString("from towpath import Directory, File, out, run, source, stage\n\n")
		importLayer(&b, layer-1)
	}
	for i := range width {
		name := stageName(layer, i)
		fmt.Fprintf(&b, "\n\n@stage\nasync def %s(\n    src: Directory = source(\"src/%s.txt\"),\n", name, name)
		tree := []string{`"": src`}
		for k, needed := range needs(layer, i) {
			input := string(rune('a' + k))
			fmt.Fprintf(&b, "    %s: File = out(%s),\n", input, needed)
			tree = append(tree, fmt.Sprintf(`"in/%s.txt": %s`, input, input))
		}
		fmt.Fprintf(&b, ") -> File:\n    tree = {%s}\n", strings.Join(tree, ", "))
		fmt.Fprintf(&b, "    made = await run(\"cp\", \"src/%s.txt\", \"out.txt\", tree=tree, outputs=[\"out.txt\"])\n", name)
		b.WriteString("    return made.file(\"out.txt\")\n")
	}
	return b.String()
}

// allCached checks that a run of tow took every stage from the cache.
func allCached(stdout string) error {
	want := fmt.Sprintf("ok: %d cached, ", inGraph)
	if summary := lastLines(stdout, 1); !strings.HasPrefix(summary, want) {
		return fmt.Errorf("did not take everything from its cache: the last line of its output is %q and not %q", summary, want+"…")
	}
	return nil
}
