package local_test

import (
	"io"
	"os"
	"path/filepath"
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

func TestShellTry(t *testing.T) {
	store := mem.New()
	e := newSandboxed(t, store, t.TempDir(), time.Minute)
	root, err := tree.NewBuilder(store).Build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	a, err := executor.NewAction(executor.Command{Args: []string{"/bin/true"}}, root, executor.Platform(local.Sandbox))
	if err != nil {
		t.Fatal(err)
	}
	code, err := e.Shell(t.Context(), a, nil, executor.Terminal{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
	t.Log(code, err)
}
