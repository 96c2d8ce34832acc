package plain

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/towpath/towpath/internal/event"
	"github.com/towpath/towpath/internal/ui/uitest"
)

// show runs events through a UI and returns what it wrote.
func show(t *testing.T, opts Options, events []event.Event) string {
	t.Helper()
	var b bytes.Buffer
	u := New(&b, opts)
	for _, r := range uitest.Records(events...) {
		u.Emit(r)
	}
	if err := u.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// update is a flag of this test and not a variable of the package, because there are none.
func update() bool {
	f := flag.Lookup("update")
	return f != nil && f.Value.String() == "true"
}

func TestMain(m *testing.M) {
	flag.Bool("update", false, "write the golden files anew")
	flag.Parse()
	os.Exit(m.Run())
}

func TestGolden(t *testing.T) {
	for _, c := range []struct {
		name   string
		opts   Options
		events []event.Event
	}{
		{"success", Options{}, uitest.Success()},
		{"success-verbose", Options{Verbose: true}, uitest.Success()},
		{"success-color", Options{Color: true}, uitest.Success()},
		{"success-quiet", Options{Quiet: true}, uitest.Success()},
		{"failure", Options{}, uitest.Failure()},
		{"failure-quiet", Options{Quiet: true}, uitest.Failure()},
		{"bad-program", Options{}, uitest.BadProgram()},
		{"interrupted", Options{}, uitest.Interrupted()},
		{"all-cached", Options{}, uitest.AllCached(1000)},
		{"every-event", Options{Verbose: true}, uitest.Every(t)},
		{"broken-off", Options{}, uitest.Failure()[:40]},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := show(t, c.opts, c.events)
			path := filepath.Join("testdata", c.name+".golden")
			if update() {
				if err := os.WriteFile(path, []byte(got), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatalf("%v; run the test with -update", err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestEveryEventIsHandled(t *testing.T) { uitest.Handles(t, ".") }

// No line that a step or a program prints may begin a line of the output: a CI system would take `::error::` for a command.
func TestForeignTextNeverBeginsALine(t *testing.T) {
	evil := "::add-mask::x\n::error::y\r::set-output::z\n"
	failure := &event.Failure{Message: evil, Hint: evil, Trace: evil, File: evil}
	got := show(t, Options{Verbose: true}, []event.Event{
		event.StageStarted{Stage: "a", Reasons: []event.Reason{{Text: evil}}},
		event.StepStarted{Stage: "a", Args: []string{"sh", "-c", evil}},
		event.StepOutput{Stage: "a", Text: evil},
		event.StageLog{Stage: "a", Level: "info", Message: evil},
		event.ProgramOutput{Text: evil},
		event.Warning{Message: evil, Hint: evil},
		event.StageFinished{Stage: "b", Outcome: event.Skipped, Because: evil},
		event.StageFinished{Stage: "a", Outcome: event.Failed, Failure: failure},
		event.RunFinished{Outcome: event.Failed, FirstFailed: "a", Failure: failure},
	})
	for line := range strings.Lines(got) {
		if strings.HasPrefix(strings.TrimSpace(line), "::") {
			t.Errorf("line %q in:\n%s", line, got)
		}
	}
}

type failing struct{ writes int }

func (f *failing) Write([]byte) (int, error) {
	f.writes++
	return 0, fmt.Errorf("write %d: %w", f.writes, io.ErrClosedPipe)
}

func TestTheFirstErrorIsReturnedByClose(t *testing.T) {
	f := &failing{}
	u := New(f, Options{})
	for _, r := range uitest.Records(uitest.Success()...) {
		u.Emit(r)
	}
	if err := u.Close(); !errors.Is(err, io.ErrClosedPipe) || f.writes != 1 {
		t.Errorf("%v after %d writes", err, f.writes)
	}
}

func TestAnEventIsOneWriteAtMost(t *testing.T) {
	f := &counting{}
	u := New(f, Options{Verbose: true})
	events := uitest.Failure()
	for _, r := range uitest.Records(events...) {
		before := f.writes
		u.Emit(r)
		if f.writes > before+1 {
			t.Errorf("%T took %d writes", r.Event, f.writes-before)
		}
	}
	if err := u.Close(); err != nil {
		t.Error(err)
	}
}

type counting struct{ writes int }

func (c *counting) Write(b []byte) (int, error) {
	c.writes++
	return len(b), nil
}

// A fully cached run of a thousand stages is to cost a person nothing.
func TestAThousandCachedStagesAreFast(t *testing.T) {
	records := uitest.Records(uitest.AllCached(1000)...)
	best := time.Hour
	for range 20 {
		start := time.Now()
		u := New(io.Discard, Options{Color: true})
		for _, r := range records {
			u.Emit(r)
		}
		if err := u.Close(); err != nil {
			t.Fatal(err)
		}
		best = min(best, time.Since(start))
	}
	limit := 5 * time.Millisecond
	if uitest.RaceEnabled {
		limit *= 10
	}
	if best > limit {
		t.Errorf("%d events took %v at best", len(records), best)
	}
}

func BenchmarkCached(b *testing.B) {
	records := uitest.Records(uitest.AllCached(1000)...)
	for b.Loop() {
		u := New(io.Discard, Options{Color: true})
		for _, r := range records {
			u.Emit(r)
		}
		if err := u.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
