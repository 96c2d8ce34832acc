//go:build unix

package session

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/towpath/towpath/internal/plan"
	"github.com/towpath/towpath/protocol"
)

// startRogue starts the test binary as a worker that misbehaves.
func startRogue(t *testing.T, mischief string, change func(*patience), output func(stream, line string), env ...string) (*Worker, error) {
	t.Helper()
	checkGoroutines(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := command{
		args: []string{self}, dir: t.TempDir(), env: append(env, mischiefVariable+"="+mischief, "PATH="+os.Getenv("PATH")), patience: usualPatience(),
	}
	if change != nil {
		change(&c.patience)
	}
	w, err := start(t.Context(), Program{Path: c.dir, Root: c.dir, Repository: c.dir}, c, "test", refuse{}, output)
	if w != nil {
		t.Cleanup(func() {
			w.Close()
			if err := syscall.Kill(w.cmd.Process.Pid, 0); !errors.Is(err, syscall.ESRCH) {
				t.Errorf("the process is left: %v", err)
			}
		})
	}
	return w, err
}

func callStage(ctx context.Context, w *Worker) error {
	_, err := w.Call(ctx, protocol.StageCallParams{Stage: "a", Function: "a"}, nil)
	return err
}

func mustBeLost(t *testing.T, err error, why string) {
	t.Helper()
	var lost *LostError
	if !errors.As(err, &lost) || !strings.Contains(lost.Error(), why) {
		t.Fatalf("the error is %T %v, want a *LostError that says %q", err, err, why)
	}
	if lost.Err == nil || errors.Unwrap(lost) == nil {
		t.Errorf("the error does not say what was seen on the connection: %+v", lost)
	}
}

func TestWorkerThatMisbehavesDuringACallIsLost(t *testing.T) {
	short := func(p *patience) { p.close = 100 * time.Millisecond }
	for mischief, why := range map[string]string{
		"stage.call":          "it ended: exit status 4",
		"closes its pipe":     "it closed its connection and went on",
		"half a frame":        "end of file inside a frame",
		"a frame without end": "a frame of 4294967295 bytes",
		"garbage":             "byte 6 of a frame",
		"an unknown message":  `notification "mystery"`,
	} {
		t.Run(mischief, func(t *testing.T) {
			w, err := startRogue(t, mischief, short, nil)
			if err != nil {
				t.Fatal(err)
			}
			mustBeLost(t, callStage(t.Context(), w), why)
			mustBeLost(t, callStage(t.Context(), w), why) // and stays lost
		})
	}
}

func TestWorkerThatAnswersTwiceIsLost(t *testing.T) {
	w, err := startRogue(t, "two answers", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := callStage(t.Context(), w); err != nil {
		mustBeLost(t, err, "which is not open") // the second came before the first was looked at
	}
	<-w.conn.Done()
	mustBeLost(t, callStage(t.Context(), w), "which is not open")
}

func TestWorkerThatStopsIsFoundByPings(t *testing.T) {
	w, err := startRogue(t, "stops", func(p *patience) { p.pingEvery, p.ping = 10*time.Millisecond, 200*time.Millisecond }, nil)
	if err != nil {
		t.Fatal(err)
	}
	mustBeLost(t, callStage(t.Context(), w), "it stopped answering for 200ms")
}

func TestWorkerThatAnswersPingsIsLeftAlone(t *testing.T) {
	called := make(chan struct{})
	w, err := startRogue(t, "never", func(p *patience) { p.pingEvery = time.Millisecond }, func(_, line string) {
		if line == "called" {
			close(called)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- callStage(t.Context(), w) }()
	<-called
	for range 100 { // pings of our own, among which are those of the watch
		if err := w.conn.Call(t.Context(), protocol.MethodPing, protocol.PingParams{}, nil); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case err := <-ended:
		t.Fatalf("the call ended: %v", err)
	default:
	}
	w.Kill()
	mustBeLost(t, <-ended, "it ended: signal: killed")
}

func TestCallThatIsNeverAnsweredEndsWithItsContextOnceTheWorkerIsKilled(t *testing.T) {
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	w, err := startRogue(t, "never", nil, func(_, line string) {
		if line == "called" {
			cancel(cause)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer context.AfterFunc(ctx, w.Kill)() // what the engine does after its grace
	if err := callStage(ctx, w); !errors.Is(err, cause) {
		t.Errorf("the error is %v", err)
	}
}

func TestWorkerThatFailsTheHandshakeIsAnError(t *testing.T) {
	for mischief, want := range map[string]string{
		"hello":           "it ended: exit status 4",
		"garbage at once": "a frame that is not a JSON object",
		"another version": "speaks version 2 of the protocol, this tow speaks 1",
		"unsupported":     "only version 9",
		"mute":            "it did not answer within 100ms",
	} {
		t.Run(mischief, func(t *testing.T) {
			w, err := startRogue(t, mischief, func(p *patience) {
				p.close = 100 * time.Millisecond
				if mischief == "mute" {
					p.describe = 100 * time.Millisecond
				}
			}, nil)
			var lost *LostError
			var wrong *Error
			if w != nil || !errors.As(err, &lost) && !errors.As(err, &wrong) || !strings.Contains(err.Error(), want) {
				t.Errorf("start = %v, %T %v, want %q", w, err, err, want)
			}
		})
	}
}

func TestWorkerThatCannotBeStartedIsAnError(t *testing.T) {
	checkGoroutines(t)
	w, err := start(t.Context(), Program{}, command{args: []string{filepath.Join(t.TempDir(), "none")}, patience: usualPatience()}, "test", refuse{}, nil)
	if w != nil || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("start = %v, %v", w, err)
	}
}

func TestOutputWithoutLinesIsCutAndNothingIsLost(t *testing.T) {
	var mu sync.Mutex
	total, longest := 0, 0
	w, err := startRogue(t, "spam", nil, func(stream, line string) {
		if stream != "stdout" {
			return // of a binary that measures coverage, the runtime has something to say on stderr
		}
		mu.Lock()
		defer mu.Unlock()
		total, longest = total+len(line), max(longest, len(line))
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := callStage(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if total != 4<<20 || longest > maxLine {
		t.Errorf("%d bytes in lines of up to %d, want %d in lines of up to %d", total, longest, 4<<20, maxLine)
	}
	if n := len(w.tail.String()); n > 21*maxLine {
		t.Errorf("the tail holds %d bytes", n)
	}
}

// fifo makes a FIFO for a child, and a function that returns once the child has opened it, with one that returns once the child is gone.
func fifo(t *testing.T) (path string, opened func() (gone func())) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "fifo")
	for _, name := range []string{path, path + ".never"} {
		if err := syscall.Mkfifo(name, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path, func() func() {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		return func() {
			defer f.Close()
			if _, err := io.ReadAll(f); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestCloseEndsWhatTheWorkerStartedAndDoesNotWaitForIt(t *testing.T) {
	path, opened := fifo(t)
	w, err := startRogue(t, "child", nil, nil, fifoVariable+"="+path)
	if err != nil {
		t.Fatal(err)
	}
	if err := callStage(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	gone := opened()
	began := time.Now()
	w.Close()
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("Close took %v", took)
	}
	gone()
}

func TestChildOfAWorkerThatIsLostEndsWithClose(t *testing.T) {
	path, opened := fifo(t)
	w, err := startRogue(t, "child, then exit", nil, nil, fifoVariable+"="+path)
	if err != nil {
		t.Fatal(err)
	}
	var gone func()
	both := make(chan struct{})
	go func() {
		defer close(both)
		gone = opened()
	}()
	mustBeLost(t, callStage(t.Context(), w), "it ended: exit status 5")
	<-both
	w.Close()
	gone()
}

func TestProgramWhoseWorkerMisbehavesIsAnErrorAndIsNotRemembered(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for mischief, want := range map[string]string{
		"describe":          "pipeline.py could not be loaded: the process of the pipeline program was lost: it ended: exit status 4",
		"hello":             "pipeline.py could not be loaded: the process of the pipeline program was lost: it ended: exit status 4",
		"a cycle":           "pipeline.py:3: stages need each other in a cycle: a needs a",
		"no plan":           "the plan of pipeline.py cannot be read",
		"no canonical plan": "pipeline.py sent a plan that is no canonical JSON",
	} {
		t.Run(mischief, func(t *testing.T) {
			checkGoroutines(t)
			p := newPlace(t, map[string]string{"pipeline.py": ""})
			started := p.fakePython("env " + mischiefVariable + "='" + mischief + "' '" + self + "'")
			for range 2 {
				before := started()
				_, err := p.open()
				var wrong *Error
				var refused *plan.Error
				if !errors.As(err, &wrong) && !errors.As(err, &refused) || !strings.Contains(err.Error(), want) {
					t.Fatalf("the error is %T %v, want %q", err, err, want)
				}
				if started() == before {
					t.Error("a wrong program was remembered")
				}
			}
		})
	}
}
