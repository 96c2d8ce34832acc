package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/towpath/towpath/bench/harness"
	"github.com/towpath/towpath/bench/proc"
)

// lab is where rows find what they need: the cache folder with the workloads, programs built from this checkout, and a runner of
// processes. Nothing in it is prepared before a row asks for it.
type lab struct {
	folder   string
	progress io.Writer

	runner   *proc.Runner
	unlock   func() error
	checkout string
	built    map[string]build
}

// build is a program that was built in this run, or why that failed.
type build struct {
	path string
	err  error
}

func (l *lab) open() error {
	checkout, err := findCheckout()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(l.folder, 0o777); err != nil {
		return fmt.Errorf("cache folder: %w", err)
	}
	// Two runs at once would measure each other.
	unlock, err := lock(filepath.Join(l.folder, "lock"))
	if err != nil {
		return fmt.Errorf("another bench uses %s: %w", l.folder, err)
	}
	if err := errors.Join(os.RemoveAll(l.towCache()), os.RemoveAll(l.towState())); err != nil {
		return errors.Join(fmt.Errorf("clear the cache of tow: %w", err), unlock())
	}
	runner, err := proc.NewRunner(l.folder)
	if err != nil {
		return errors.Join(err, unlock())
	}
	l.checkout, l.unlock, l.runner, l.built = checkout, unlock, runner, map[string]build{}
	return nil
}

// The folders of tow itself. They are empty when a run of the bench begins, so that no earlier tow or run has a part in what is measured.
func (l *lab) towCache() string { return filepath.Join(l.folder, "tow-cache") }
func (l *lab) towState() string { return filepath.Join(l.folder, "tow-state") }

func (l *lab) close() error { return errors.Join(l.runner.Close(), l.unlock()) }

// findCheckout returns the folder of this module: the current one or the nearest above it.
func findCheckout() (string, error) {
	folder, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the checkout: %w", err)
	}
	for {
		content, err := os.ReadFile(filepath.Join(folder, "go.mod"))
		if err == nil && strings.HasPrefix(string(content), "module github.com/towpath/towpath\n") {
			return folder, nil
		}
		up := filepath.Dir(folder)
		if up == folder {
			return "", errors.New("find the checkout: run bench inside a checkout of Towpath")
		}
		folder = up
	}
}

func (l *lab) say(format string, args ...any) {
	fmt.Fprintf(l.progress, "# "+format+"\n", args...)
}

// prepare runs a command that is not measured, with the environment of the bench itself.
func (l *lab) prepare(ctx context.Context, folder, name string, args ...string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", err
	}
	result, err := l.runner.Run(ctx, proc.Cmd{Path: path, Args: args, Dir: folder})
	return string(result.Stdout), err
}

// program builds a command of this checkout as a release is built, once in a run of the bench, and returns its path.
func (l *lab) program(ctx context.Context, pkg string) (string, error) {
	if b, ok := l.built[pkg]; ok {
		return b.path, b.err
	}
	name := filepath.Base(pkg)
	b := build{path: executable(filepath.Join(l.folder, "bin", name))}
	l.say("build %s", pkg)
	if b.err = l.goBuild(ctx, b.path, pkg); b.err != nil {
		b.err = fmt.Errorf("build %s: %w", pkg, b.err)
	}
	l.built[pkg] = b
	return b.path, b.err
}

func (l *lab) goBuild(ctx context.Context, path, pkg string) error {
	tool, err := exec.LookPath("go")
	if err != nil {
		return err
	}
	_, err = l.runner.Run(ctx, proc.Cmd{
		Path: tool,
		Args: []string{"build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", path, pkg},
		Dir:  l.checkout,
		Env:  append(os.Environ(), "CGO_ENABLED=0"),
	})
	return err
}

func executable(path string) string {
	if os.PathSeparator == '\\' {
		return path + ".exe"
	}
	return path
}

func (l *lab) tow(ctx context.Context) (string, error) { return l.program(ctx, "./cmd/tow") }

// environment is what measured processes are given: little, and the same for both sides, so that no setting of the caller (a CI, a proxy, a
// PYTHON… or TURBO_… variable) changes what is measured.
func (l *lab) environment(more ...string) []string {
	env := []string{"TOW_CACHE_DIR=" + l.towCache(), "TOW_STATE_DIR=" + l.towState()}
	for _, name := range []string{"PATH", "HOME", "USER", "TMPDIR", "LANG", "SystemRoot", "LocalAppData", "USERPROFILE", "TEMP", "TMP"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return append(env, more...)
}

// workload makes the folder of that name hold the files, once: it is made anew only when the files or recipe, which names what else
// make does, are different from those that it was made of. make runs in the folder and does the rest.
func (l *lab) workload(name, recipe string, files map[string]string, prime func(folder string) error) (string, error) {
	folder, stamp := filepath.Join(l.folder, name), filepath.Join(l.folder, name+".stamp")
	want := fingerprint(recipe, files)
	if have, err := os.ReadFile(stamp); err == nil && string(have) == want {
		return folder, nil
	}
	l.say("prepare %s", name)
	begin := time.Now()
	if err := errors.Join(removeIfThere(stamp), os.RemoveAll(folder)); err != nil {
		return "", fmt.Errorf("workload %s: %w", name, err)
	}
	if err := writeFiles(folder, files); err != nil {
		return "", fmt.Errorf("workload %s: %w", name, err)
	}
	if err := prime(folder); err != nil {
		return "", fmt.Errorf("workload %s: %w", name, err)
	}
	if err := os.WriteFile(stamp, []byte(want), 0o666); err != nil {
		return "", fmt.Errorf("workload %s: %w", name, err)
	}
	l.say("prepared %s in %.1f s", name, time.Since(begin).Seconds())
	return folder, nil
}

func removeIfThere(file string) error {
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func fingerprint(recipe string, files map[string]string) string {
	h := sha256.New()
	fmt.Fprintf(h, "%q\n", recipe)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(h, "%q %q\n", name, files[name])
	}
	return hex.EncodeToString(h.Sum(nil)) + "\n"
}

func writeFiles(folder string, files map[string]string) error {
	for name, content := range files {
		path := filepath.Join(folder, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(content), 0o666); err != nil {
			return err
		}
	}
	return nil
}

// commit makes folder a git repository that holds all its files, as the workloads of users are.
func (l *lab) commit(ctx context.Context, folder string) error {
	for _, args := range [][]string{
		{"init", "--quiet"},
		{"add", "--all"},
		{"-c", "user.name=bench", "-c", "user.email=bench@example.invalid", "-c", "commit.gpgsign=false", "commit", "--quiet", "--message=workload"},
	} {
		if _, err := l.prepare(ctx, folder, "git", args...); err != nil {
			return err
		}
	}
	return nil
}

// timed returns a sampler that runs a command and measures it, once check has agreed to what it printed.
func (l *lab) timed(c proc.Cmd, check func(stdout string) error) harness.Sampler {
	return func(ctx context.Context) ([]float64, error) {
		result, err := l.runner.Run(ctx, c)
		if err != nil {
			return nil, err
		}
		if err := check(string(result.Stdout)); err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Base(c.Path), err)
		}
		return []float64{inMilliseconds(result.Elapsed), inMilliseconds(max(result.CPU, time.Microsecond))}, nil
	}
}

func inMilliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// timeAndCPU are the metrics of timed. A user waits for the time; the processor's tells more where others use the machine, and how much of the time
// is saved by doing things at once.
func timeAndCPU() []harness.Metric {
	return []harness.Metric{{Name: "time", Unit: "ms"}, {Name: "cpu", Unit: "ms", Aside: true}}
}
