package local_test

import (
	"errors"
	"io"
	"path/filepath"
	"testing"
	"time"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/checkout"
	"github.com/towpath/towpath/internal/executor"
	"github.com/towpath/towpath/internal/executor/local"
	"github.com/towpath/towpath/internal/nobody"
	"github.com/towpath/towpath/internal/sandbox"
	"github.com/towpath/towpath/internal/tree"
)

// once is a writer that does something when it is written to for the first time. Whoever writes waits for that.
type once struct{ do func() }

func (o *once) Write(b []byte) (int, error) {
	if o.do != nil {
		o.do()
		o.do = nil
	}
	return len(b), nil
}

// TestInputsThatAreTakenAway holds that what a command made is no result where somebody has removed its inputs meanwhile, even where they were made
// again, and that the next one finds them made again.
func TestInputsThatAreTakenAway(t *testing.T) {
	nobody.Run(t)
	f := newSandboxFixture(t)
	inputs := tree.NewBuilder(f.store)
	file, err := cas.PutBytes(t.Context(), f.store, []byte("input"))
	if err == nil {
		err = inputs.File("in", file, false)
	}
	if err != nil {
		t.Fatal(err)
	}
	root, err := inputs.Build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// Another process, which has the same folders.
	owner := sandbox.Owner()
	other, err := checkout.Open(checkout.Config{Store: f.store, Dir: filepath.Join(f.dir, "trees"), UID: owner, GID: owner})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	remove := func() {
		if _, err := other.Collect(t.Context(), time.Now().Add(time.Hour)); err != nil {
			t.Error(err)
		}
	}
	for name, test := range map[string]struct {
		script string
		do     func()
		gone   bool
	}{
		"stay":      {script: "echo; cp in out", do: func() {}},
		"taken":     {script: "echo; echo >out", do: remove, gone: true},
		"and fails": {script: "echo; exit 1", do: remove, gone: true},
		"made again": {script: "echo; echo >out", gone: true, do: func() {
			remove()
			if _, err := other.Folder(t.Context(), root); err != nil {
				t.Error(err)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := executor.NewAction(executor.Command{Args: []string{"sh", "-c", test.script}, Outputs: []string{"out"}}, root, executor.Platform(local.Sandbox))
			if err != nil {
				t.Fatal(err)
			}
			result, err := f.Execute(t.Context(), a, executor.Options{Stdout: &once{test.do}, Stderr: io.Discard})
			var missing *executor.MissingInputError
			switch gone := errors.As(err, &missing); {
			case gone != test.gone, gone == result.Accepted:
				t.Errorf("Execute = %+v, %v", result, err)
			case gone && missing.Digest != root:
				t.Errorf("missing is %v, want %v", missing.Digest, root)
			}
			next, err := executor.NewAction(executor.Command{Args: []string{"cat", "in"}}, root, executor.Platform(local.Sandbox))
			if err != nil {
				t.Fatal(err)
			}
			if result, err := f.Execute(t.Context(), next, executor.Options{}); err != nil || !result.Accepted {
				t.Errorf("the next one: %+v, %v", result, err)
			}
		})
	}
}
