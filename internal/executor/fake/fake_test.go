package fake_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"

	"github.com/towpath/towpath/internal/cas/mem"
	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/executor"
	"github.com/towpath/towpath/internal/executor/executortest"
	"github.com/towpath/towpath/internal/executor/fake"
)

func TestContract(t *testing.T) {
	executortest.Run(t, func(*testing.T) executortest.Subject {
		store := mem.New()
		return executortest.Subject{Executor: fake.New(store, interpret), Store: store, Program: executortest.File([]byte("the program"))}
	})
}

// interpret plays an operating system to the suite's program: it finds the program and runs it.
func interpret(ctx context.Context, s *fake.Step) (int, error) {
	name := s.Action.Args[0]
	notFound := &executor.CommandNotFoundError{Name: name, Err: fs.ErrNotExist}
	if !strings.Contains(name, "/") {
		notFound.Path, _ = s.Action.Lookup("PATH")
		return 0, notFound
	}
	content, err := s.ReadFile(name)
	if _, isFolder := s.List(name); isFolder == nil || err == nil && string(content) != "the program" {
		notFound.Err = fs.ErrPermission
		return 0, notFound
	}
	if err != nil {
		return 0, notFound
	}
	m := &machine{Step: s, ctx: ctx}
	return m.interpret(s.Action.Args[1:])
}

// machine is a process of the suite's program.
type machine struct {
	*fake.Step
	ctx         context.Context
	ignoresTerm bool
}

// ended is what a process panics with when it is ended.
type ended struct{}

func (m *machine) interpret(args []string) (code int, err error) {
	defer func() {
		if r := recover(); r != nil && r != (ended{}) {
			panic(r)
		}
	}()
	return executortest.Interpret(m, args), nil
}

func (m *machine) IgnoreTerm() { m.ignoresTerm = true }

func (m *machine) Block() {
	_, _ = io.WriteString(m.Stdout(), "blocked\n")
	<-m.ctx.Done()
	if m.ignoresTerm {
		panic(ended{})
	}
}

func (m *machine) Kill() {
	m.Killed()
	panic(ended{})
}

func (m *machine) Spawn(args []string) error {
	m.Go(func(ctx context.Context) {
		child := &machine{Step: m.Step, ctx: ctx}
		_, _ = child.interpret(args)
	})
	return nil
}

func action(t *testing.T, args ...string) executor.Action {
	t.Helper()
	a, err := executor.NewAction(executor.Command{Args: args}, digest.Empty(), executor.Platform(fake.Isolation))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func newFake(t *testing.T, run fake.Func) *fake.Executor {
	t.Helper()
	store := mem.New()
	if _, err := store.Put(t.Context(), strings.NewReader("")); err != nil { // the empty directory
		t.Fatal(err)
	}
	return fake.New(store, run)
}

func TestHoldAndAwait(t *testing.T) {
	e := newFake(t, nil)
	release := e.Hold()
	ended := make(chan error)
	for i := range 3 {
		go func() {
			_, err := e.Execute(t.Context(), action(t, fmt.Sprint(i%2)), executor.Options{})
			ended <- err
		}()
	}
	if err := e.Await(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	if e.Begun() != 3 || e.Count(action(t, "0").Digest()) != 2 || e.Count(action(t, "1").Digest()) != 1 || e.Count(action(t, "2").Digest()) != 0 {
		t.Errorf("%d have begun", e.Begun())
	}
	select {
	case err := <-ended:
		t.Errorf("an execution that is held ended: %v", err)
	default:
	}
	release()
	release()
	for range 3 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if _, err := e.Execute(t.Context(), action(t, "0"), executor.Options{}); err != nil {
		t.Errorf("after the release: %v", err)
	}
}

func TestHeldAndCancelled(t *testing.T) {
	e := newFake(t, nil)
	defer e.Hold()()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_ = e.Await(t.Context(), 1)
		cancel()
	}()
	if _, err := e.Execute(ctx, action(t, "x"), executor.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
	if err := e.Await(ctx, 2); !errors.Is(err, context.Canceled) {
		t.Errorf("the error of Await is %v", err)
	}
}

func TestFuncFails(t *testing.T) {
	lost := &executor.InfrastructureError{Op: "reach the machine", Err: errors.New("it is gone")}
	e := newFake(t, func(context.Context, *fake.Step) (int, error) { return 0, lost })
	result, err := e.Execute(t.Context(), action(t, "x"), executor.Options{})
	if !errors.Is(err, lost) || result.Accepted {
		t.Errorf("the result is %+v, the error %v", result, err)
	}
}

func BenchmarkExecute(b *testing.B) {
	store := mem.New()
	if _, err := store.Put(b.Context(), strings.NewReader("")); err != nil {
		b.Fatal(err)
	}
	e := fake.New(store, nil)
	a, err := executor.NewAction(executor.Command{Args: []string{"x"}}, digest.Empty(), executor.Platform(fake.Isolation))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.Execute(b.Context(), a, executor.Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
