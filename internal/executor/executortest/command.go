package executortest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/executor"
	"github.com/towpath/towpath/internal/tree"
)

func testExitCodes(t *testing.T, s *suite) {
	for _, code := range []int{0, 1, 3, 255} {
		a := s.action(t, program(fmt.Sprintf("write f x ; print out ; exit %d", code), "f", "g"))
		got := s.try(t.Context(), a, nil)
		if got.err != nil || got.ExitCode != code || got.Accepted != (code == 0) || got.Signal != "" {
			t.Errorf("exit code %d: %+v, %v", code, got.Result, got.err)
		}
		want(t, "output", got.stdout, "out")
		if captured := len(got.Entries) == 1 && len(got.Missing) == 1 && !got.Root.IsZero(); captured != (code == 0) {
			t.Errorf("exit code %d is not accepted but by 0: captured are %v, missing %v", code, got.Entries, got.Missing)
		}
		got = s.try(t.Context(), a, func(exit int) bool { return exit == 3 })
		if got.err != nil || got.ExitCode != code || got.Accepted != (code == 3) || (len(got.Entries) == 1) != (code == 3) {
			t.Errorf("exit code %d where 3 is accepted: %+v, %v", code, got.Result, got.err)
		}
	}
}

func testSignal(t *testing.T, s *suite) {
	if windows {
		t.Skip("there are no signals on Windows")
	}
	got := s.try(t.Context(), s.action(t, program("write f x ; kill", "f")), func(int) bool { return true })
	if got.err != nil || got.Signal != "SIGKILL" || got.ExitCode != 137 || got.Accepted || len(got.Entries) > 0 {
		t.Errorf("a command that is killed: %+v, %v", got.Result, got.err)
	}
}

func testStreams(t *testing.T, s *suite) {
	got := s.succeed(t, program("print one ; eprint two ; print three"))
	want(t, "stdout", got.stdout, "onethree")
	want(t, "stderr", got.stderr, "two")
}

func testNoStreams(t *testing.T, s *suite) {
	result, err := s.Executor.Execute(t.Context(), s.action(t, program("print x ; eprint y ; big 1000000")), executor.Options{})
	if err != nil || result.ExitCode != 0 {
		t.Errorf("without writers: %+v, %v", result, err)
	}
}

func testMuchOutput(t *testing.T, s *suite) {
	const much = 10 << 20
	got := s.succeed(t, program(fmt.Sprintf("big %d ; write-big f %d", much, much), "f"))
	want(t, "stdout", got.stdout, string(Big(much)))
	want(t, "file", s.blob(t, got.Entries[0].Digest), string(Big(much)))
}

type brokenWriter struct{}

var errBroken = errors.New("broken")

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

func testWriterFails(t *testing.T, s *suite) {
	_, err := s.Executor.Execute(t.Context(), s.action(t, program("print x ; block")), executor.Options{Stdout: brokenWriter{}})
	var infrastructure *executor.InfrastructureError
	if !errors.As(err, &infrastructure) || !errors.Is(err, errBroken) {
		t.Errorf("the error is %v, want an InfrastructureError of the writer", err)
	}
}

// cancelWhen runs a command and cancels it once it has written something, which holds as well that output is passed on while
// the command runs.
func (s *suite) cancelWhen(t *testing.T, text string, c executor.Command) (*notice, error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	a := s.action(t, c)
	out := newNotice(text)
	ended := make(chan error, 1)
	go func() {
		_, err := s.Executor.Execute(ctx, a, executor.Options{Stdout: out, Accept: func(int) bool { return true }})
		ended <- err
	}()
	select {
	case <-out.seen:
	case err := <-ended:
		t.Fatalf("it ended before it wrote %q: %v", text, err)
	}
	cancel()
	return out, <-ended
}

func testCancel(t *testing.T, s *suite) {
	out, err := s.cancelWhen(t, "blocked", program("block"))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v, want context.Canceled", err)
	}
	if !windows && !strings.Contains(out.String(), "asked to end") {
		t.Errorf("it was not asked to end first: %q", out)
	}
}

func testCancelStubborn(t *testing.T, s *suite) {
	out, err := s.cancelWhen(t, "blocked", program("ignore-term ; block"))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v, want context.Canceled", err)
	}
	if strings.Contains(out.String(), "asked to end") {
		t.Errorf("it was not stubborn: %q", out)
	}
}

func testCancelledBefore(t *testing.T, s *suite) {
	ctx, cancel := context.WithCancel(t.Context())
	a := s.action(t, program("print x"))
	cancel()
	got := s.try(ctx, a, nil)
	if !errors.Is(got.err, context.Canceled) || got.stdout != "" {
		t.Errorf("it wrote %q and the error is %v, want context.Canceled", got.stdout, got.err)
	}
}

func testDeadline(t *testing.T, s *suite) {
	a := s.action(t, program("block"))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	got := s.try(ctx, a, nil)
	if !errors.Is(got.err, context.DeadlineExceeded) {
		t.Errorf("the error is %v, want context.DeadlineExceeded", got.err)
	}
}

// testChild holds that neither a child that holds the output open nor one that does not heed to be asked keeps Execute from
// returning.
func testChild(t *testing.T, s *suite) {
	for _, child := range []string{"block", "ignore-term , block"} {
		got := s.succeed(t, program("print parent ; spawn "+child))
		if !strings.HasPrefix(got.stdout, "parent") {
			t.Errorf("it wrote %q", got.stdout)
		}
	}
	_, err := s.cancelWhen(t, "blocked\nblocked", program("spawn ignore-term , block ; block"))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v, want context.Canceled", err)
	}
}

func testConcurrent(t *testing.T, s *suite) {
	const n = 16
	a := make([]executor.Action, n)
	for i := range a {
		a[i] = s.action(t, program(fmt.Sprintf("write f %d ; print %d ; cat f", i%4, i%4), "f"))
	}
	var all sync.WaitGroup
	for i := range a {
		all.Go(func() {
			got := s.try(t.Context(), a[i], nil)
			if got.err != nil || len(got.Entries) != 1 {
				t.Errorf("execution %d: %+v, %v", i, got.Result, got.err)
				return
			}
			digit := fmt.Sprint(i % 4)
			want(t, "stdout", got.stdout, digit+digit)
			if got.Entries[0].Digest != digest.OfBytes([]byte(digit)) {
				t.Errorf("execution %d has the output of another", i)
			}
		})
	}
	all.Wait()
}

func testMissingInput(t *testing.T, s *suite) {
	absent := digest.OfBytes([]byte("never stored"))
	expect := func(root digest.Digest) {
		t.Helper()
		a, err := executor.NewAction(program("print x"), root, executor.Platform(s.Executor.Isolation()))
		if err != nil {
			t.Fatal(err)
		}
		got := s.try(t.Context(), a, nil)
		var missing *executor.MissingInputError
		if !errors.As(got.err, &missing) || missing.Digest != absent {
			t.Errorf("the error is %v, want a MissingInputError of %v", got.err, absent)
		}
		if got.stdout != "" {
			t.Errorf("it ran: %q", got.stdout)
		}
	}
	expect(absent)

	for _, add := range []func(b *tree.Builder) error{
		func(b *tree.Builder) error { return b.File("a/b/c", absent, false) },
		func(b *tree.Builder) error { return b.Directory("a/b", absent) },
	} {
		b := tree.NewBuilder(s.Store)
		err := errors.Join(s.Program(t.Context(), s.Store, b, ProgramName), add(b))
		if err != nil {
			t.Fatal(err)
		}
		root, err := b.Build(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		expect(root)
	}
}

func testCommandNotFound(t *testing.T, s *suite) {
	s.inputs["data"] = input{content: []byte("data")}
	s.inputs["tools/hidden"] = input{program: true}
	for _, name := range []string{"no-such-command-anywhere", "./missing", "missing/" + ProgramName, "./data", "./tools", "hidden", ProgramName} {
		got := s.try(t.Context(), s.action(t, executor.Command{Args: []string{name}}), nil)
		var notFound *executor.CommandNotFoundError
		if !errors.As(got.err, &notFound) || notFound.Name != name {
			t.Errorf("command %q: the error is %v, want a CommandNotFoundError", name, got.err)
			continue
		}
		wantPath := ""
		if !strings.Contains(name, "/") {
			wantPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
		}
		if notFound.Path != wantPath || errors.Is(got.err, fs.ErrNotExist) == (name == "./data" || name == "./tools") && !windows {
			t.Errorf("command %q: the error is %#v", name, notFound)
		}
	}
}

func testIsolation(t *testing.T, s *suite) {
	for _, platform := range [][]executor.Property{nil, executor.Platform("other"), append(executor.Platform("other"), executor.Platform(s.Executor.Isolation())...)} {
		a, err := executor.NewAction(program("print x"), s.inputRoot(t), platform)
		if err != nil {
			t.Fatal(err)
		}
		got := s.try(t.Context(), a, nil)
		var invalid *executor.InvalidError
		if !errors.As(got.err, &invalid) || invalid.Field != "platform" {
			t.Errorf("for %v the error is %v, want an InvalidError of the platform", platform, got.err)
		}
	}
}

func testNames(t *testing.T, s *suite) {
	if s.Executor.Name() == "" || s.Executor.Isolation() == "" {
		t.Errorf("its names are %q and %q", s.Executor.Name(), s.Executor.Isolation())
	}
}
