package harness

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
)

// Table returns a report function that writes rows as lines of a table for a person.
func Table(w io.Writer) func(*Result) error {
	const layout = "%-26s %20s %20s %9s %9s %5s  %s\n"
	begun := false
	return func(r *Result) error {
		var b strings.Builder
		if !begun {
			begun = true
			fmt.Fprintf(&b, layout, "row", "ours", "peer", "ratio", "limit", "runs", "")
		}
		limit, runs := number(r.Row.Limit), fmt.Sprint(r.Runs)
		if len(r.Comparisons) == 0 {
			fmt.Fprintf(&b, layout, r.Row.Name, "-", "-", "-", limit, runs, r.Verdict())
		}
		for i, c := range r.Comparisons {
			name, verdict := r.Row.Name, string(r.Verdict())
			if i > 0 {
				limit, runs, verdict = "", "", ""
			}
			if len(r.Comparisons) > 1 {
				name = "  " + c.Name
				if i == 0 {
					name = r.Row.Name + " " + c.Name
				}
			}
			ratio := number(c.Ratio)
			if c.Aside {
				ratio = "(" + ratio + ")"
			}
			fmt.Fprintf(&b, layout, name, quantity(c.Ours, c.Unit), quantity(c.Peer, c.Unit), ratio, limit, runs, verdict)
		}
		if r.Peer != "" {
			fmt.Fprintf(&b, "  against %s\n", r.Peer)
		}
		if r.Err != nil {
			fmt.Fprintf(&b, "  %s\n", strings.ReplaceAll(r.Err.Error(), "\n", "\n    "))
		}
		_, err := io.WriteString(w, b.String())
		return err
	}
}

func quantity(s Summary, unit string) string {
	return fmt.Sprintf("%s %s ±%2.0f%%", number(s.Median), unit, 100*s.Spread)
}

// number writes a value with three significant digits, and with all those before its point.
func number(v float64) string {
	if v == 0 || math.Abs(v) >= 100 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.*f", max(0, 2-int(math.Floor(math.Log10(math.Abs(v))))), v)
}

// line is a row in JSON. What was not measured is null.
type line struct {
	Name        string        `json:"name"`
	Ours        *float64      `json:"ours"`
	Peer        *float64      `json:"peer"`
	Unit        string        `json:"unit"`
	Ratio       *float64      `json:"ratio"`
	Limit       float64       `json:"limit"`
	Runs        int           `json:"runs"`
	Verdict     Verdict       `json:"verdict"`
	Against     string        `json:"against,omitempty"`
	OursSpread  *float64      `json:"ours_spread,omitempty"`
	PeerSpread  *float64      `json:"peer_spread,omitempty"`
	OursSamples []float64     `json:"ours_samples,omitempty"`
	PeerSamples []float64     `json:"peer_samples,omitempty"`
	Metrics     []metricsLine `json:"metrics,omitempty"`
	Error       string        `json:"error,omitempty"`
}

// metricsLine is one of several metrics of a row.
type metricsLine struct {
	Name  string  `json:"name"`
	Ours  float64 `json:"ours"`
	Peer  float64 `json:"peer"`
	Unit  string  `json:"unit"`
	Ratio float64 `json:"ratio"`
	Aside bool    `json:"aside,omitempty"`
}

// JSON returns a report function that writes every row as one JSON object on a line of its own. Where a row has several metrics, ours, peer,
// unit and ratio are those of the one with the largest ratio that is judged.
func JSON(w io.Writer) func(*Result) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	return func(r *Result) error {
		l := line{
			Name: r.Row.Name, Unit: r.Row.Metrics[0].Unit, Limit: r.Row.Limit, Runs: r.Runs,
			Verdict: r.Verdict(), Against: r.Peer,
		}
		if worst, ok := r.Worst(); ok {
			l.Ours, l.Peer, l.Ratio, l.Unit = &worst.Ours.Median, &worst.Peer.Median, &worst.Ratio, worst.Unit
			l.OursSpread, l.PeerSpread = &worst.Ours.Spread, &worst.Peer.Spread
			l.OursSamples, l.PeerSamples = worst.Ours.Samples, worst.Peer.Samples
		}
		if len(r.Comparisons) > 1 {
			for _, c := range r.Comparisons {
				l.Metrics = append(l.Metrics, metricsLine{c.Name, c.Ours.Median, c.Peer.Median, c.Unit, c.Ratio, c.Aside})
			}
		}
		if r.Err != nil {
			l.Error = r.Err.Error()
		}
		return encoder.Encode(l)
	}
}
