package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/towpath/towpath/bench/harness"
	"github.com/towpath/towpath/bench/proc"
)

// firstStages is how many stages the pipeline has of which one has changed.
const firstStages = 20

func firstStep(l *lab) harness.Row {
	return harness.Row{
		Name:    "first-step-python",
		About:   "from the start of tow run to that of the first step, with one stage of a Python pipeline changed, against python3 -c 'import asyncio'",
		Limit:   3,
		Metrics: []harness.Metric{{Name: "a source changed", Unit: "ms"}, {Name: "the program changed", Unit: "ms"}},
		Warmups: 2,
		Runs:    21,
		Prepare: func(ctx context.Context) (*harness.Trial, error) {
			python, version, err := l.python(ctx)
			if err != nil {
				return nil, err
			}
			tow, err := l.tow(ctx)
			if err != nil {
				return nil, err
			}
			folder, err := l.workload("first-step", "", firstFiles(), func(folder string) error { return l.commit(ctx, folder) })
			if err != nil {
				return nil, err
			}
			run := proc.Cmd{Path: tow, Args: []string{"run", "--json"}, Dir: folder, Env: l.environment(inSandbox)}
			l.say("fill the cache of tow")
			if _, err := l.runner.Run(ctx, run); err != nil {
				return nil, fmt.Errorf("fill the cache: %w", err)
			}
			peer := l.timed(proc.Cmd{Path: python, Args: []string{"-c", "import asyncio"}, Dir: l.folder, Env: l.environment()}, prints(""))
			return &harness.Trial{Peer: version, Ours: l.toFirstStep(run), Theirs: twice(peer)}, nil
		},
	}
}

// twice is a sampler that does what another does two times, and reports the times.
func twice(once harness.Sampler) harness.Sampler {
	return func(ctx context.Context) ([]float64, error) {
		first, err := once(ctx)
		if err != nil {
			return nil, err
		}
		second, err := once(ctx)
		if err != nil {
			return nil, err
		}
		return []float64{first[0], second[0]}, nil
	}
}

// toFirstStep is a sampler that changes first a source and then the program, runs the pipeline after each, and reports how long it took until a step
// began: each step prints what time it is.
func (l *lab) toFirstStep(run proc.Cmd) harness.Sampler {
	changes := 0
	return func(ctx context.Context) ([]float64, error) {
		changes++
		var sample []float64
		for _, change := range []func(folder string, n int) error{changeSource, changeProgram} {
			if err := change(run.Dir, changes); err != nil {
				return nil, err
			}
			began := time.Now()
			result, err := l.runner.Run(ctx, run)
			if err != nil {
				return nil, err
			}
			at, err := stepBegan(string(result.Stdout))
			if err != nil {
				return nil, err
			}
			sample = append(sample, inMilliseconds(at.Sub(began)))
		}
		return sample, nil
	}
}

// changeSource gives the source of one stage another content. It is never one that it had before, not in an earlier run of the bench either.
func changeSource(folder string, n int) error {
	content := fmt.Sprintf("change %d of %d\n", n, time.Now().UnixNano())
	return os.WriteFile(filepath.Join(folder, "src", firstName(firstStages/2)+".txt"), []byte(content), 0o666)
}

// changeProgram changes the step of one stage in the program.
func changeProgram(folder string, n int) error {
	return os.WriteFile(filepath.Join(folder, "pipeline.py"), []byte(firstProgram(fmt.Sprintf("change %d of %d", n, time.Now().UnixNano()))), 0o666)
}

// stepBegan reads what the only step of a run that was not cached printed.
func stepBegan(events string) (time.Time, error) {
	var at time.Time
	ran := 0
	for line := range strings.Lines(events) {
		var e struct {
			Type   string `json:"type"`
			Cached any    `json:"cached"` // of another kind in other events
			Stream string `json:"stream"`
			Text   string `json:"text"`
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			return at, err
		}
		switch {
		case e.Type == "step.finished" && e.Cached == false:
			ran++
		case e.Type == "step.output" && e.Stream == "stdout":
			text, _, _ := strings.Cut(e.Text, " ")
			n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
			if err != nil {
				return at, fmt.Errorf("a step printed %q and not the time", e.Text)
			}
			at = time.Unix(0, n)
		}
	}
	if ran != 1 || at.IsZero() {
		return at, errors.New("one step was to run, which prints the time; " + strconv.Itoa(ran) + " ran: " + lastLines(events, 1))
	}
	return at, nil
}

func firstName(i int) string { return fmt.Sprintf("stage_%d", i) }

// firstFiles is a pipeline of a module, without edges. The step of each stage prints the time.
func firstFiles() map[string]string {
	files := map[string]string{"pipeline.py": firstProgram("")}
	for i := range firstStages {
		files["src/"+firstName(i)+".txt"] = sourceOf(firstName(i))
	}
	return files
}

// firstProgram is the program. note is an argument of the step of one stage.
func firstProgram(note string) string {
	var b strings.Builder
	b.WriteString("\"\"\"Tell the time.\"\"\"\n\nfrom towpath import Directory, File, run, source, stage\n")
	for i := range firstStages {
		format := "+%s%N"
		if i == firstStages/2 {
			format += " " + note
		}
		fmt.Fprintf(&b, "\n\n@stage\nasync def %s(src: Directory = source(\"src/%s.txt\")) -> File:\n", firstName(i), firstName(i))
		fmt.Fprintf(&b, "    return (await run(\"date\", %q, tree={\"\": src})).stdout\n", format)
	}
	return b.String()
}
