// Package proc runs child processes for a benchmark and times them from outside: the clock starts before the fork and stops once the
// exit status has been collected, so that loading the program, its own start and its end all count.
//
// Standard output and error go to files, never through a goroutine of the parent, for whatever is run: a child is neither slowed by a
// reader nor stopped by a full pipe, and the two sides of a comparison are treated alike. Every child leads a process group of its own, and all of the
// group is ended when the context is.
package proc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// patience is how long a child may take to end after it has been asked to, before it is killed.
const patience = 3 * time.Second

// Cmd is a command to run. Env is the whole environment of the child; nil stands for that of this process.
type Cmd struct {
	Path string
	Args []string
	Dir  string
	Env  []string
}

// String returns the command as a person would type it, without quoting.
func (c Cmd) String() string {
	return strings.Join(append([]string{c.Path}, c.Args...), " ")
}

// Result is what a child did that ended with exit code 0.
type Result struct {
	Elapsed time.Duration
	CPU     time.Duration // of it and of the children that it waited for, in user and kernel mode
	MaxRSS  int64         // the most memory that one of them had resident, in bytes; 0 where that is not known
	Stdout  []byte
	Stderr  []byte
}

// ExitError is a child that did not end with exit code 0.
type ExitError struct {
	Cmd    Cmd
	Err    error
	Stdout []byte
	Stderr []byte
}

func (e *ExitError) Error() string {
	output := e.Stderr
	if len(bytes.TrimSpace(output)) == 0 {
		output = e.Stdout
	}
	if output = tail(output, 1000); len(output) == 0 {
		return fmt.Sprintf("%s: %v", filepath.Base(e.Cmd.Path), e.Err)
	}
	return fmt.Sprintf("%s: %v: %s", filepath.Base(e.Cmd.Path), e.Err, output)
}

func (e *ExitError) Unwrap() error { return e.Err }

func tail(output []byte, limit int) []byte {
	output = bytes.TrimSpace(output)
	if len(output) > limit {
		return append([]byte("… "), output[len(output)-limit:]...)
	}
	return output
}

// Runner runs one child after the other. It is not safe for concurrent use.
type Runner struct {
	stdout, stderr *os.File
}

// NewRunner returns a Runner that keeps the output of its children in files of folder.
func NewRunner(folder string) (*Runner, error) {
	stdout, err := os.CreateTemp(folder, "stdout-")
	if err != nil {
		return nil, fmt.Errorf("a file for the output of children: %w", err)
	}
	stderr, err := os.CreateTemp(folder, "stderr-")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("a file for the output of children: %w", err), discard(stdout))
	}
	return &Runner{stdout: stdout, stderr: stderr}, nil
}

// Close removes the files.
func (r *Runner) Close() error {
	return errors.Join(discard(r.stdout), discard(r.stderr))
}

func discard(f *os.File) error {
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// Run runs a command to its end. The error is an *ExitError where the command ran and did not end with exit code 0, and wraps the context's
// where that has ended.
func (r *Runner) Run(ctx context.Context, c Cmd) (Result, error) {
	for _, f := range []*os.File{r.stdout, r.stderr} {
		if err := rewind(f); err != nil {
			return Result{}, fmt.Errorf("run %s: %w", c.Path, err)
		}
	}
	cmd := exec.CommandContext(ctx, c.Path, c.Args...)
	cmd.Dir, cmd.Env = c.Dir, c.Env
	cmd.Stdout, cmd.Stderr = r.stdout, r.stderr
	cmd.SysProcAttr = ownGroup()
	cmd.Cancel = func() error { return endGroup(cmd.Process) }
	cmd.WaitDelay = patience

	begin := time.Now()
	err := cmd.Start()
	if err == nil {
		err = cmd.Wait()
	}
	elapsed := time.Since(begin)

	if ctx.Err() != nil {
		if cmd.Process != nil {
			killGroup(cmd.Process)
		}
		return Result{}, fmt.Errorf("run %s: %w", c.Path, context.Cause(ctx))
	}
	stdout, outErr := contents(r.stdout)
	stderr, errErr := contents(r.stderr)
	if readErr := errors.Join(outErr, errErr); readErr != nil {
		return Result{}, fmt.Errorf("run %s: %w", c.Path, readErr)
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return Result{}, &ExitError{Cmd: c, Err: exit, Stdout: stdout, Stderr: stderr}
	}
	if err != nil {
		return Result{}, fmt.Errorf("run %s: %w", c.Path, err)
	}
	cpu := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return Result{Elapsed: elapsed, CPU: cpu, MaxRSS: maxRSS(cmd.ProcessState), Stdout: stdout, Stderr: stderr}, nil
}

func rewind(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.Seek(0, io.SeekStart)
	return err
}

func contents(f *os.File) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.NewSectionReader(f, 0, info.Size()))
}
