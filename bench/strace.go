package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/towpath/towpath/bench/proc"
)

// strace returns the path of strace, which is installed where it is missing and this system and user can do so.
func (l *lab) strace(ctx context.Context) (string, error) {
	if path, err := exec.LookPath("strace"); err == nil {
		return path, nil
	}
	return l.installed(ctx, "strace", "strace")
}

// installed installs a package of the system and returns the path of a program that it has.
func (l *lab) installed(ctx context.Context, program, packaged string) (string, error) {
	apt, err := exec.LookPath("apt-get")
	if err != nil || os.Geteuid() != 0 {
		return "", fmt.Errorf("install %s: %w", packaged, errors.Join(err, fmt.Errorf("%s is not there, and only root can install it with apt-get", program)))
	}
	l.say("install %s", packaged)
	env := append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	for _, args := range [][]string{{"update", "--quiet"}, {"install", "--quiet", "--yes", "--no-install-recommends", packaged}} {
		if _, err := l.runner.Run(ctx, proc.Cmd{Path: apt, Args: args, Env: env}); err != nil {
			return "", fmt.Errorf("install %s: %w", packaged, err)
		}
	}
	return exec.LookPath(program)
}

// startsNothing checks that a command loads one program only, which is itself, and that its output still passes check.
func (l *lab) startsNothing(ctx context.Context, c proc.Cmd, check func(stdout string) error) error {
	strace, err := l.strace(ctx)
	if err != nil {
		return fmt.Errorf("count the programs that are started: %w", err)
	}
	file := filepath.Join(l.folder, "trace")
	traced := c
	traced.Path = strace
	traced.Args = append([]string{"-f", "-e", "trace=execve,execveat", "-o", file, c.Path}, c.Args...)
	result, err := l.runner.Run(ctx, traced)
	if err != nil {
		return fmt.Errorf("count the programs that are started: %w", err)
	}
	if err := check(string(result.Stdout)); err != nil {
		return fmt.Errorf("under strace: %w", err)
	}
	trace, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return onlyItself(string(trace), c.Path)
}

// onlyItself checks that what strace wrote tells of one successful start, that of path.
func onlyItself(trace, path string) error {
	started := starts(trace)
	if len(started) == 0 {
		return errors.New("strace saw no program start")
	}
	if len(started) > 1 || !strings.Contains(started[0], fmt.Sprintf("%q", path)) {
		return fmt.Errorf("it starts programs, of which only the first may be: %s", strings.Join(started, "; "))
	}
	return nil
}

// starts returns the calls of execve in what strace wrote that succeeded. Where another thread came in between, a call is told in two lines.
func starts(trace string) []string {
	var succeeded []string
	unfinished := map[string]string{} // by process
	for line := range strings.Lines(trace) {
		process, call, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok {
			continue
		}
		call = strings.TrimSpace(call)
		if begun, ok := strings.CutSuffix(call, "<unfinished ...>"); ok {
			unfinished[process] = begun
			continue
		}
		if strings.HasPrefix(call, "<... execve") {
			_, rest, _ := strings.Cut(call, "resumed>")
			begun, ok := unfinished[process]
			if !ok {
				begun = "execve(by another thread " // the kernel gives the thread the number of its process
			}
			call = begun + rest
		}
		if strings.HasPrefix(call, "execve") && strings.HasSuffix(call, "= 0") {
			succeeded = append(succeeded, call)
		}
	}
	return succeeded
}
