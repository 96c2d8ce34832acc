package junit

import (
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		want Report
	}{
		"pytest": {
			`<?xml version="1.0" encoding="utf-8"?><testsuites><testsuite name="pytest" errors="0" failures="1" skipped="1" tests="4" time="1.5">
			<testcase classname="a" name="ok" time="0.5" />
			<testcase classname="a" name="bad" time="0.25"><failure message="assert">text &lt;error&gt;</failure></testcase>
			<testcase classname="a" name="skip" time="0"><skipped type="pytest.skip" message="no"/></testcase>
			<testcase classname="a" name="both"><failure/><error message="teardown"/></testcase>
			</testsuite></testsuites>`,
			Report{Tests: 4, Failures: 1, Errors: 1, Skipped: 1, Time: 750 * time.Millisecond},
		},
		"one suite, nested": {
			`<testsuite tests="99"><testsuite><testcase time="1,000.5"/></testsuite><properties><property/></properties></testsuite>`,
			Report{Tests: 1, Time: 1000500 * time.Millisecond},
		},
		"output of a case is no failure": {
			`<testsuites><testsuite><testcase><system-out><failure/></system-out></testcase></testsuite></testsuites>`,
			Report{Tests: 1},
		},
		"other charset": {"<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><testsuite><testcase name=\"\xe9\"/></testsuite>", Report{Tests: 1}},
		"empty suite":   {`<testsuites/>`, Report{}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Parse(strings.NewReader(c.in))
			if err != nil || got != c.want {
				t.Errorf("Parse = %+v, %v, want %+v", got, err, c.want)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for _, in := range []string{"", "  ", "no xml", "<html></html>", "<testsuites><testsuite>", `{"tests": 1}`, "<testsuite><testcase></testsuite>"} {
		if r, err := Parse(strings.NewReader(in)); err == nil {
			t.Errorf("Parse(%q) = %+v, want an error", in, r)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(`<testsuites><testsuite><testcase time="1"><failure/></testcase></testsuite></testsuites>`)
	f.Fuzz(func(t *testing.T, in string) {
		r, err := Parse(strings.NewReader(in))
		if err == nil && r.Failures+r.Errors+r.Skipped > r.Tests {
			t.Errorf("%q: %+v counts more endings than tests", in, r)
		}
	})
}
