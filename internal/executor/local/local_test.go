package local_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/cas/mem"
	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/executor"
	"github.com/towpath/towpath/internal/executor/executortest"
	"github.com/towpath/towpath/internal/executor/local"
	"github.com/towpath/towpath/internal/sandbox"
	"github.com/towpath/towpath/internal/tree"
)

func TestMain(m *testing.M) {
	sandbox.MainIfHelper()
	executortest.MainIfProgram()
	dieIfAsked()
	os.Exit(m.Run())
}

func newLocal(tb testing.TB, store cas.Store, dir string, grace time.Duration) *local.Executor {
	tb.Helper()
	e, err := local.New(local.Config{Store: store, Dir: dir, Grace: grace})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := e.Close(); err != nil {
			tb.Error(err)
		}
	})
	return e
}

func TestContract(t *testing.T) {
	program := executortest.TestBinary(t)
	executortest.Run(t, func(t *testing.T) executortest.Subject {
		store, dir := mem.New(), t.TempDir()
		return executortest.Subject{
			Executor:  newLocal(t, store, dir, 200*time.Millisecond),
			Store:     store,
			Program:   program,
			Leftovers: func(t *testing.T) []string { return workspaces(t, dir) },
		}
	})
}

// workspaces lists what is in the workspaces of the sessions below dir, besides their empty folders.
func workspaces(t *testing.T, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*", "*", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// fixture has an executor and actions on inputs.
type fixture struct {
	store *mem.Store
	dir   string
	*local.Executor
}

func newFixture(tb testing.TB) *fixture {
	tb.Helper()
	f := &fixture{store: mem.New(), dir: tb.TempDir()}
	f.Executor = newLocal(tb, f.store, f.dir, time.Minute)
	return f
}

// action makes the action of a command on files, of which those that begin with "#!" are executable.
func (f *fixture) action(tb testing.TB, c executor.Command, files map[string]string) executor.Action {
	tb.Helper()
	b := tree.NewBuilder(f.store)
	for path, content := range files {
		d, err := cas.PutBytes(tb.Context(), f.store, []byte(content))
		if err != nil {
			tb.Fatal(err)
		}
		if err := b.File(path, d, strings.HasPrefix(content, "#!")); err != nil {
			tb.Fatal(err)
		}
	}
	root, err := b.Build(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	a, err := executor.NewAction(c, root, executor.Platform(local.Workspace))
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

func (f *fixture) sh(tb testing.TB, script string, outputs ...string) executor.Action {
	tb.Helper()
	return f.action(tb, executor.Command{Args: []string{"sh", "-c", script}, Outputs: outputs}, nil)
}

func (f *fixture) run(tb testing.TB, a executor.Action) (executor.Result, string) {
	tb.Helper()
	var stdout strings.Builder
	result, err := f.Execute(tb.Context(), a, executor.Options{Stdout: &stdout})
	if err != nil {
		tb.Fatal(err)
	}
	return result, stdout.String()
}

// TestCorruptInput holds that a damaged blob is the fault of its producer and not of the machine.
func TestCorruptInput(t *testing.T) {
	f := newFixture(t)
	b := tree.NewBuilder(f.store)
	d := digest.OfBytes([]byte("good"))
	if err := b.File("f", d, false); err != nil {
		t.Fatal(err)
	}
	root, err := b.Build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	a, err := executor.NewAction(executor.Command{Args: []string{"true"}}, root, executor.Platform(local.Workspace))
	if err != nil {
		t.Fatal(err)
	}
	e := newLocal(t, corruptStore{f.store, d}, t.TempDir(), time.Minute)
	_, err = e.Execute(t.Context(), a, executor.Options{})
	var missing *executor.MissingInputError
	var corrupt *cas.CorruptError
	if !errors.As(err, &missing) || missing.Digest != d || !errors.As(err, &corrupt) {
		t.Errorf("the error is %v", err)
	}
}

// TestSharedFolder holds that executors share a folder without removing each other's workspaces.
func TestSharedFolder(t *testing.T) {
	f := newFixture(t)
	other := newLocal(t, f.store, f.dir, time.Minute)
	f.run(t, f.sh(t, "true"))
	if _, err := other.Execute(t.Context(), f.sh(t, "true"), executor.Options{}); err != nil {
		t.Error(err)
	}
}

// TestDeadSession holds that New removes what a dead process has left, and nothing else.
func TestDeadSession(t *testing.T) {
	dir := t.TempDir()
	deep := filepath.Join(dir, "dead", "1", "work", "d")
	if err := os.MkdirAll(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(deep, "f"), nil, 0o444); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{deep, filepath.Dir(deep)} {
		if err := os.Chmod(path, 0o555); err != nil {
			t.Fatal(err)
		}
	}
	store := mem.New()
	alive := newLocal(t, store, dir, time.Minute)
	if left := workspaces(t, dir); len(left) > 0 {
		t.Errorf("left of the dead are %v", left)
	}
	sessions := func() int {
		names, err := filepath.Glob(filepath.Join(dir, "*", "lock"))
		if err != nil {
			t.Fatal(err)
		}
		return len(names)
	}
	if sessions() != 1 {
		t.Errorf("there are %d sessions, want that of the living", sessions())
	}
	newLocal(t, store, dir, time.Minute)
	if sessions() != 2 {
		t.Errorf("there are %d sessions, want those of the living", sessions())
	}
	if err := alive.Close(); err != nil {
		t.Error(err)
	}
	if sessions() != 1 {
		t.Errorf("there are %d sessions after one was closed", sessions())
	}
}
