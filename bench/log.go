package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/towpath/towpath/bench/harness"
	"github.com/towpath/towpath/bench/proc"
)

const (
	// printed is how much the step prints.
	printed = 1 << 30
	// mostMemory is what tow, and each process that it starts, may have resident meanwhile.
	mostMemory = 100 << 20
	// printedLine is what it prints again and again: about as long as the lines of tools are.
	printedLine = "[ 42%] Building CXX object src/CMakeFiles/app.dir/parser/lexer.cpp.o"
)

// printing is the command of both sides.
func printing() string { return fmt.Sprintf("yes '%s' | head -c %d", printedLine, printed) }

func logRedirect(l *lab) harness.Row {
	return harness.Row{
		Name:    "log-1g-redirect",
		About:   "a run of a step that prints 1 GiB against the same command with its output in a file",
		Limit:   3,
		Metrics: timeAndCPU(),
		Warmups: 1,
		Runs:    5,
		Prepare: func(ctx context.Context) (*harness.Trial, error) {
			tow, err := l.tow(ctx)
			if err != nil {
				return nil, err
			}
			files := map[string]string{"pipeline.py": noisyProgram()}
			folder, err := l.workload("log", "", files, func(folder string) error { return l.commit(ctx, folder) })
			if err != nil {
				return nil, err
			}
			n := &noisy{l: l, tow: tow, folder: folder, caches: filepath.Join(l.folder, "log-tow"), file: filepath.Join(l.folder, "log.txt")}
			return &harness.Trial{Peer: "sh, yes and head, > file", Ours: n.run, Theirs: n.redirect, Afterwards: n.check}, nil
		},
	}
}

func noisyProgram() string {
	return "\"\"\"Print a gigabyte.\"\"\"\n\nfrom towpath import run, stage\n\n\n@stage\nasync def noisy() -> int:\n" +
		fmt.Sprintf("    await run(\"sh\", \"-c\", \"%s\")\n    return 1\n", printing())
}

// noisy is the work of the row.
type noisy struct {
	l                         *lab
	tow, folder, caches, file string
}

func (n *noisy) command(args ...string) proc.Cmd {
	env := n.l.environment(inSandbox, "TOW_CACHE_DIR="+filepath.Join(n.caches, "cache"), "TOW_STATE_DIR="+filepath.Join(n.caches, "state"))
	return proc.Cmd{Path: n.tow, Args: args, Dir: n.folder, Env: env}
}

// run runs the step with nothing in the store: the second time, what it prints would be there already. That the program is known is not part of it.
func (n *noisy) run(ctx context.Context) ([]float64, error) {
	if err := os.RemoveAll(n.caches); err != nil {
		return nil, fmt.Errorf("clear the caches: %w", err)
	}
	if _, err := n.l.runner.Run(ctx, n.command("check")); err != nil {
		return nil, err
	}
	result, err := n.l.runner.Run(ctx, n.command("run"))
	if err != nil {
		return nil, err
	}
	if last := lastLines(string(result.Stdout), 1); !strings.HasPrefix(last, "ok: 1 ran") {
		return nil, fmt.Errorf("tow run: the last line is %q", last)
	}
	if result.MaxRSS > mostMemory {
		return nil, fmt.Errorf("tow run: took %d MiB of memory, at most %d are allowed", result.MaxRSS>>20, mostMemory>>20)
	}
	return []float64{inMilliseconds(result.Elapsed), inMilliseconds(max(result.CPU, time.Microsecond))}, nil
}

func (n *noisy) redirect(ctx context.Context) ([]float64, error) {
	if err := removeIfThere(n.file); err != nil {
		return nil, err
	}
	shell, err := exec.LookPath("sh")
	if err != nil {
		return nil, err
	}
	script := printing() + " >" + filepath.Base(n.file)
	result, err := n.l.runner.Run(ctx, proc.Cmd{Path: shell, Args: []string{"-c", script}, Dir: filepath.Dir(n.file), Env: n.l.environment()})
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(n.file)
	if err != nil {
		return nil, err
	}
	if info.Size() != printed {
		return nil, fmt.Errorf("%s has %d bytes", n.file, info.Size())
	}
	return []float64{inMilliseconds(result.Elapsed), inMilliseconds(max(result.CPU, time.Microsecond))}, nil
}

// check reads the log of the last run, which has to be what the peer wrote behind the line of the command.
func (n *noisy) check(ctx context.Context) error {
	want, err := n.expected()
	if err != nil {
		return err
	}
	c := n.command("logs", "noisy")
	cmd := exec.CommandContext(ctx, c.Path, c.Args...)
	cmd.Dir, cmd.Env, cmd.Stderr = c.Dir, c.Env, os.Stderr
	h := sha256.New()
	cmd.Stdout = h
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("tow logs: %w", err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		return errors.New("tow logs: the log is not what the step printed")
	}
	return errors.Join(os.RemoveAll(n.caches), os.Remove(n.file))
}

func (n *noisy) expected() (string, error) {
	f, err := os.Open(n.file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	script := strings.ReplaceAll(printing(), "'", `'\''`)
	fmt.Fprintf(h, "$ sh -c '%s'\n", script)
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	if printed%(len(printedLine)+1) != 0 {
		fmt.Fprintln(h) // the last line was cut
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
