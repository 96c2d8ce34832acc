package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/towpath/towpath/bench/harness"
	"github.com/towpath/towpath/bench/proc"
)

func versionHello(l *lab) harness.Row {
	return harness.Row{
		Name:    "version-hello",
		About:   "the start of `tow version` against that of a Go program which prints a line",
		Limit:   8,
		Metrics: timeAndCPU(),
		Warmups: 5,
		Runs:    101,
		Prepare: func(ctx context.Context) (*harness.Trial, error) {
			tow, err := l.tow(ctx)
			if err != nil {
				return nil, err
			}
			hello, err := l.program(ctx, "./bench/hello")
			if err != nil {
				return nil, err
			}
			env := l.environment()
			return &harness.Trial{
				Peer:   "a hello-world built by " + runtime.Version(),
				Ours:   l.timed(proc.Cmd{Path: tow, Args: []string{"version"}, Dir: l.folder, Env: env}, printsVersion),
				Theirs: l.timed(proc.Cmd{Path: hello, Dir: l.folder, Env: env}, prints("hello, world\n")),
			}, nil
		},
	}
}

func printsVersion(stdout string) error {
	if !strings.HasPrefix(stdout, "tow ") || !strings.HasSuffix(stdout, "\n") {
		return fmt.Errorf("printed %q, which is not a version", stdout)
	}
	return nil
}

func prints(want string) func(string) error {
	return func(stdout string) error {
		if stdout != want {
			return fmt.Errorf("printed %q instead of %q", stdout, want)
		}
		return nil
	}
}

func importAsyncio(l *lab) harness.Row {
	return harness.Row{
		Name:    "import-asyncio",
		About:   "the import of the Python SDK against that of asyncio",
		Limit:   1.3,
		Metrics: timeAndCPU(),
		Warmups: 3,
		Runs:    41,
		Prepare: func(ctx context.Context) (*harness.Trial, error) {
			python, version, err := l.python(ctx)
			if err != nil {
				return nil, err
			}
			tow, err := l.tow(ctx)
			if err != nil {
				return nil, err
			}
			env := l.environment()
			found, err := l.runner.Run(ctx, proc.Cmd{Path: tow, Args: []string{"sdk", "path", "python"}, Dir: l.folder, Env: env})
			if err != nil {
				return nil, err
			}
			sdk := strings.TrimSpace(string(found.Stdout))
			if !filepath.IsAbs(sdk) {
				return nil, fmt.Errorf("tow sdk path python: printed %q, which is not an absolute path", sdk)
			}
			importing := func(module, then string) proc.Cmd {
				// With -I, PYTHONPATH is ignored; and both sides are to look through the same path.
				script := fmt.Sprintf("import sys; sys.path.insert(0, %s); import %s%s", pythonString(sdk), module, then)
				return proc.Cmd{Path: python, Args: []string{"-I", "-c", script}, Dir: l.folder, Env: env}
			}
			if err := l.comesFrom(ctx, importing("towpath", "; print(towpath.__file__)"), sdk); err != nil {
				return nil, err
			}
			return &harness.Trial{
				Peer:   version,
				Ours:   l.timed(importing("towpath", ""), prints("")),
				Theirs: l.timed(importing("asyncio", ""), prints("")),
			}, nil
		},
	}
}

// comesFrom checks that a script prints a path that lies in folder.
func (l *lab) comesFrom(ctx context.Context, script proc.Cmd, folder string) error {
	result, err := l.runner.Run(ctx, script)
	if err != nil {
		return err
	}
	file := strings.TrimSpace(string(result.Stdout))
	if !strings.HasPrefix(file, folder+string(filepath.Separator)) {
		return fmt.Errorf("the module is %s, which is not in %s", file, folder)
	}
	return nil
}

// pythonString quotes a string for Python.
func pythonString(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		if r < ' ' || r == '"' || r == '\\' || r > '~' {
			fmt.Fprintf(&b, `\U%08x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// python returns the interpreter itself: what is first in PATH may be the shim of a version manager, a script that takes longer to start than Python.
func (l *lab) python(ctx context.Context) (path, version string, err error) {
	const script = `import platform, sys; print(sys.executable, platform.python_implementation() + " " + platform.python_version(), sys.version_info >= (3, 11), sep="\n")`
	var failures []error
	for _, name := range []string{"python3", "python", "python3.14", "python3.13", "python3.12", "python3.11"} {
		found, err := exec.LookPath(name)
		if err != nil {
			failures = append(failures, err)
			continue
		}
		result, err := l.runner.Run(ctx, proc.Cmd{Path: found, Args: []string{"-I", "-c", script}})
		if err != nil {
			failures = append(failures, err)
			continue
		}
		lines := strings.Split(strings.TrimSpace(string(result.Stdout)), "\n")
		if len(lines) != 3 || lines[2] != "True" {
			failures = append(failures, fmt.Errorf("%s is not Python 3.11 or later: %q", found, lines))
			continue
		}
		return lines[0], lines[1], nil
	}
	return "", "", fmt.Errorf("no Python 3.11 or later: %w", errors.Join(failures...))
}
