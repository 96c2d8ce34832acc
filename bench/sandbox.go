package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/towpath/towpath/bench/harness"
	"github.com/towpath/towpath/bench/proc"
	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/cas/mem"
	"github.com/towpath/towpath/internal/checkout"
	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/executor"
	"github.com/towpath/towpath/internal/executor/local"
	"github.com/towpath/towpath/internal/sandbox"
	"github.com/towpath/towpath/internal/tree"
)

const (
	// sandboxSteps is how many commands a sample consists of.
	sandboxSteps = 500
	manyInputs   = 20_000
	fewInputs    = 10
)

func sandboxRow(name, about string, limit float64, prepare func(ctx context.Context) (*harness.Trial, error)) harness.Row {
	return harness.Row{
		Name: name, About: about, Limit: limit, Metrics: []harness.Metric{{Name: "time", Unit: "ms/step"}}, Warmups: 1, Runs: 7, Prepare: prepare,
	}
}

func sandboxBwrap(l *lab) harness.Row {
	return sandboxRow("sandbox-bwrap", "/bin/true in the sandbox of a step against one in `bwrap` with a read-only root", 0.5,
		func(ctx context.Context) (*harness.Trial, error) {
			return l.inBoxes(ctx, func(box *boxes) (*harness.Trial, error) {
				ours, err := box.steps(ctx, executor.Command{Args: []string{"/bin/true"}}, 0)
				if err != nil {
					return nil, err
				}
				version, err := l.prepare(ctx, l.folder, "bwrap", "--version")
				if err != nil {
					return nil, err
				}
				return &harness.Trial{
					Peer: strings.TrimSpace(version), Ours: ours, Theirs: l.loop("bwrap --unshare-all --ro-bind / / /bin/true"),
				}, nil
			})
		})
}

func sandboxCrun(l *lab) harness.Row {
	return sandboxRow("sandbox-root-crun", "/bin/true in an unpacked image against `crun run` of the same", 0.5,
		func(ctx context.Context) (*harness.Trial, error) {
			return l.inBoxes(ctx, func(box *boxes) (*harness.Trial, error) {
				bundle, version, err := l.bundle(ctx)
				if err != nil {
					return nil, err
				}
				root, err := tree.Capture(ctx, box.store, filepath.Join(bundle, "rootfs"), []string{"**"})
				if err != nil {
					return nil, err
				}
				ours, err := box.steps(ctx, executor.Command{Args: []string{"/bin/true"}, Root: root.Root}, 0)
				if err != nil {
					return nil, err
				}
				run := fmt.Sprintf("crun --root '%s/state' --cgroup-manager=disabled run -b '%s' towpath-bench-$i", bundle, bundle)
				return &harness.Trial{Peer: version, Ours: ours, Theirs: l.loop(run)}, nil
			})
		})
}

func inputs20k(l *lab) harness.Row {
	return sandboxRow("inputs-20k", "/bin/true with 20,000 files as inputs against 10, warm", 1.3,
		func(ctx context.Context) (*harness.Trial, error) {
			return l.inBoxes(ctx, func(box *boxes) (*harness.Trial, error) {
				var samplers []harness.Sampler
				for _, files := range []int{manyInputs, fewInputs} {
					sampler, err := box.steps(ctx, executor.Command{Args: []string{"/bin/true"}}, files)
					if err == nil {
						err = box.count(ctx, files)
					}
					if err != nil {
						return nil, err
					}
					samplers = append(samplers, sampler)
				}
				return &harness.Trial{Peer: fmt.Sprintf("itself, with %d files", fewInputs), Ours: samplers[0], Theirs: samplers[1]}, nil
			})
		})
}

// boxes is an executor of sandboxes with a store.
type boxes struct {
	store  cas.Store
	inputs *checkout.Checkouts
	runner *local.Executor
}

func (l *lab) boxes(context.Context) (*boxes, error) {
	b := &boxes{store: mem.New()}
	owner, dir := sandbox.Owner(), filepath.Join(l.folder, "sandbox")
	var err error
	if b.inputs, err = checkout.Open(checkout.Config{Store: b.store, Dir: filepath.Join(dir, "checkouts"), UID: owner, GID: owner}); err != nil {
		return nil, err
	}
	b.runner, err = local.New(local.Config{Store: b.store, Dir: filepath.Join(dir, "work"), Isolation: local.Sandbox, Checkouts: b.inputs})
	if err != nil {
		return nil, errors.Join(err, b.inputs.Close())
	}
	return b, nil
}

func (b *boxes) close() error { return errors.Join(b.runner.Close(), b.inputs.Close()) }

// inBoxes prepares a row that needs boxes, which end with it.
func (l *lab) inBoxes(ctx context.Context, prepare func(box *boxes) (*harness.Trial, error)) (*harness.Trial, error) {
	box, err := l.boxes(ctx)
	if err != nil {
		return nil, err
	}
	trial, err := prepare(box)
	if err != nil {
		return nil, errors.Join(err, box.close())
	}
	trial.Close = box.close
	return trial, nil
}

// count checks that a step sees so many files, in the tree that steps gives it.
func (b *boxes) count(ctx context.Context, files int) error {
	root, err := b.tree(ctx, files)
	if err != nil {
		return err
	}
	a, err := executor.NewAction(executor.Command{Args: []string{"sh", "-c", "find . -type f | wc -l"}}, root, executor.Platform(b.runner.Isolation()))
	if err != nil {
		return err
	}
	var out strings.Builder
	result, err := b.runner.Execute(ctx, a, executor.Options{Stdout: &out, Stderr: io.Discard})
	if err != nil {
		return err
	}
	if got := strings.TrimSpace(out.String()); !result.Accepted || got != fmt.Sprint(files) {
		return fmt.Errorf("a step sees %q files in a tree of %d", got, files)
	}
	return nil
}

// steps returns a sampler of a command with so many files as inputs, once it has run.
func (b *boxes) steps(ctx context.Context, c executor.Command, files int) (harness.Sampler, error) {
	root, err := b.tree(ctx, files)
	if err != nil {
		return nil, err
	}
	a, err := executor.NewAction(c, root, executor.Platform(b.runner.Isolation()))
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) ([]float64, error) {
		begin := time.Now()
		for range sandboxSteps {
			result, err := b.runner.Execute(ctx, a, executor.Options{Stdout: io.Discard, Stderr: io.Discard})
			if err != nil {
				return nil, err
			}
			if !result.Accepted {
				return nil, fmt.Errorf("the step ended with exit code %d", result.ExitCode)
			}
		}
		return []float64{inMilliseconds(time.Since(begin)) / sandboxSteps}, nil
	}, nil
}

func (b *boxes) tree(ctx context.Context, files int) (digest.Digest, error) {
	inputs := tree.NewBuilder(b.store)
	for i := range files {
		d, err := cas.PutBytes(ctx, b.store, fmt.Appendf(nil, "input %d\n", i))
		if err != nil {
			return digest.Digest{}, err
		}
		if err := inputs.File(fmt.Sprintf("d%d/f%d", i%100, i), d, false); err != nil {
			return digest.Digest{}, err
		}
	}
	return inputs.Build(ctx)
}

// loop returns a sampler of a command that a shell runs again and again, with the number of the run in $i.
func (l *lab) loop(command string) harness.Sampler {
	// The version of crun that Debian has refuses machines that have both versions of control groups, which the loop hides from it.
	script := fmt.Sprintf("i=0; while [ $i -lt %d ]; do %s || exit 1; i=$((i+1)); done", sandboxSteps, command)
	c := proc.Cmd{Path: "/bin/sh", Args: []string{"-c", script}, Dir: l.folder, Env: l.environment()}
	if _, err := os.Stat("/sys/fs/cgroup/unified"); err == nil && strings.HasPrefix(command, "crun") {
		c.Path, c.Args = "/usr/bin/unshare", []string{"-m", "/bin/sh", "-c", "umount /sys/fs/cgroup/unified; " + script}
	}
	return func(ctx context.Context) ([]float64, error) {
		result, err := l.runner.Run(ctx, c)
		if err != nil {
			return nil, err
		}
		return []float64{inMilliseconds(result.Elapsed) / sandboxSteps}, nil
	}
}

// bundle makes what crun runs: a root that has /bin/true and what that needs, and a description of it that asks for no more than a step
// has.
func (l *lab) bundle(ctx context.Context) (folder, version string, err error) {
	if version, err = l.prepare(ctx, l.folder, "crun", "--version"); err != nil {
		return "", "", err
	}
	version, _, _ = strings.Cut(version, "\n")
	folder, err = l.workload("crun", "3 "+version, map[string]string{"state/.keep": "", "rootfs/etc/.keep": ""}, func(folder string) error {
		if err := l.copyProgram(ctx, "/bin/true", filepath.Join(folder, "rootfs")); err != nil {
			return err
		}
		args := []string{"spec"}
		if os.Getuid() != 0 {
			args = append(args, "--rootless")
		}
		if _, err := l.prepare(ctx, folder, "crun", args...); err != nil {
			return err
		}
		return trimSpec(filepath.Join(folder, "config.json"))
	})
	return folder, version, err
}

// copyProgram copies a program with the libraries that it needs into a root.
func (l *lab) copyProgram(ctx context.Context, program, root string) error {
	listed, err := l.prepare(ctx, l.folder, "ldd", program)
	if err != nil {
		return err
	}
	for _, path := range append(strings.Fields(listed), program) {
		if !filepath.IsAbs(path) {
			continue
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		to := filepath.Join(root, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), os.WriteFile(to, content, 0o755)); err != nil {
			return err
		}
	}
	// The mount points, which crun would otherwise make in every run.
	for _, dir := range []string{"proc", "dev", "sys"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			return err
		}
	}
	return nil
}

// trimSpec makes the description run /bin/true, and takes from it what no step has: a terminal, control groups, /sys.
func trimSpec(path string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var spec map[string]any
	if err := json.Unmarshal(content, &spec); err != nil {
		return err
	}
	process, _ := spec["process"].(map[string]any)
	linux, _ := spec["linux"].(map[string]any)
	mounts, _ := spec["mounts"].([]any)
	if process == nil || linux == nil || mounts == nil {
		return fmt.Errorf("%s is not what crun describes", path)
	}
	process["terminal"], process["args"] = false, []string{"/bin/true"}
	delete(linux, "resources")
	var kept []any
	for _, m := range mounts {
		if mount, ok := m.(map[string]any); ok && (mount["type"] == "proc" || mount["type"] == "tmpfs" || mount["type"] == "devpts") {
			kept = append(kept, m)
		}
	}
	spec["mounts"] = kept
	if content, err = json.Marshal(spec); err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o666)
}
