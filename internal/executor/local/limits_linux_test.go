package local_test

import (
	"errors"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/towpath/towpath/internal/executor"
	"github.com/towpath/towpath/internal/nobody"
	"github.com/towpath/towpath/internal/sandbox"
)

// limited is a script that may not go beyond limits. It has an empty folder, out, which is an output.
func (f *fixture) limited(t *testing.T, l executor.Limits, script string) executor.Action {
	t.Helper()
	return f.action(t, executor.Command{Args: []string{"sh", "-c", "set -e; mkdir out; " + script}, Limits: l, Outputs: []string{"out"}}, nil)
}

// TestLimitsInWorkspace holds that limits are held without a sandbox, as far as Gaps says, and that the one that was met is named where that is known.
func TestLimitsInWorkspace(t *testing.T) {
	nobody.Run(t)
	f := newFixture(t)
	missing, never := sandbox.OpenGroups().Missing(), sandbox.NotLimited()
	for _, test := range []struct {
		limit, script string
		limits        executor.Limits
		want          string // to be exceeded
		always        bool   // it is known also where there are no groups
	}{
		{"memory", "x=$(head -c 300000000 /dev/zero | tr '\\0' x)", executor.Limits{MemoryBytes: 64 << 20}, "memory", false},
		{"pids", "for i in 1 2 3 4 5 6 7 8; do sleep 1000 & done; kill 0", executor.Limits{PIDs: 4}, "pids", false},
		{"output", "head -c 2000000 /dev/zero >out/f || true", executor.Limits{OutputBytes: 1 << 20}, "output", true},
		{"output", "head -c 2000000 /dev/zero; sleep 1000", executor.Limits{OutputBytes: 1 << 20}, "output", true},
		{"memory", "(x=$(head -c 300000000 /dev/zero | tr '\\0' x)) || true", executor.Limits{MemoryBytes: 64 << 20}, "memory", false},
	} {
		if slices.Contains(missing, test.limit) && slices.Contains(never, test.limit) {
			continue // which Gaps says
		}
		result, err := f.Execute(t.Context(), f.limited(t, test.limits, test.script), executor.Options{})
		if err != nil {
			t.Fatal(err)
		}
		known := test.always || !slices.Contains(missing, test.limit)
		goesOn := strings.HasSuffix(test.script, "true") // what only a process is held to it can get over
		if result.Accepted && (known || !goesOn) || known && result.Exceeded != test.want {
			t.Errorf("%s: %+v, want that it fails, with %s exceeded: %v", test.limit, result, test.want, known)
		}
	}
	if runtime.NumCPU() > 1 && slices.Contains(missing, "cpu") {
		var out strings.Builder
		result, err := f.Execute(t.Context(), f.limited(t, executor.Limits{CPUs: 0.5}, "nproc"), executor.Options{Stdout: &out})
		if err != nil || !result.Accepted || out.String() != "1\n" {
			t.Errorf("half a processor: %q, %+v, %v", out.String(), result, err)
		}
	}
}

// TestLimitedIsLikeUnlimited holds that limits that are not met change nothing else about a command.
func TestLimitedIsLikeUnlimited(t *testing.T) {
	nobody.Run(t)
	f := newFixture(t)
	limits := executor.Limits{MemoryBytes: 1 << 40, PIDs: 1 << 20, CPUs: float64(runtime.NumCPU()), OutputBytes: 1 << 20}
	c := executor.Command{
		Args: []string{"sh", "-c", "env; ls /proc/self/fd; exit 7"}, Env: []executor.EnvVar{{Name: "GODEBUG", Value: "inittrace=1"}, {Name: "PATH", Value: os.Getenv("PATH")}},
	}
	run := func(l executor.Limits) (string, int) {
		var out, stderr strings.Builder
		c.Limits = l
		result, err := f.Execute(t.Context(), f.action(t, c, nil), executor.Options{Stdout: &out, Stderr: &stderr})
		if err != nil {
			t.Fatal(err)
		}
		return out.String() + stderr.String(), result.ExitCode
	}
	without, code := run(executor.Limits{})
	with, codeWith := run(limits)
	if with != without || code != 7 || codeWith != 7 {
		t.Errorf("with limits it prints %q and exits with %d, without them %q and %d", with, codeWith, without, code)
	}
	for _, args := range [][]string{{"./none"}, {"./noexec"}, {"./empty"}} {
		files := map[string]string{"noexec": "data", "empty": "#!\n"}
		_, want := f.Execute(t.Context(), f.action(t, executor.Command{Args: args}, files), executor.Options{})
		_, err := f.Execute(t.Context(), f.action(t, executor.Command{Args: args, Limits: limits}, files), executor.Options{})
		if _, ok := errors.AsType[*executor.CommandNotFoundError](err); !ok || err.Error() != want.Error() {
			t.Errorf("%s: the error is %v, want %v", args, err, want)
		}
	}
}
