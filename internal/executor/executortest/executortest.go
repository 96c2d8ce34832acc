// Package executortest holds implementations of executor.Executor to the contract that is written there.
//
// The suite runs a program of a few operations (Interpret), for one that starts processes as a real one, for a fake within
// the test. It must not know any implementation.
package executortest

import (
	"bytes"
	"context"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/executor"
	"github.com/towpath/towpath/internal/tree"
)

// Subject is an executor under test.
type Subject struct {
	Executor executor.Executor
	Store    cas.Store
	// Program is what interprets its arguments when it is started.
	Program Program
	// Leftovers lists what executions have left behind. Nil where there is nothing to look at.
	Leftovers func(t *testing.T) []string
}

// Program adds the suite's program to inputs, at a path.
type Program func(ctx context.Context, store cas.Store, inputs *tree.Builder, path string) error

// File is a program with the given content.
func File(content []byte) Program {
	return func(ctx context.Context, store cas.Store, inputs *tree.Builder, path string) error {
		d, err := cas.PutBytes(ctx, store, content)
		if err != nil {
			return err
		}
		return inputs.File(path, d, true)
	}
}

// Link is a program that is at a place of this machine. It saves the copying, where steps can see that place.
func Link(target string) Program {
	return func(_ context.Context, _ cas.Store, inputs *tree.Builder, path string) error {
		return inputs.Symlink(path, target)
	}
}

// Run runs the suite. open makes a new subject, with an empty store and a short grace.
func Run(t *testing.T, open func(t *testing.T) Subject) {
	tests := []struct {
		name string
		run  func(t *testing.T, s *suite)
	}{
		{"only declared inputs are there", testInputs},
		{"every workspace is fresh", testFresh},
		{"changed inputs do not change the store", testChangedInputs},
		{"environment", testEnv},
		{"private folders", testPrivateFolders},
		{"working folder", testCwd},
		{"working folder that cannot be", testBadCwd},
		{"standard input is empty", testStdin},
		{"outputs", testOutputs},
		{"outputs that are missing", testMissingOutputs},
		{"outputs that lead out", testOutputsThatLeadOut},
		{"exit codes", testExitCodes},
		{"signal", testSignal},
		{"both streams", testStreams},
		{"no streams", testNoStreams},
		{"much output", testMuchOutput},
		{"output that nobody takes", testWriterFails},
		{"cancelled while it runs", testCancel},
		{"cancelled and stubborn", testCancelStubborn},
		{"cancelled before", testCancelledBefore},
		{"deadline", testDeadline},
		{"children do not outlive the command", testChild},
		{"concurrent executions", testConcurrent},
		{"input that is not in the store", testMissingInput},
		{"command that is not there", testCommandNotFound},
		{"other isolation", testIsolation},
		{"names", testNames},
		{"places in a sandbox", testPlaces},
		{"nothing of the machine in a sandbox", testNothingOfTheMachine},
		{"network of a sandbox", testNetwork},
		{"limit of outputs", testOutputLimit},
		{"shell", testShell},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := &suite{Subject: open(t), inputs: map[string]input{}}
			test.run(t, s)
			if s.Leftovers == nil {
				return
			}
			if left := s.Leftovers(t); len(left) > 0 {
				t.Errorf("executions left behind %v", left)
			}
		})
	}
}

// suite is a subject with the inputs that actions are given.
type suite struct {
	Subject
	inputs map[string]input
}

type input struct {
	content []byte
	program bool // it is the suite's program once more
}

// outcome is everything that an execution gives.
type outcome struct {
	executor.Result
	err            error
	stdout, stderr string
}

// inputRoot stores the inputs.
func (s *suite) inputRoot(t *testing.T) digest.Digest {
	t.Helper()
	b := tree.NewBuilder(s.Store)
	if err := s.Program(t.Context(), s.Store, b, ProgramName); err != nil {
		t.Fatal(err)
	}
	for path, in := range s.inputs {
		if in.program {
			if err := s.Program(t.Context(), s.Store, b, path); err != nil {
				t.Fatal(err)
			}
			continue
		}
		d, err := cas.PutBytes(t.Context(), s.Store, in.content)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.File(path, d, false); err != nil {
			t.Fatal(err)
		}
	}
	root, err := b.Build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// action makes the action of a command on the inputs.
func (s *suite) action(t *testing.T, c executor.Command) executor.Action {
	t.Helper()
	a, err := executor.NewAction(c, s.inputRoot(t), executor.Platform(s.Executor.Isolation()))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// program is the command that runs operations, which are divided by white space.
func program(operations string, outputs ...string) executor.Command {
	return executor.Command{Args: append([]string{"./" + ProgramName}, strings.Fields(operations)...), Outputs: outputs}
}

// execute runs a command that must not be an error.
func (s *suite) execute(t *testing.T, c executor.Command) outcome {
	t.Helper()
	got := s.try(t.Context(), s.action(t, c), nil)
	if got.err != nil {
		t.Fatalf("%q: %v", c.Args, got.err)
	}
	return got
}

// succeed runs a command that must succeed.
func (s *suite) succeed(t *testing.T, c executor.Command) outcome {
	t.Helper()
	got := s.execute(t, c)
	if got.ExitCode != 0 || !got.Accepted {
		t.Fatalf("%q: exit code %d, accepted: %v, %s", c.Args, got.ExitCode, got.Accepted, got.stderr)
	}
	return got
}

func (s *suite) try(ctx context.Context, a executor.Action, accept func(int) bool) outcome {
	var stdout, stderr bytes.Buffer
	result, err := s.Executor.Execute(ctx, a, executor.Options{Stdout: &stdout, Stderr: &stderr, Accept: accept})
	return outcome{result, err, stdout.String(), stderr.String()}
}

// blob returns the content of a blob in the store, verified.
func (s *suite) blob(t *testing.T, d digest.Digest) string {
	t.Helper()
	b, err := cas.ReadAll(t.Context(), s.Store, d, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// want compares what a command wrote, or the like.
func want(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %.300q, want %.300q", what, got, want)
	}
}

// notice is a writer that tells when something has been written to it.
type notice struct {
	mu      sync.Mutex
	buf     bytes.Buffer
	text    string
	seen    chan struct{} // closed when text was written
	noticed bool
}

func newNotice(text string) *notice { return &notice{text: text, seen: make(chan struct{})} }

func (n *notice) Write(b []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.buf.Write(b)
	if !n.noticed && strings.Contains(n.buf.String(), n.text) {
		n.noticed = true
		close(n.seen)
	}
	return len(b), nil
}

func (n *notice) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.buf.String()
}

// TestBinary is the running test binary as a program: see MainIfProgram.
func TestBinary(t *testing.T) Program {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if !windows {
		return Link(path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return File(b)
}

const windows = runtime.GOOS == "windows"
