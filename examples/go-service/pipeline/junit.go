package main

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"strings"
)

// event is a line that `go test -json` prints.
type event struct {
	Action  string
	Package string
	Test    string
	Elapsed float64
	Output  string
}

type junitSuites struct {
	XMLName xml.Name     `xml:"testsuites"`
	Cases   []*junitCase `xml:"testsuite>testcase"`
}

type junitCase struct {
	Class   string  `xml:"classname,attr"`
	Name    string  `xml:"name,attr"`
	Time    float64 `xml:"time,attr"`
	Failure *string `xml:"failure"`
	Skipped *string `xml:"skipped"`

	output strings.Builder
}

// readTests reads what `go test -json` prints.
func readTests(events io.Reader) ([]*junitCase, error) {
	var tests []*junitCase
	cases := make(map[[2]string]*junitCase)
	failed := make(map[string]bool) // packages with a test that failed
	lines := json.NewDecoder(events)
	for {
		var e event
		if err := lines.Decode(&e); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		key := [2]string{e.Package, e.Test}
		test := cases[key]
		if test == nil {
			test = &junitCase{Class: e.Package, Name: e.Test}
			cases[key] = test
		}
		switch e.Action {
		case "output":
			test.output.WriteString(e.Output)
			continue
		case "fail":
			if e.Test == "" && failed[e.Package] {
				continue
			}
			failed[e.Package] = true
			text := test.output.String()
			test.Failure = &text
		case "skip":
			text := test.output.String()
			test.Skipped = &text
		case "pass":
		default:
			continue
		}
		// A package is no test, unless it failed by itself: it did not compile, or something ended the process.
		if e.Test == "" && e.Action != "fail" {
			continue
		}
		test.Time = e.Elapsed
		tests = append(tests, test)
	}
	return tests, nil
}

// junitOf writes JUnit XML.
func junitOf(tests []*junitCase) ([]byte, error) {
	out, err := xml.MarshalIndent(junitSuites{Cases: tests}, "", "  ")
	return append([]byte(xml.Header), out...), err
}
