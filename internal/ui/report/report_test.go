package report

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/towpath/towpath/internal/event"
	"github.com/towpath/towpath/internal/ui/uitest"
)

func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second:                     "0 ms",
		0:                                "0 ms",
		time.Microsecond:                 "<1 ms",
		380 * time.Millisecond:           "380 ms",
		999600 * time.Microsecond:        "1.0 s",
		4249 * time.Millisecond:          "4.2 s",
		9960 * time.Millisecond:          "10 s",
		31 * time.Second:                 "31 s",
		59600 * time.Millisecond:         "1 m 00 s",
		63 * time.Second:                 "1 m 03 s",
		time.Hour - 100*time.Millisecond: "1 h 00 m",
		26*time.Hour + 5*time.Minute:     "26 h 05 m",
	} {
		if got := Duration(d); got != want {
			t.Errorf("Duration(%d) = %q, want %q", d, got, want)
		}
	}
}

func TestWords(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{Bytes(1023), "1023 B"},
		{Bytes(1024), "1.0 KiB"},
		{Bytes(120 << 20), "120 MiB"},
		{Bytes(1<<20 - 1), "1.0 MiB"},
		{Command([]string{"sh", "-c", "echo 'a'\nrm", "", "x=1"}), `sh -c 'echo '\''a'\'' …' '' x=1`},
		{Command([]string{"tow", "test[0]", ""}), `tow 'test[0]' ''`},
		{List([]string{"a", "b", "c"}, 2), "a, b … and 1 more"},
		{Count(1, "stage") + Count(0, "stage"), "1 stage0 stages"},
		{OneLine("a\x1b[31m\tb\n\n"), "a b"},
		{OneLine("\n\na\nb"), "a …"},
		{Clean("a\r\nb\x07\u202ec\u009b31m\n"), "a\nbc31m"},
		{Reasons([]event.Reason{{Kind: "first"}, {Kind: "file", Subject: "a\nb"}, {Text: "t"}}, 2), "first; file a … … and 1 more"},
		{StepLine(event.StepFinished{Step: 2, Signal: "KILL", Duration: time.Second, UserTime: time.Second, MaxRSS: 1 << 30}),
			"step 2, killed by KILL, 1.0 s, 1.0 s of CPU, 1.0 GiB of memory"},
		{StageLog(event.StageLog{Message: "m", Fields: map[string]any{"b": 1, "a": "x\ny"}}), "m  a=x …"},
		{Fit("日本語", 5), "日本…"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func TestEveryEventIsHandled(t *testing.T) { uitest.Handles(t, ".") }

func TestPlannedStagesComeAfterWhatTheyNeed(t *testing.T) {
	r := NewRun(false, "")
	none := func(string, []byte) {}
	r.Apply(event.PlanMade{Stages: []event.PlannedStage{
		{Name: "c", Deps: []string{"b", "a"}, Expected: 5 * time.Second},
		{Name: "b", Deps: []string{"a"}, Expected: 3 * time.Second},
		{Name: "a", Expected: 10 * time.Second},
		{Name: "alone", Expected: time.Second},
	}}, time.Time{}, none)
	now := uitest.Start()
	check := func(want time.Duration, wantSure bool) {
		t.Helper()
		if left, sure := r.Left(now); left != want || sure != wantSure {
			t.Errorf("left = %v, %v, want %v, %v", left, sure, want, wantSure)
		}
	}
	check(18*time.Second, true)
	r.Apply(event.StageStarted{Stage: "a"}, now, none)
	now = now.Add(4 * time.Second)
	check(14*time.Second, true)
	now = now.Add(time.Minute)
	check(8*time.Second, false)
	r.Apply(event.StageStarted{Stage: "b"}, now.Add(-time.Minute), none)
	check(5*time.Second, false)
	r.Apply(event.StageStarted{Stage: "b"}, now, none)
	r.Apply(event.StageFinished{Stage: "a", Outcome: event.Succeeded}, now, none)
	check(8*time.Second, true)
	r.Apply(event.StageExpanded{Stage: "b", Elements: []string{"b[0]"}}, now, none)
	check(5*time.Second, false)
}

func TestACycleDoesNotHang(t *testing.T) {
	r := NewRun(false, "")
	r.Apply(event.PlanMade{Stages: []event.PlannedStage{{Name: "a", Deps: []string{"b"}}, {Name: "b", Deps: []string{"a", "b"}}}}, time.Time{}, nil)
	if r.Left(uitest.Start()); r.Total() != 2 {
		t.Errorf("%d stages, want 2", r.Total())
	}
}

func TestAStageThatIsTriedAgain(t *testing.T) {
	r := NewRun(false, "")
	none := func(string, []byte) {}
	now := uitest.Start()
	for _, e := range []event.Event{
		event.StageStarted{Stage: "a"},
		event.StageFinished{Stage: "a", Outcome: event.Failed, Failure: &event.Failure{}},
		event.StageStarted{Stage: "a"},
	} {
		r.Apply(e, now, none)
	}
	if len(r.Running()) != 1 || r.DoneCount() != 0 || r.FirstFailed() != nil || r.Running()[0].Tries != 2 {
		t.Errorf("running %d, done %d, first failed %v", len(r.Running()), r.DoneCount(), r.FirstFailed())
	}
	r.Apply(event.StageFinished{Stage: "a", Outcome: event.Succeeded}, now, none)
	if r.DoneCount() != 1 || len(r.Ended(event.Failed)) != 0 || len(r.Ended(event.Succeeded)) != 1 {
		t.Error("the second try did not replace the first")
	}
}

func TestLastLine(t *testing.T) {
	r := NewRun(false, "")
	show := func(text string) string {
		r.Apply(event.StepOutput{Stage: "a", Text: text}, time.Time{}, func(string, []byte) {})
		return r.stage("a").Last()
	}
	var got []string
	for _, text := range []string{"one\n", "\n  \n", "tw", "o\n", "10%\r", "20%", strings.Repeat("\n", tailLines+1)} {
		got = append(got, show(text))
	}
	if diff := cmp.Diff([]string{"one", "one", "tw", "two", "10%", "20%", ""}, got); diff != "" {
		t.Error(diff)
	}
}

func TestTheSummaryNamesOutcomes(t *testing.T) {
	theme := NewTheme(false, false)
	for want, e := range map[string]event.RunFinished{
		"ok: 3 ran, 9 cached, 4.2 s (saved 31 s)":  {Outcome: event.Succeeded, Succeeded: 3, Cached: 9, Duration: 4200 * time.Millisecond, Saved: 31 * time.Second},
		"ok: nothing to do, <1 ms":                 {Outcome: event.Succeeded, Duration: 1},
		"failed: 1 failed, 2 succeeded, 1.0 s":     {Outcome: event.Failed, Failed: 1, Succeeded: 2, Duration: time.Second},
		"cancelled: 1 cancelled, 1 skipped, 1.0 s": {Outcome: event.Cancelled, Cancelled: 1, Skipped: 1, Duration: time.Second},
	} {
		if got := summary(theme, &e); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestManyFailuresStayReadable(t *testing.T) {
	r := NewRun(false, "")
	none := func(string, []byte) {}
	for i := range 500 {
		name := fmt.Sprintf("s%03d", i)
		r.Apply(event.StepOutput{Stage: name, Text: "out of " + name + "\n"}, time.Time{}, none)
		r.Apply(event.StageFinished{Stage: name, Outcome: event.Failed, Failure: &event.Failure{Message: "m"}}, time.Time{}, none)
		r.Apply(event.StageFinished{Stage: "k" + name, Outcome: event.Skipped, Because: name + " failed"}, time.Time{}, none)
	}
	r.Apply(event.RunFinished{Outcome: event.Failed, Failed: 500, FirstFailed: "s001"}, time.Time{}, none)
	lines := r.End(NewTheme(false, false))
	if len(lines) > 50 {
		t.Errorf("%d lines", len(lines))
	}
	for _, want := range []string{"error in s001, which failed first: m", "  │ out of s001", "also failed: s000: m", "… and 489 more failed",
		"… and 490 stages more with other causes"} {
		if !slices.Contains(lines, want) {
			t.Errorf("no line %q in\n%s", want, strings.Join(lines, "\n"))
		}
	}
}
