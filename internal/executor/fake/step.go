package fake

import (
	"context"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"github.com/towpath/towpath/internal/executor"
)

// The folders of every execution. Only what is in them exists.
const (
	workDir = "/work"
	homeDir = "/home"
	tmpDir  = "/tmp"
)

// Step is what a Func sees of the command that it stands for: the action, and a workspace in memory. Paths are relative to
// the folder in which the command starts, or absolute below /work, /home and /tmp. A Step is safe for concurrent use.
type Step struct {
	Action executor.Action

	ctx            context.Context
	workspace      *workspace
	stdout, stderr *stream
	killed         bool
	behind         sync.WaitGroup
}

// Stdin returns an empty reader.
func (s *Step) Stdin() io.Reader { return strings.NewReader("") }

// Stdout returns the command's standard output.
func (s *Step) Stdout() io.Writer { return s.stdout }

// Stderr returns the command's standard error.
func (s *Step) Stderr() io.Writer { return s.stderr }

// Env returns the variables as NAME=VALUE.
func (s *Step) Env() []string {
	env := []string{"HOME=" + homeDir, "TMPDIR=" + tmpDir}
	for _, v := range s.Action.Env {
		env = append(env, v.Name+"="+v.Value)
	}
	slices.Sort(env)
	return env
}

// Dir returns the folder in which the command starts.
func (s *Step) Dir() string { return s.workspace.cwd }

// ReadFile returns the content of a file, following links.
func (s *Step) ReadFile(path string) ([]byte, error) { return s.workspace.read(s.ctx, path) }

// WriteFile makes or replaces a file, following links. Its folder has to be there.
func (s *Step) WriteFile(path string, content []byte) error { return s.workspace.write(path, content) }

// List returns the names in a folder, sorted.
func (s *Step) List(path string) ([]string, error) { return s.workspace.list(path) }

// Mkdir makes a folder and those above it.
func (s *Step) Mkdir(path string) error { return s.workspace.mkdir(path) }

// Symlink makes a symbolic link.
func (s *Step) Symlink(target, path string) error { return s.workspace.symlink(target, path) }

// Chmod sets the mode of a file or folder, of which only a file's being executable has a meaning.
func (s *Step) Chmod(path string, mode fs.FileMode) error { return s.workspace.chmod(path, mode) }

// Go runs f beside the command, as a process that the command starts. When the command has ended ctx ends, and Execute waits
// for f.
func (s *Step) Go(f func(ctx context.Context)) { s.behind.Go(func() { f(s.ctx) }) }

// Killed makes the command one that was ended by SIGKILL, once the Func has returned.
func (s *Step) Killed() { s.killed = true }
