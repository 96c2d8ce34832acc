// Package escapetest tries to get out of the sandbox that steps run in, in every way that somebody thought of.
//
// Each attempt is a real step, for root as well as for an ordinary user, and is judged twice: by what the step itself was told, and by
// looking from outside at all that it could have changed. It knows the executor and what the machine shows of it, and nothing of how the
// sandbox is made.
package escapetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/executor"
	"github.com/towpath/towpath/internal/executor/local"
	"github.com/towpath/towpath/internal/nobody"
	"github.com/towpath/towpath/internal/sandbox"
)

const (
	// attemptVariable names the attempt that a process of a step is to make.
	attemptVariable = "TOWPATH_ESCAPE"
	// testVariable tells the processes of this test from those of another that is run at the same time.
	testVariable = "TOWPATH_ESCAPE_TEST"
	// nestedVariable tells a process that it is in the namespaces that its attempt asks for.
	nestedVariable = "TOWPATH_ESCAPE_NESTED"
)

// attempt is one way to get at something that a step has not declared.
type attempt struct {
	name string
	// probe is run in the step, and returns nil where it has succeeded. Its arguments are those of args.
	probe func(args []string) error
	// sh is run in the step instead of a probe.
	sh string
	// args are what the step is told of the machine.
	args func(m *machine) []string
	// nested are the namespaces that the probe makes for itself first.
	nested uintptr
	// says is what the step must be told. It is empty where the attempt may succeed and changes nothing that is not the step's own.
	says string
	// fails is what the error of the execution must be; that of an execution without one is empty.
	fails string
	// tool tells that the step declares the tool of the machine.
	tool bool
	// outputs and limits are those of the step, and exceeded the limit that it must meet as far as the machine names it.
	outputs  []string
	limits   executor.Limits
	exceeded string
	// outside looks at what has become of it.
	outside func(t *testing.T, m *machine, o outcome)
}

// outcome is how the step of an attempt has ended.
type outcome struct {
	executor.Result
	printed string
	err     error
}

func TestMain(m *testing.M) {
	sandbox.MainIfHelper()
	if name := os.Getenv(attemptVariable); name != "" {
		os.Exit(try(name))
	}
	os.Exit(m.Run())
}

func attempts() []attempt {
	var all []attempt
	for _, some := range [][]attempt{
		reads(), inputWrites(), toolchainWrites(), processes(), namespaces(), kernel(), network(), sharedMemory(), outputs(), leftovers(), resources(),
	} {
		all = append(all, some...)
	}
	return all
}

// try makes an attempt from within a step and returns the exit code: 1 where it was refused.
func try(name string) int {
	for _, a := range attempts() {
		if a.name != name {
			continue
		}
		if a.nested != 0 && os.Getenv(nestedVariable) == "" {
			return nest(a.nested)
		}
		if err := a.probe(os.Args[1:]); err != nil {
			fmt.Println(err)
			return 1
		}
		fmt.Println("succeeded")
		return 0
	}
	fmt.Println("there is no such attempt")
	return 2
}

// nest makes the attempt of this process in namespaces of its own, in which it is the superuser.
func nest(flags uintptr) int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), nestedVariable+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | flags,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		fmt.Println("refused a namespace:", err)
		return 1
	}
	return cmd.ProcessState.ExitCode()
}

// TestEscapes makes every attempt, as root where this is root, and as an ordinary user.
func TestEscapes(t *testing.T) {
	nobody.Run(t)
	m := newMachine(t)
	seen := map[string]bool{}
	for _, a := range attempts() {
		if seen[a.name] {
			t.Errorf("two attempts are called %q", a.name)
		}
		seen[a.name] = true
		t.Run(a.name, func(t *testing.T) {
			before := m.look(t)
			o := m.make(t, a)
			a.judge(t, o)
			m.compare(t, before, m.look(t))
			m.nothingRuns(t, a.name)
			if a.outside != nil {
				a.outside(t, m, o)
			}
		})
	}
	if len(seen) < 60 {
		t.Errorf("there are %d attempts, want at least 60", len(seen))
	}
	m.inputsAreIntact(t)
}

// judge looks at what the step and who ran it were told.
func (a attempt) judge(t *testing.T, o outcome) {
	t.Helper()
	switch {
	case a.fails != "":
		said := ""
		if o.err != nil {
			said = o.err.Error()
		}
		if !regexp.MustCompile(a.fails).MatchString(said) {
			t.Errorf("the error is %v, want %q (%d: %s)", o.err, a.fails, o.ExitCode, o.printed)
		}
		return
	case o.err != nil:
		t.Errorf("it could not be tried: %v", o.err)
		return
	}
	if a.exceeded != "" {
		if o.Accepted || o.Exceeded != "" && o.Exceeded != a.exceeded {
			t.Errorf("it ended with %+v, want %s exceeded", o.Result, a.exceeded)
		}
		return
	}
	switch {
	case a.says == "" && o.ExitCode != 0:
		t.Errorf("it ended with %d and should be able to do that to itself: %s", o.ExitCode, o.printed)
	case a.says != "" && o.ExitCode == 0:
		t.Errorf("it succeeded: %s", o.printed)
	case a.says != "" && !regexp.MustCompile(a.says).MatchString(o.printed):
		t.Errorf("it ended with %d and was told %q, want %q", o.ExitCode, o.printed, a.says)
	}
}

// thisTest is the value of testVariable.
func thisTest() string { return strconv.Itoa(os.Getpid()) }

// make runs the step of an attempt.
func (m *machine) make(t *testing.T, a attempt) outcome {
	t.Helper()
	c := executor.Command{Args: []string{"./probe"}, Outputs: a.outputs, Env: []executor.EnvVar{
		{Name: attemptVariable, Value: a.name}, {Name: testVariable, Value: thisTest()},
	}}
	if a.tool {
		c.Tools = []executor.Tool{{Name: "tool", Path: m.tool, Digest: digest.OfBytes([]byte("tool"))}}
	}
	if a.sh != "" {
		c.Args = []string{"sh", "-c", a.sh, "sh"}
	}
	if a.args != nil {
		c.Args = append(c.Args, a.args(m)...)
	}
	return m.step(t, c, m.inputs, a.limits)
}

func (m *machine) step(t *testing.T, c executor.Command, inputs digest.Digest, l executor.Limits) outcome {
	t.Helper()
	c.Limits = l
	action, err := executor.NewAction(c, inputs, executor.Platform(local.Sandbox))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // for a step that has stopped what runs it
	defer cancel()
	var out bytes.Buffer
	both := &locked{w: &out}
	result, err := m.Execute(ctx, action, executor.Options{Stdout: both, Stderr: both})
	return outcome{result, out.String(), err}
}

// shell runs a script in a step of its own that must succeed, and returns what it prints.
func (m *machine) shell(t *testing.T, inputs digest.Digest, script string) string {
	t.Helper()
	o := m.step(t, executor.Command{Args: []string{"sh", "-c", script}}, inputs, executor.Limits{})
	if o.err != nil || o.ExitCode != 0 {
		t.Errorf("%s: %d, %v: %s", script, o.ExitCode, o.err, o.printed)
	}
	return o.printed
}
