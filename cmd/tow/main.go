// Command tow runs CI/CD pipelines that are written in Python or Go.
//
// It is wiring and nothing else: the one place that knows which implementation of each contract is used.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"syscall"
	"time"

	"github.com/towpath/towpath"
	actiondisk "github.com/towpath/towpath/internal/actioncache/disk"
	casdisk "github.com/towpath/towpath/internal/cas/disk"
	"github.com/towpath/towpath/internal/checkout"
	"github.com/towpath/towpath/internal/cli"
	"github.com/towpath/towpath/internal/config"
	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/engine"
	"github.com/towpath/towpath/internal/executor/local"
	"github.com/towpath/towpath/internal/history/files"
	"github.com/towpath/towpath/internal/sandbox"
	"github.com/towpath/towpath/internal/session"
	"github.com/towpath/towpath/internal/source"
	"github.com/towpath/towpath/sdk"
)

// version is that of the next release until it is tagged.
const version = "0.1.0-dev"

func main() {
	sandbox.MainIfHelper()
	os.Exit(run())
}

func run() int {
	// Most commands end before a second collection would have paid off. What is live stays small, so this costs a few megabytes.
	debug.SetGCPercent(400)
	dir, err := os.Getwd()
	if err != nil {
		fmt.Fprintf(os.Stderr, "tow: find the working directory: %v\n", err)
		return engine.ExitFault
	}
	ctx, stop := interruptible()
	defer stop()
	app := &cli.App{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Dir: dir, Lookup: os.LookupEnv, Environ: os.Environ(), Now: time.Now, Version: version,
		PythonSDK: sdk.Python(), GoSDK: towpath.SDKSource(), Open: open,
	}
	return app.Main(ctx, os.Args[1:])
}

// interruptible returns a context that the first interrupt ends. The second ends tow at once: its processes die with it.
func interruptible() (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		cancel(engine.ErrInterrupted)
		<-signals
		os.Exit(engine.ExitCancelled)
	}()
	return ctx, func() { signal.Stop(signals) }
}

// closers are what was opened, the first first.
type closers []func(context.Context) error

// add adds what is closed without a context.
func (c *closers) add(closer func() error) {
	*c = append(*c, func(context.Context) error { return closer() })
}

// close closes all of them, the last first.
func (c closers) close(ctx context.Context) error {
	var errs []error
	for _, closer := range slices.Backward(c) {
		errs = append(errs, closer(ctx))
	}
	return errors.Join(errs...)
}

// open opens the stores below the folders that the settings name.
func open(s config.Settings, p session.Program) (_ *cli.Stores, err error) {
	var opened closers
	defer func() {
		if err != nil {
			err = errors.Join(err, opened.close(context.Background()))
		}
	}()
	if err := makeFolders(s); err != nil {
		return nil, err
	}
	blobs, err := casdisk.Open(filepath.Join(s.CacheDir, "cas"))
	if err != nil {
		return nil, err
	}
	opened.add(blobs.Close)
	results, err := actiondisk.Open(filepath.Join(s.CacheDir, "results"))
	if err != nil {
		return nil, err
	}
	opened.add(results.Close)
	project := digest.OfBytes([]byte(p.Path)).Short()
	indexes := filepath.Join(s.CacheDir, "index")
	if err := os.MkdirAll(indexes, 0o755); err != nil {
		return nil, fmt.Errorf("make the cache folder: %w", err)
	}
	sources, err := source.Open(source.Config{Store: blobs, Repository: p.Repository, IndexFile: filepath.Join(indexes, project), Lazy: true})
	if err != nil {
		return nil, err
	}
	opened = append(opened, sources.Close)
	owner := sandbox.Owner()
	inputs, err := checkout.Open(checkout.Config{Store: blobs, Dir: filepath.Join(s.CacheDir, "checkouts"), UID: owner, GID: owner})
	if err != nil {
		return nil, err
	}
	opened.add(inputs.Close)
	steps, err := local.New(local.Config{
		Store: blobs, Dir: filepath.Join(s.CacheDir, "work"), Isolation: isolation(s), Checkouts: inputs, Private: []string{p.Repository, s.StateDir},
	})
	if err != nil {
		return nil, err
	}
	opened.add(steps.Close)
	return &cli.Stores{
		Blobs: blobs, Results: results, Sources: sources, Executor: steps, Checkouts: inputs,
		History: files.Open(filepath.Join(s.StateDir, "projects", project)), Close: opened.close,
	}, nil
}

// isolation returns what the local executor is asked for. Where the settings insist on the sandbox and there is none, the command line refuses to
// run steps, and whatever needs no steps still works.
func isolation(s config.Settings) string {
	if s.Isolation == config.IsolationWorkspace {
		return local.Workspace
	}
	return ""
}
