package harness_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/towpath/towpath/bench/harness"
)

// fake returns a row whose two sides return the given values in turn, and a log of who was run.
func fake(name string, limit float64, ours, peer []float64) (harness.Row, *[]string) {
	var log []string
	side := func(who string, values []float64) harness.Sampler {
		next := 0
		return func(context.Context) ([]float64, error) {
			log = append(log, who)
			next++
			return []float64{values[(next-1)%len(values)]}, nil
		}
	}
	return harness.Row{
		Name: name, Limit: limit, Metrics: []harness.Metric{{Name: "time", Unit: "ms"}}, Runs: harness.MinRuns,
		Prepare: func(context.Context) (*harness.Trial, error) {
			return &harness.Trial{Peer: "fake 1.0", Ours: side("ours", ours), Theirs: side("peer", peer)}, nil
		},
	}, &log
}

func TestSummarize(t *testing.T) {
	tests := []struct {
		samples        []float64
		median, spread float64
	}{
		{[]float64{7}, 7, 0},
		{[]float64{3, 1}, 2, 0.25},
		{[]float64{9, 1, 5}, 5, 0.4},
		{[]float64{4, 1, 3, 2}, 2.5, 0.3},
		{[]float64{10, 10, 10, 10, 1000}, 10, 0},
	}
	for _, test := range tests {
		before := slices.Clone(test.samples)
		got := harness.Summarize(test.samples)
		if got.Median != test.median || math.Abs(got.Spread-test.spread) > 1e-12 {
			t.Errorf("%v: median %v spread %v, want %v and %v", test.samples, got.Median, got.Spread, test.median, test.spread)
		}
		if !slices.Equal(test.samples, before) {
			t.Errorf("%v: was put into another order: %v", before, test.samples)
		}
	}
}

func TestRunAlternates(t *testing.T) {
	row, log := fake("row", 1, []float64{100, 100, 1, 2, 3, 4, 50}, []float64{100, 100, 10, 20, 30, 40, 60})
	row.Warmups = 2
	result := harness.Run(t.Context(), row, 0)
	if result.Err != nil {
		t.Fatal(result.Err)
	}
	want := strings.Fields(strings.Repeat("ours peer peer ours ", 3) + "ours peer")
	if !slices.Equal(*log, want) {
		t.Errorf("order %v, want %v", *log, want)
	}
	c := result.Comparisons[0]
	if c.Ours.Median != 3 || c.Peer.Median != 30 || c.Ratio != 0.1 {
		t.Errorf("ours %v, peer %v, ratio %v; the warm-ups must not count", c.Ours.Median, c.Peer.Median, c.Ratio)
	}
	if result.Runs != 5 || result.Verdict() != harness.Pass {
		t.Errorf("runs %d, verdict %v", result.Runs, result.Verdict())
	}
}

func TestRunCount(t *testing.T) {
	for _, test := range []struct{ row, asked, want int }{{0, 0, 5}, {1, 0, 5}, {41, 0, 41}, {41, 7, 7}, {41, 2, 5}} {
		row, log := fake("row", 1, []float64{1}, []float64{1})
		row.Runs = test.row
		result := harness.Run(t.Context(), row, test.asked)
		if result.Runs != test.want || len(*log) != 2*test.want {
			t.Errorf("%+v: %d runs, %d samples", test, result.Runs, len(*log))
		}
	}
}

func TestVerdict(t *testing.T) {
	broken := errors.New("it printed nothing")
	tests := []struct {
		name    string
		change  func(*harness.Row)
		verdict harness.Verdict
		err     string
	}{
		{"at the limit", func(r *harness.Row) { r.Limit = 0.5 }, harness.Pass, ""},
		{"over the limit", func(r *harness.Row) { r.Limit = 0.4999 }, harness.Miss, ""},
		{"cannot be prepared", func(r *harness.Row) {
			r.Prepare = func(context.Context) (*harness.Trial, error) { return nil, broken }
		}, harness.Error, "prepare: it printed nothing"},
		{"the peer fails", func(r *harness.Row) {
			change(r, func(trial *harness.Trial) {
				trial.Theirs = func(context.Context) ([]float64, error) { return nil, broken }
			})
		}, harness.Error, "the peer, run 1: it printed nothing"},
		{"a warm-up fails", func(r *harness.Row) {
			r.Warmups = 1
			change(r, func(trial *harness.Trial) {
				trial.Ours = func(context.Context) ([]float64, error) { return nil, broken }
			})
		}, harness.Error, "ours, warm-up: it printed nothing"},
		{"nothing was measured", func(r *harness.Row) {
			change(r, func(trial *harness.Trial) {
				trial.Ours = func(context.Context) ([]float64, error) { return []float64{0}, nil }
			})
		}, harness.Error, "ours, run 1: a time of 0 ms measures nothing"},
		{"not a number", func(r *harness.Row) {
			change(r, func(trial *harness.Trial) {
				trial.Ours = func(context.Context) ([]float64, error) { return []float64{math.NaN()}, nil }
			})
		}, harness.Error, "ours, run 1: a time of NaN ms measures nothing"},
		{"too many values", func(r *harness.Row) {
			change(r, func(trial *harness.Trial) {
				trial.Ours = func(context.Context) ([]float64, error) { return []float64{1, 2}, nil }
			})
		}, harness.Error, "ours, run 1: 2 values for 1 metrics"},
		{"a check afterwards fails", func(r *harness.Row) {
			change(r, func(trial *harness.Trial) {
				trial.Afterwards = func(context.Context) error { return broken }
			})
		}, harness.Error, "it printed nothing"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			row, _ := fake("row", 1, []float64{1}, []float64{2})
			test.change(&row)
			result := harness.Run(t.Context(), row, 0)
			if got := result.Verdict(); got != test.verdict {
				t.Errorf("verdict %v, want %v", got, test.verdict)
			}
			if got := fmt.Sprint(result.Err); result.Err != nil && got != test.err || result.Err == nil && test.err != "" {
				t.Errorf("error %v, want %q", result.Err, test.err)
			}
		})
	}
}

// TestTrialsAreClosed holds that a trial is closed once, whatever became of it, and that what that tells is told.
func TestTrialsAreClosed(t *testing.T) {
	for name, fails := range map[string]error{"measured": nil, "broken": errors.New("it broke")} {
		t.Run(name, func(t *testing.T) {
			row, _ := fake("row", 1, []float64{1}, []float64{2})
			closed, left := 0, errors.New("something is left")
			change(&row, func(trial *harness.Trial) {
				if fails != nil {
					trial.Ours = func(context.Context) ([]float64, error) { return nil, fails }
				}
				trial.Close = func() error { closed++; return left }
			})
			result := harness.Run(t.Context(), row, 0)
			if closed != 1 || !errors.Is(result.Err, left) || fails != nil && !errors.Is(result.Err, fails) {
				t.Errorf("closed %d times, error %v", closed, result.Err)
			}
		})
	}
}

func change(r *harness.Row, f func(*harness.Trial)) {
	prepare := r.Prepare
	r.Prepare = func(ctx context.Context) (*harness.Trial, error) {
		trial, err := prepare(ctx)
		if err == nil {
			f(trial)
		}
		return trial, err
	}
}

func TestSeveralMetrics(t *testing.T) {
	row := harness.Row{
		Name: "row", Limit: 1.2, Metrics: []harness.Metric{{Name: "time", Unit: "ns"}, {Name: "memory", Unit: "B"}, {Name: "heat", Unit: "K", Aside: true}},
		Prepare: func(context.Context) (*harness.Trial, error) {
			return &harness.Trial{
				Ours:   func(context.Context) ([]float64, error) { return []float64{110, 650, 900}, nil },
				Theirs: func(context.Context) ([]float64, error) { return []float64{100, 500, 300}, nil },
			}, nil
		},
	}
	result := harness.Run(t.Context(), row, 0)
	if worst, ok := result.Worst(); !ok || worst.Name != "memory" || worst.Ratio != 1.3 {
		t.Errorf("worst %+v", worst)
	}
	if result.Verdict() != harness.Miss {
		t.Errorf("verdict %v: one metric is over the limit", result.Verdict())
	}
	var b strings.Builder
	if err := harness.JSON(&b)(&result); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"unit":"B"`, `"ratio":1.3,`, `"metrics":[{"name":"time","ours":110,`, `{"name":"memory","ours":650,`, `"ratio":3,"aside":true}`} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %s in %s", want, b.String())
		}
	}
	b.Reset()
	if err := harness.Table(&b)(&result); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"row time ", "110 ns", "  memory ", "650 B", "1.30 ", "MISS", "(3.00)"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %s in\n%s", want, b.String())
		}
	}
}

func TestJSON(t *testing.T) {
	good, _ := fake("good", 1, []float64{1.5}, []float64{3})
	bad, _ := fake("bad", 1, nil, nil)
	bad.Prepare = func(context.Context) (*harness.Trial, error) { return nil, errors.New("no <peer>") }
	var b strings.Builder
	err := harness.RunAll(t.Context(), []harness.Row{good, bad}, 0, harness.JSON(&b))
	if !errors.Is(err, harness.ErrFailed) {
		t.Errorf("error %v", err)
	}
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	if len(lines) != 2 {
		t.Fatalf("not one object a line:\n%s", b.String())
	}
	members := func(line string) map[string]any {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		return m
	}
	m := members(lines[0])
	want := map[string]any{"name": "good", "ours": 1.5, "peer": 3.0, "unit": "ms", "ratio": 0.5, "limit": 1.0, "runs": 5.0, "verdict": "PASS"}
	for k, v := range want {
		if m[k] != v {
			t.Errorf("good: %s is %v, want %v", k, m[k], v)
		}
	}
	if _, ok := m["error"]; ok {
		t.Errorf("good: has an error: %v", m["error"])
	}
	m = members(lines[1])
	for _, k := range []string{"ours", "peer", "ratio"} {
		if v, ok := m[k]; !ok || v != nil {
			t.Errorf("bad: %s is %v, want null", k, v)
		}
	}
	if m["error"] != "prepare: no <peer>" || m["verdict"] != "ERROR" || m["runs"] != 0.0 {
		t.Errorf("bad: %v", m)
	}
}

func TestTable(t *testing.T) {
	good, _ := fake("good", 8, []float64{12.34}, []float64{3})
	bad, _ := fake("bad", 0.25, nil, nil)
	bad.Prepare = func(context.Context) (*harness.Trial, error) { return nil, errors.New("line one\nline two") }
	var b strings.Builder
	_ = harness.RunAll(t.Context(), []harness.Row{good, bad}, 0, harness.Table(&b))
	want := `row                                        ours                 peer     ratio     limit  runs  
good                               12.3 ms ± 0%         3.00 ms ± 0%      4.11      8.00     5  PASS
  against fake 1.0
bad                                           -                    -         -     0.250     0  ERROR
  prepare: line one
    line two
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestInterrupted(t *testing.T) {
	interrupted := errors.New("interrupted")
	ctx, cancel := context.WithCancelCause(t.Context())
	first, _ := fake("first", 1, []float64{1}, []float64{1})
	change(&first, func(trial *harness.Trial) {
		trial.Theirs = func(context.Context) ([]float64, error) { cancel(interrupted); return []float64{1}, nil }
	})
	second, log := fake("second", 1, []float64{1}, []float64{1})
	var results []harness.Result
	err := harness.RunAll(ctx, []harness.Row{first, second}, 0, func(r *harness.Result) error {
		results = append(results, *r)
		return nil
	})
	if !errors.Is(err, harness.ErrFailed) || len(results) != 2 {
		t.Fatalf("error %v, %d results: no row may be left out", err, len(results))
	}
	for _, r := range results {
		if !errors.Is(r.Err, interrupted) || r.Verdict() != harness.Error {
			t.Errorf("%s: error %v", r.Row.Name, r.Err)
		}
	}
	if results[0].Runs != 1 || len(*log) != 0 {
		t.Errorf("%d runs of the first row and %d samples of the second", results[0].Runs, len(*log))
	}
}

func TestReportFails(t *testing.T) {
	row, _ := fake("row", 1, []float64{1}, []float64{1})
	full := errors.New("disk full")
	if err := harness.RunAll(t.Context(), []harness.Row{row}, 0, func(*harness.Result) error { return full }); !errors.Is(err, full) {
		t.Errorf("error %v", err)
	}
}
