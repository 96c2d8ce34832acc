package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/towpath/towpath/bench/harness"
	"github.com/towpath/towpath/bench/proc"
	"github.com/towpath/towpath/internal/cas/disk"
	"github.com/towpath/towpath/internal/source"
)

// snapshotArgument is the first argument of this program where it is a child that takes a snapshot as a run of tow does.
const snapshotArgument = "snapshot-child"

// What a child of that kind does.
const (
	takeSnapshot   = "take"   // what every run does
	ensureSnapshot = "ensure" // what a run does besides that before it calls a stage
	flushSnapshot  = "flush"  // and before it records a result
)

const (
	snapshotFolders = 500
	snapshotFiles   = 100 // in each
	snapshotTotal   = snapshotFolders*snapshotFiles + 1
)

func snapshotWarm(l *lab) harness.Row {
	return harness.Row{
		Name:    "snapshot-warm-git-status",
		About:   "a snapshot of 50,000 files that have not changed against `git status`",
		Limit:   1,
		Metrics: append(timeAndCPU(), harness.Metric{Name: "time with the store asked", Unit: "ms", Aside: true}),
		Warmups: 2,
		Runs:    15,
		Prepare: func(ctx context.Context) (*harness.Trial, error) {
			tree, version, err := l.snapshotTree(ctx)
			if err != nil {
				return nil, err
			}
			cache := filepath.Join(l.folder, "snapshot-warm")
			if err := os.RemoveAll(cache); err != nil {
				return nil, err
			}
			for range 3 { // the index has learnt all that it can, and what it refers to is durable
				if _, err := l.snapshot(ctx, flushSnapshot, tree, cache); err != nil {
					return nil, err
				}
			}
			ours := func(ctx context.Context) ([]float64, error) {
				values, err := l.snapshot(ctx, takeSnapshot, tree, cache)
				if err != nil {
					return nil, err
				}
				asked, err := l.snapshot(ctx, ensureSnapshot, tree, cache)
				if err != nil {
					return nil, err
				}
				return append(values, asked[0]), nil
			}
			status, err := l.git(tree, "status")
			if err != nil {
				return nil, err
			}
			theirs := repeatTime(l.timed(status, saysClean))
			for range 2 { // git's index is as fresh as it can be
				if _, err := theirs(ctx); err != nil {
					return nil, err
				}
			}
			return &harness.Trial{Peer: version, Ours: ours, Theirs: theirs}, nil
		},
	}
}

func snapshotCold(l *lab) harness.Row {
	return harness.Row{
		Name:    "snapshot-cold-git-add",
		About:   "the first snapshot of 50,000 files against `git add -A`",
		Limit:   1,
		Metrics: append(timeAndCPU(), harness.Metric{Name: "time of making it durable", Unit: "ms", Aside: true}),
		Warmups: 1,
		Runs:    5,
		Prepare: func(ctx context.Context) (*harness.Trial, error) {
			tree, version, err := l.snapshotTree(ctx)
			if err != nil {
				return nil, err
			}
			cache, repository := filepath.Join(l.folder, "snapshot-cold"), filepath.Join(l.folder, "snapshot-cold.git")
			ours := func(ctx context.Context) ([]float64, error) {
				if err := os.RemoveAll(cache); err != nil {
					return nil, err
				}
				values, err := l.snapshot(ctx, takeSnapshot, tree, cache)
				if err != nil {
					return nil, err
				}
				flushed, err := l.snapshot(ctx, flushSnapshot, tree, cache)
				if err != nil {
					return nil, err
				}
				return append(values, flushed[0]), nil
			}
			add, err := l.git(tree, "--git-dir="+repository, "--work-tree="+tree, "add", "-A")
			if err != nil {
				return nil, err
			}
			measured := repeatTime(l.timed(add, prints("")))
			theirs := func(ctx context.Context) ([]float64, error) {
				if err := os.RemoveAll(repository); err != nil {
					return nil, err
				}
				if _, err := l.prepare(ctx, l.folder, "git", "init", "--quiet", "--bare", repository); err != nil {
					return nil, err
				}
				return measured(ctx)
			}
			return &harness.Trial{Peer: version, Ours: ours, Theirs: theirs}, nil
		},
	}
}

// repeatTime is for peers that have nothing of their own to hold against our last metric: it is compared with their time.
func repeatTime(s harness.Sampler) harness.Sampler {
	return func(ctx context.Context) ([]float64, error) {
		values, err := s(ctx)
		if err != nil {
			return nil, err
		}
		return append(values, values[0]), nil
	}
}

// git is a command of git with its own default settings, not those of the user.
func (l *lab) git(folder string, args ...string) (proc.Cmd, error) {
	path, err := exec.LookPath("git")
	return proc.Cmd{Path: path, Args: args, Dir: folder, Env: l.environment("GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull, "LC_ALL=C")}, err
}

func saysClean(stdout string) error {
	if !strings.Contains(stdout, "nothing to commit, working tree clean") {
		return fmt.Errorf("printed %q, so that something has changed", stdout)
	}
	return nil
}

// snapshotTree returns the work tree, a git repository, and git's version.
func (l *lab) snapshotTree(ctx context.Context) (tree, version string, err error) {
	if version, err = l.prepare(ctx, l.folder, "git", "--version"); err != nil {
		return "", "", err
	}
	ignores := map[string]string{".gitignore": "*.pyc\n__pycache__/\n/build/\nnode_modules\n*.log\n.venv\n"}
	recipe := fmt.Sprintf("%d folders of %d files of 0.2 to 6 kB, committed", snapshotFolders, snapshotFiles)
	tree, err = l.workload("snapshot-50k", recipe, ignores, func(folder string) error {
		if err := writeSnapshotTree(folder); err != nil {
			return err
		}
		return l.commit(ctx, folder)
	})
	return tree, strings.TrimSpace(version), err
}

func writeSnapshotTree(top string) error {
	random := rand.New(rand.NewPCG(1, 2))
	text := bytes.Repeat([]byte("func main() { println(\"towpath\") }\n"), 200)
	for d := range snapshotFolders {
		folder := filepath.Join(top, fmt.Sprintf("src%d", d%10), fmt.Sprintf("pkg%03d", d))
		if err := os.MkdirAll(folder, 0o777); err != nil {
			return err
		}
		for f := range snapshotFiles {
			content := append(fmt.Appendf(nil, "// %d %d\n", d, f), text[:200+random.IntN(5800)]...)
			if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("file_%03d.go", f)), content, 0o666); err != nil {
				return err
			}
		}
	}
	return nil
}

// snapshot runs a child and measures it.
func (l *lab) snapshot(ctx context.Context, doing, tree, cache string) ([]float64, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	child := proc.Cmd{Path: self, Args: []string{snapshotArgument, doing, tree, cache}, Dir: l.folder, Env: l.environment()}
	return l.timed(child, prints(fmt.Sprintf("%d files\n", snapshotTotal)))(ctx)
}

// snapshotChild takes a snapshot and says of how many files it consists.
func snapshotChild(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	debug.SetGCPercent(400) // as tow does
	if len(args) != 3 {
		fmt.Fprintln(stderr, "takes what to do, a work tree and a cache folder")
		return 1
	}
	files, err := snapshotOnce(ctx, args[0], args[1], args[2])
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	fmt.Fprintf(stdout, "%d files\n", files)
	return 0
}

func snapshotOnce(ctx context.Context, doing, tree, cache string) (files int, err error) {
	if err := os.MkdirAll(cache, 0o777); err != nil {
		return 0, err
	}
	store, err := disk.Open(filepath.Join(cache, "cas"))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	sources, err := source.Open(source.Config{Store: store, Repository: tree, IndexFile: filepath.Join(cache, "index"), Lazy: true})
	if err != nil {
		return 0, err
	}
	results, err := sources.Snapshot(ctx, []source.Request{{Root: tree, Globs: []string{"."}}})
	if err != nil {
		return 0, err
	}
	if doing != takeSnapshot {
		err = sources.Ensure(ctx)
	}
	if err == nil && doing == flushSnapshot {
		err = store.Flush(ctx)
	}
	return results[0].Files, errors.Join(err, results[0].Err, sources.Close(ctx))
}
