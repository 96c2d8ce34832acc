// Package harness compares two ways of doing the same work by running them alternately, and judges the ratio of their medians.
//
// Absolute times say little on a machine that others use as well. Two samples that were taken right after each other suffer from the same
// neighbours, so their ratio holds: ours and the peer are never measured in two separate series. Which of the two goes first
// changes from pair to pair, so that neither always finds what the other left in the caches of the processor.
//
// A row is never left out. Where it cannot be prepared or a run does not do what it should, its result says so and counts as a failure.
package harness

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// MinRuns is the smallest number of pairs that a median is taken of.
const MinRuns = 5

// Metric is a quantity that a sample consists of.
type Metric struct {
	Name  string // `time`, `memory`
	Unit  string // `ms`; the report scales nothing
	Aside bool   // it is reported, and not judged
}

// Row is one comparison.
type Row struct {
	Name    string
	About   string
	Limit   float64  // what no ratio ours/peer must exceed
	Metrics []Metric // at least one that is judged
	Warmups int      // pairs that are run first and not counted
	Runs    int      // pairs that are counted, at least MinRuns
	Prepare func(ctx context.Context) (*Trial, error)
}

// Trial is a row that is ready to be measured.
type Trial struct {
	Peer       string // what the peer is, with its version
	Ours       Sampler
	Theirs     Sampler
	Afterwards func(ctx context.Context) error // checks what is not part of the time; may be nil
	Close      func() error                    // ends what the trial holds, also after an error; may be nil
}

// Sampler does the work once, checks that it was done, and returns a positive value for each metric of the row.
type Sampler func(ctx context.Context) ([]float64, error)

// Comparison is a metric with what was measured.
type Comparison struct {
	Metric
	Ours, Peer Summary
	Ratio      float64
}

// Result is what became of a row.
type Result struct {
	Row         Row
	Peer        string
	Runs        int          // pairs that were measured
	Comparisons []Comparison // one for each metric; nil where the row was not measured to its end
	Err         error        // why it could not be run, or what was wrong with what was run
	Elapsed     time.Duration
}

// Worst returns the comparison with the largest ratio of those that are judged, and false where there is none.
func (r *Result) Worst() (worst Comparison, ok bool) {
	for _, c := range r.Comparisons {
		if !c.Aside && (!ok || c.Ratio > worst.Ratio) {
			worst, ok = c, true
		}
	}
	return worst, ok
}

// Verdict is the judgement on a row.
type Verdict string

// The verdicts.
const (
	Pass  Verdict = "PASS"
	Miss  Verdict = "MISS"  // measured, and over the limit
	Error Verdict = "ERROR" // could not be run, or did not do what it should
)

// Verdict judges the row.
func (r *Result) Verdict() Verdict {
	worst, ok := r.Worst()
	switch {
	case r.Err != nil || !ok:
		return Error
	case worst.Ratio > r.Row.Limit:
		return Miss
	}
	return Pass
}

// Run runs a row. runs is the number of pairs to count; 0 leaves it to the row.
func Run(ctx context.Context, row Row, runs int) Result {
	begin := time.Now()
	result := Result{Row: row}
	result.Err = run(ctx, &result, runs)
	result.Elapsed = time.Since(begin)
	return result
}

func run(ctx context.Context, result *Result, runs int) (err error) {
	row := &result.Row
	if runs == 0 {
		runs = row.Runs
	}
	runs = max(runs, MinRuns)
	if ctx.Err() != nil {
		return fmt.Errorf("not run: %w", context.Cause(ctx))
	}
	trial, err := row.Prepare(ctx)
	if err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	if trial.Close != nil {
		defer func() { err = errors.Join(err, trial.Close()) }()
	}
	result.Peer = trial.Peer
	ours, theirs := newSeries(row, "ours", trial.Ours), newSeries(row, "the peer", trial.Theirs)
	for i := range row.Warmups + runs {
		pair := []*series{ours, theirs}
		if i%2 == 1 {
			slices.Reverse(pair)
		}
		for _, side := range pair {
			if err := side.sample(ctx, i-row.Warmups); err != nil {
				return err
			}
		}
		result.Runs = max(i-row.Warmups+1, 0)
	}
	for i, metric := range row.Metrics {
		a, b := Summarize(ours.samples[i]), Summarize(theirs.samples[i])
		result.Comparisons = append(result.Comparisons, Comparison{Metric: metric, Ours: a, Peer: b, Ratio: a.Median / b.Median})
	}
	if trial.Afterwards != nil {
		return trial.Afterwards(ctx)
	}
	return nil
}

// series is the samples of one side, by metric.
type series struct {
	side    string
	metrics []Metric
	sampler Sampler
	samples [][]float64
}

func newSeries(row *Row, side string, sampler Sampler) *series {
	return &series{side: side, metrics: row.Metrics, sampler: sampler, samples: make([][]float64, len(row.Metrics))}
}

// sample takes a sample; those with a negative number are warm-ups.
func (s *series) sample(ctx context.Context, number int) error {
	name := fmt.Sprintf("%s, run %d", s.side, number+1)
	if number < 0 {
		name = s.side + ", warm-up"
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", name, context.Cause(ctx))
	}
	values, err := s.sampler(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if len(values) != len(s.metrics) {
		return fmt.Errorf("%s: %d values for %d metrics", name, len(values), len(s.metrics))
	}
	for i, value := range values {
		if math.IsNaN(value) || value <= 0 {
			return fmt.Errorf("%s: a %s of %v %s measures nothing", name, s.metrics[i].Name, value, s.metrics[i].Unit)
		}
	}
	if number < 0 {
		return nil
	}
	for i, value := range values {
		s.samples[i] = append(s.samples[i], value)
	}
	return nil
}

// ErrFailed is returned by RunAll where a row did not pass.
var ErrFailed = errors.New("not every row passed")

// RunAll runs rows in order and reports each as soon as it is done. Once the context has ended, the rows that are left are reported as not run.
func RunAll(ctx context.Context, rows []Row, runs int, report func(*Result) error) error {
	var failed error
	for _, row := range rows {
		result := Run(ctx, row, runs)
		if result.Verdict() != Pass {
			failed = ErrFailed
		}
		if err := report(&result); err != nil {
			return fmt.Errorf("report %s: %w", row.Name, err)
		}
	}
	return failed
}
