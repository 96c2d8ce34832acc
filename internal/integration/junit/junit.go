// Package junit reads test reports in the JUnit XML format, as pytest, go-junit-report, Surefire and others write it.
//
// There is no standard for it; what is read here is what the writers agree on: `testsuite` elements, nested or not, with `testcase` elements that
// hold `failure`, `error` or `skipped`. Counts are taken of the cases and not of the attributes, which some writers get wrong. The room knows
// XML and nothing of stages or stores.
package junit

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
)

// Report is what a file says in all.
type Report struct {
	// Tests counts all cases; Failures, Errors and Skipped count those of them that ended so.
	Tests, Failures, Errors, Skipped int
	// Time is the sum of the cases' times.
	Time time.Duration
}

// Parse reads a report. The file is read as a stream; its size does not matter.
func Parse(r io.Reader) (Report, error) {
	var report Report
	dec := xml.NewDecoder(r)
	dec.CharsetReader = func(charset string, input io.Reader) (io.Reader, error) {
		return ascii{input}, nil
	}
	depth, suites := 0, 0
	var open *caseState
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			line, _ := dec.InputPos()
			return Report{}, fmt.Errorf("line %d: the file is no XML: %w", line, err)
		}
		switch t := token.(type) {
		case xml.StartElement:
			if depth == 0 && t.Name.Local != "testsuites" && t.Name.Local != "testsuite" {
				return Report{}, fmt.Errorf("the file is no JUnit report: it begins with <%s>", t.Name.Local)
			}
			depth++
			suites++
			if t.Name.Local == "testcase" && open == nil {
				open = &caseState{depth: depth, time: seconds(t)}
			} else if open != nil && depth == open.depth+1 {
				open.child(t.Name.Local)
			}
		case xml.EndElement:
			if open != nil && depth == open.depth {
				open.addTo(&report)
				open = nil
			}
			depth--
		}
	}
	if suites == 0 {
		return Report{}, errors.New("the file is empty")
	}
	return report, nil
}

// ascii replaces what is beyond ASCII: in a character set that is not UTF-8 names and messages come out wrong, counts do not.
type ascii struct{ r io.Reader }

func (a ascii) Read(p []byte) (int, error) {
	n, err := a.r.Read(p)
	for i, b := range p[:n] {
		if b >= 0x80 {
			p[i] = '?'
		}
	}
	return n, err
}

// caseState is a testcase that is being read.
type caseState struct {
	depth                    int
	time                     time.Duration
	failed, errored, skipped bool
}

func (c *caseState) child(name string) {
	switch name {
	case "failure":
		c.failed = true
	case "error":
		c.errored = true
	case "skipped":
		c.skipped = true
	}
}

// addTo counts the case once, by the worst that it holds.
func (c *caseState) addTo(r *Report) {
	r.Tests++
	r.Time += c.time
	switch {
	case c.errored:
		r.Errors++
	case c.failed:
		r.Failures++
	case c.skipped:
		r.Skipped++
	}
}

func seconds(e xml.StartElement) time.Duration {
	for _, a := range e.Attr {
		if a.Name.Local != "time" {
			continue
		}
		f, err := strconv.ParseFloat(strings.ReplaceAll(a.Value, ",", ""), 64)
		if err != nil || f < 0 || f > math.MaxInt32 {
			return 0
		}
		return time.Duration(f * float64(time.Second))
	}
	return 0
}
