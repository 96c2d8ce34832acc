package local_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/cas/mem"
	"github.com/towpath/towpath/internal/checkout"
	"github.com/towpath/towpath/internal/executor"
	"github.com/towpath/towpath/internal/executor/executortest"
	"github.com/towpath/towpath/internal/executor/local"
	"github.com/towpath/towpath/internal/nobody"
	"github.com/towpath/towpath/internal/sandbox"
	"github.com/towpath/towpath/internal/tree"
)

// newSandboxed makes an executor whose isolation is the sandbox.
func newSandboxed(tb testing.TB, store cas.Store, dir string, grace time.Duration) *local.Executor {
	tb.Helper()
	owner := sandbox.Owner()
	folders, err := checkout.Open(checkout.Config{Store: store, Dir: filepath.Join(dir, "trees"), UID: owner, GID: owner})
	if err != nil {
		tb.Fatal(err)
	}
	e, err := local.New(local.Config{Store: store, Dir: filepath.Join(dir, "work"), Isolation: local.Sandbox, Checkouts: folders, Grace: grace})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := e.Close(); err != nil {
			tb.Error(err)
		}
		if err := folders.Close(); err != nil {
			tb.Error(err)
		}
	})
	return e
}

func TestContractInSandbox(t *testing.T) {
	nobody.Run(t)
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	program := executortest.File(content)
	executortest.Run(t, func(t *testing.T) executortest.Subject {
		store, dir := mem.New(), t.TempDir()
		return executortest.Subject{
			Executor:  newSandboxed(t, store, dir, 200*time.Millisecond),
			Store:     store,
			Program:   program,
			Leftovers: func(t *testing.T) []string { return workspaces(t, filepath.Join(dir, "work")) },
		}
	})
}

// sandboxFixture has an executor of sandboxes.
type sandboxFixture struct {
	store *mem.Store
	dir   string
	*local.Executor
}

func newSandboxFixture(tb testing.TB) *sandboxFixture {
	tb.Helper()
	f := &sandboxFixture{store: mem.New(), dir: tb.TempDir()}
	f.Executor = newSandboxed(tb, f.store, f.dir, time.Minute)
	return f
}

func (f *sandboxFixture) action(tb testing.TB, c executor.Command) executor.Action {
	tb.Helper()
	root, err := tree.NewBuilder(f.store).Build(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	a, err := executor.NewAction(c, root, executor.Platform(local.Sandbox))
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

func (f *sandboxFixture) sh(tb testing.TB, script string, outputs ...string) executor.Action {
	tb.Helper()
	return f.action(tb, executor.Command{Args: []string{"sh", "-c", script}, Outputs: outputs})
}

func (f *sandboxFixture) limited(tb testing.TB, l executor.Limits, script string) executor.Action {
	tb.Helper()
	return f.action(tb, executor.Command{Args: []string{"sh", "-c", script}, Limits: l})
}

// TestLimits holds that limits are held, where tow may make groups by those, and that the one that was met is named there.
func TestLimits(t *testing.T) {
	nobody.Run(t)
	f := newSandboxFixture(t)
	grouped := len(f.Gaps()) == 0
	if os.Getuid() == 0 && !grouped {
		t.Logf("root may not make groups: %v", f.Gaps())
	}
	for _, test := range []struct {
		script   string
		limits   executor.Limits
		exceeded string
	}{
		{"head -c 300000000 /dev/zero | tail -c 200000000 >/dev/null", executor.Limits{MemoryBytes: 64 << 20}, "memory"},
		{"for i in 1 2 3 4 5 6 7 8; do sleep 1000 & done; kill 0", executor.Limits{PIDs: 4}, "pids"},
		{"(x=$(head -c 300000000 /dev/zero | tr '\\0' x)) || true", executor.Limits{MemoryBytes: 64 << 20}, "memory"},
		{"(for i in 1 2 3 4 5 6 7 8; do sleep 1000 & done) || true", executor.Limits{PIDs: 4}, "pids"},
	} {
		result, err := f.Execute(t.Context(), f.limited(t, test.limits, "set -e; "+test.script), executor.Options{})
		if err != nil {
			t.Fatal(err)
		}
		goesOn := strings.HasSuffix(test.script, "true") // what only a process is held to it can get over
		if result.Accepted && (grouped || !goesOn) || grouped && result.Exceeded != test.exceeded {
			t.Errorf("%s: %+v, want %s exceeded", test.script, result, test.exceeded)
		}
		if result, err = f.Execute(t.Context(), f.limited(t, test.limits, "true"), executor.Options{}); err != nil || !result.Accepted || result.Exceeded != "" {
			t.Errorf("within %+v: %+v, %v", test.limits, result, err)
		}
	}
	result, err := f.Execute(t.Context(), f.limited(t, executor.Limits{CPUs: 0.5}, "nproc"), executor.Options{})
	if err != nil || !result.Accepted {
		t.Errorf("half a processor: %+v, %v", result, err)
	}
}

// TestHelperIsKilled holds that a step whose sandbox dies is no failure of the step, and that the next has another.
func TestHelperIsKilled(t *testing.T) {
	nobody.Run(t)
	f := newSandboxFixture(t)
	r, w := io.Pipe()
	ended := make(chan error, 1)
	a := f.sh(t, "echo started; while :; do sleep 1000; done")
	go func() {
		_, err := f.Execute(t.Context(), a, executor.Options{Stdout: w})
		ended <- err
	}()
	if _, err := io.ReadFull(r, make([]byte, len("started"))); err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, r)
	for _, pid := range helpers(t) {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Error(err)
		}
	}
	err := <-ended
	if _, ok := errors.AsType[*executor.InfrastructureError](err); !ok {
		t.Errorf("the error is %v, want an InfrastructureError", err)
	}
	result, err := f.Execute(t.Context(), f.sh(t, "true"), executor.Options{})
	if err != nil || !result.Accepted {
		t.Errorf("the next: %+v, %v", result, err)
	}
}

// helpers returns the numbers of the processes that this one has started as helpers.
func helpers(t *testing.T) []int {
	t.Helper()
	lists, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	var out []int
	for _, list := range lists {
		content, err := os.ReadFile(list)
		if err != nil {
			continue // a thread that has ended
		}
		for field := range strings.FieldsSeq(string(content)) {
			cmdline, err := os.ReadFile("/proc/" + field + "/cmdline")
			if pid, _ := strconv.Atoi(field); err == nil && strings.HasPrefix(string(cmdline), "tow-sandbox") {
				out = append(out, pid)
			}
		}
	}
	if len(out) == 0 {
		t.Fatal("there is no helper")
	}
	return out
}

func BenchmarkExecuteInSandbox(b *testing.B) {
	store := mem.New()
	e := newSandboxed(b, store, b.TempDir(), time.Minute)
	root, err := tree.NewBuilder(store).Build(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	a, err := executor.NewAction(executor.Command{Args: []string{"/bin/true"}}, root, executor.Platform(local.Sandbox))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := e.Execute(b.Context(), a, executor.Options{Stdout: io.Discard, Stderr: io.Discard}); err != nil {
			b.Fatal(err)
		}
	}
}
