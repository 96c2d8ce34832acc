package tty

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/towpath/towpath/internal/event"
	"github.com/towpath/towpath/internal/ui/report"
	"github.com/towpath/towpath/internal/ui/uitest"
)

func TestEveryEventIsHandled(t *testing.T) { uitest.Handles(t, ".") }

// theater plays events to a screen that draws on a terminal.
type theater struct {
	*vt
	*screen
	now time.Time
}

func newTheater(t *testing.T, width, height int, opts Options) *theater {
	return &theater{vt: newVT(t, width, height), screen: newScreen(opts), now: uitest.Start()}
}

// play applies events and draws a frame.
func (th *theater) play(events ...event.Event) {
	for _, e := range events {
		th.apply(e, th.now)
	}
	th.draw()
}

func (th *theater) wait(d time.Duration) {
	th.now = th.now.Add(d)
	th.draw()
}

func (th *theater) draw() {
	if f := th.frame(th.width, len(th.rows), th.now); f != nil {
		_, _ = th.Write(f)
	}
}

func (th *theater) expect(want ...string) {
	th.t.Helper()
	if diff := cmp.Diff(want, th.vt.screen()); diff != "" {
		th.t.Errorf("the screen (-want +got):\n%s", diff)
	}
	if th.x != 0 || th.pending {
		th.t.Errorf("the cursor is in column %d", th.x)
	}
}

func TestARunOnAScreen(t *testing.T) {
	th := newTheater(t, 80, 12, Options{})
	events := uitest.Success()
	th.play(events[0])
	th.expect("reading the pipeline · 0 s")
	th.play(events[1:7]...)
	th.expect("━━━━━━────────── 2/5 · 2 cached · critical path ~19 s left")
	th.play(events[7:12]...)
	th.wait(3 * time.Second)
	th.expect(
		"⠧ test     3 s        tests/",
		"⠧ wheel    3 s        $ uv build",
		"━━━━━━────────── 2/5 · 2 cached · 2 running · critical path ~16 s left")
	th.play(events[12:]...)
	th.expect(
		"  test    │ info: coverage  branch=true  percent=93",
		"  pipeline.py │ print() in the pipeline",
		"✓ wheel    2.3 s",
		"✓ test     4.2 s",
		"warning: the lockfile is older than pyproject.toml",
		"hint: run uv lock",
		`✓ publish  380 ms     = {"url":"a.invalid"}`,
		"● 2 cached: env, lint",
		"ok: 3 ran, 2 cached, 4.2 s (saved 3.0 s)")
}

func TestAFailureOnAScreen(t *testing.T) {
	th := newTheater(t, 60, 60, Options{})
	th.play(uitest.Failure()...)
	got := th.vt.screen()
	want := []string{
		"✗ test     3.4 s      step 1 (pytest) exited with 1 …",
		"✗ lint     1.0 s      ValueError: no such rule",
		"○ wheel    cancelled  test failed",
		"○ publish  skipped    test failed",
		"● 1 cached: env",
		"",
		"error in test, which failed first: step 1 (pytest) exited wi",
		"th 1",
		"  │ it was tried twice",
		"  at pipeline.py:14",
		"  the last 20 lines of its output:",
		"  │ line 7 ends",
	}
	if diff := cmp.Diff(want, got[:len(want)]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if last := got[len(got)-2:]; !strings.HasPrefix(strings.Join(last, ""), "failed: 2 failed, 1 cached") {
		t.Errorf("the last lines are %q", last)
	}
}

func TestVerboseShowsOutput(t *testing.T) {
	th := newTheater(t, 60, 40, Options{Verbose: true, ASCII: true})
	th.play(uitest.Success()...)
	for _, want := range []string{"= env      cached     saved 2.1 s", "  test    | $ pytest -q 'a b'", "  wheel   | 100%", `+ publish  380 ms     = {"url":"a.invalid"}`} {
		if !slices.Contains(th.vt.screen(), want) {
			t.Errorf("no line %q in\n%s", want, strings.Join(th.vt.screen(), "\n"))
		}
	}
}

func TestQuietLeavesLittle(t *testing.T) {
	th := newTheater(t, 60, 40, Options{Quiet: true})
	th.play(uitest.Success()...)
	th.expect("warning: the lockfile is older than pyproject.toml", "hint: run uv lock", "ok: 3 ran, 2 cached, 4.2 s (saved 3.0 s)")
}

func TestNothingIsDrawnTwice(t *testing.T) {
	th := newTheater(t, 60, 10, Options{})
	th.play(uitest.Success()[:4]...)
	before := th.writes
	th.draw()
	if th.writes != before {
		t.Error("a frame that changes nothing was written")
	}
	th.play(started("test"))
	if th.writes != before+1 {
		t.Errorf("%d writes for a frame", th.writes-before)
	}
}

func started(stage string) event.Event { return event.StageStarted{Stage: stage} }

// However small the terminal is, the live lines fit, and what is permanent is there once.
func TestSizes(t *testing.T) {
	for _, size := range [][2]int{{1, 1}, {1, 2}, {5, 3}, {20, 4}, {40, 5}, {80, 24}, {500, 100}} {
		th := newTheater(t, size[0], size[1], Options{Color: true})
		var plan event.PlanMade
		for i := range 40 {
			plan.Stages = append(plan.Stages, event.PlannedStage{Name: fmt.Sprintf("stage-%d-日本語", i), Expected: time.Minute})
		}
		th.play(plan)
		for i, p := range plan.Stages {
			th.play(started(p.Name), event.StepOutput{Stage: p.Name, Text: strings.Repeat("日本語🙂", i*3) + "\n"})
			th.wait(period)
			if n := len(th.live); n > max(size[1]-1, 0) {
				t.Errorf("%d live lines on %v", n, size)
			}
			for _, l := range th.live {
				if w := report.Width(l); w > max(size[0]-1, 1) {
					t.Errorf("a live line of width %d on %v", w, size)
				}
			}
			if len(th.history) > 0 {
				t.Fatalf("live lines scrolled off on %v: %q", size, th.history)
			}
		}
	}
}

func TestMoreRunsThanFits(t *testing.T) {
	th := newTheater(t, 60, 6, Options{})
	for i := range 9 {
		th.play(started(fmt.Sprintf("s%d", i)))
	}
	got := th.vt.screen()
	if len(got) != 5 || got[3] != "  … and 6 more running" || got[4] != "0/9 · 9 running · 0 s" {
		t.Errorf("the screen:\n%s", strings.Join(got, "\n"))
	}
}

func TestNarrowing(t *testing.T) {
	th := newTheater(t, 80, 12, Options{})
	th.play(started("test"), event.StepOutput{Stage: "test", Text: strings.Repeat("x", 200) + "\n"}, event.Warning{Message: "this is permanent"})
	for _, width := range []int{79, 33, 60, 22} {
		if width < th.width {
			th.narrow(width)
		} else {
			th.wider(width)
		}
		th.wait(period)
		got := th.vt.screen()
		if len(got) != 3+(27/width) || !strings.HasPrefix(got[len(got)-2][3:], " test  0 s") || !strings.HasSuffix(got[len(got)-1], "0/1 · 1 running · 0 s") {
			t.Errorf("at width %d the screen is:\n%s", width, strings.Join(got, "\n"))
		}
	}
}

// Whatever happens, at the end every permanent line is there and in order, and the screen shows no live line.
func TestScreenProperties(t *testing.T) {
	text := rapid.StringOf(rapid.SampledFrom([]rune("ab 日本é\t\r\n\x1b[m")))
	rapid.Check(t, func(rt *rapid.T) {
		th := newTheater(t, rapid.IntRange(2, 100).Draw(rt, "width"), rapid.IntRange(1, 30).Draw(rt, "height"), Options{Color: rapid.Bool().Draw(rt, "color")})
		var want []string
		warn := func(n int) event.Event {
			want = append(want, fmt.Sprint("warning: ", n))
			return event.Warning{Message: fmt.Sprint(n)}
		}
		for i := range rapid.IntRange(1, 60).Draw(rt, "events") {
			name := fmt.Sprint("s", rapid.IntRange(0, 8).Draw(rt, "stage"))
			switch rapid.IntRange(0, 4).Draw(rt, "what") {
			case 0:
				th.play(started(name))
			case 1:
				th.play(event.StepOutput{Stage: name, Text: text.Draw(rt, "text")})
			case 2:
				th.play(event.StageFinished{Stage: name, Outcome: event.Cached})
			case 3:
				th.play(warn(i))
			case 4:
				th.wait(period)
			}
			if th.width > 30 && rapid.IntRange(0, 9).Draw(rt, "narrow") == 0 {
				th.narrow(rapid.IntRange(20, th.width).Draw(rt, "to"))
			}
		}
		th.close()
		th.draw()
		all := strings.Join(th.all(), "")
		if th.width < 20 {
			all = strings.ReplaceAll(all, " ", "")
		}
		for _, w := range want {
			if th.width < 20 {
				w = strings.ReplaceAll(w, " ", "")
			}
			_, rest, ok := strings.Cut(all, w)
			if !ok {
				rt.Fatalf("%q is missing in\n%s", w, strings.Join(th.all(), "\n"))
			}
			all = rest
		}
		// What a narrower terminal wrapped and scrolled off cannot be taken back; the screen can.
		if left := strings.Join(th.vt.screen(), "\n"); strings.Contains(left, "running") {
			rt.Fatalf("live lines are left:\n%s", left)
		}
	})
}

// recorder takes frames with their times.
type recorder struct {
	times []time.Time
	out   strings.Builder
	err   error
}

func (r *recorder) Write(b []byte) (int, error) {
	r.times = append(r.times, time.Now())
	if r.err != nil {
		return 0, r.err
	}
	return r.out.Write(b)
}

func TestFramesComeAtTheirTimeAndAtTheEndAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{}
		u := New(r, Options{})
		start := time.Now()
		records := uitest.Records(uitest.Failure()...)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for i := range 1000 {
			if i < 20 {
				u.Emit(records[i])
			}
			<-tick.C
		}
		synctest.Wait()
		if n := len(r.times); n > 15 || n < 5 {
			t.Errorf("%d frames in a second", n)
		}
		before := len(r.times)
		u.Emit(records[len(records)-1])
		synctest.Wait()
		if len(r.times) != before+1 || time.Since(start) != r.times[before].Sub(start) {
			t.Error("the end of the run is not shown at once")
		}
		for range 2 {
			if err := u.Close(); err != nil {
				t.Error(err)
			}
		}
		u.Emit(records[0]) // has no effect any more
		if n := len(r.times); n != before+1 {
			t.Errorf("Close wrote %d frames, though there was nothing left", n-before-1)
		}
	})
}

func TestAShortRunShowsOnlyItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{}
		u := New(r, Options{})
		for _, rec := range uitest.Records(uitest.AllCached(12)...) {
			u.Emit(rec)
		}
		if err := u.Close(); err != nil {
			t.Error(err)
		}
		if got := r.out.String(); !strings.Contains(got, "ok: 12 cached, 41 ms (saved 12 s)") || strings.Contains(got, "12/12") {
			t.Errorf("got %q", got)
		}
	})
}

func TestAnErrorIsReturnedByClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{err: io.ErrClosedPipe}
		u := New(r, Options{Verbose: true})
		for _, rec := range uitest.Records(uitest.Success()...) {
			u.Emit(rec)
			synctest.Wait()
		}
		if err := u.Close(); !errors.Is(err, io.ErrClosedPipe) || len(r.times) != 1 {
			t.Errorf("%v after %d writes", err, len(r.times))
		}
	})
}

// stopped is a terminal whose writes wait.
type stopped struct{ resume chan struct{} }

func (s stopped) Write(b []byte) (int, error) {
	<-s.resume
	return len(b), nil
}

func TestAStoppedTerminalDoesNotStopTheRunAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stopped{make(chan struct{})}
		u := New(s, Options{Verbose: true})
		emitted := make(chan struct{})
		line := event.StepOutput{Stage: "a", Text: strings.Repeat("x", 1000) + "\n"}
		u.Emit(event.Record{Event: line})
		<-time.After(2 * period)
		go func() {
			defer close(emitted)
			for range 3 * maxPending / 1000 {
				u.Emit(event.Record{Event: line})
			}
		}()
		synctest.Wait()
		if n := len(u.screen.above); n < maxPending/2 || n > maxPending+2000 {
			t.Errorf("%d bytes wait", n)
		}
		close(s.resume)
		<-emitted
		if err := u.Close(); err != nil {
			t.Error(err)
		}
	})
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

func BenchmarkFrame(b *testing.B) {
	s := newScreen(Options{Color: true})
	now := uitest.Start()
	for i := range 24 {
		name := fmt.Sprint("stage-", i)
		s.apply(started(name), now)
		s.apply(event.StepOutput{Stage: name, Text: strings.Repeat("tests/test_app.py ", 20) + "\n"}, now)
	}
	for b.Loop() {
		now = now.Add(period)
		s.frame(120, 50, now)
	}
}
