package main

import (
	"strings"
	"testing"
)

func TestJUnit(t *testing.T) {
	const events = `
{"Action":"start","Package":"p"}
{"Action":"run","Package":"p","Test":"TestGood"}
{"Action":"pass","Package":"p","Test":"TestGood","Elapsed":0.5}
{"Action":"output","Package":"p","Test":"TestBad","Output":"p_test.go:7: 1 < 2\n"}
{"Action":"fail","Package":"p","Test":"TestBad","Elapsed":0}
{"Action":"skip","Package":"p","Test":"TestLater","Elapsed":0}
{"Action":"fail","Package":"p","Elapsed":0.6}
{"Action":"pass","Package":"q","Elapsed":0.1}
{"Action":"output","Package":"r","Output":"r.go:1: expected 'package'\n"}
{"Action":"fail","Package":"r","Elapsed":0.2}
`
	tests, err := readTests(strings.NewReader(events))
	if err != nil {
		t.Fatal(err)
	}
	got, err := junitOf(tests)
	if err != nil {
		t.Fatal(err)
	}
	const want = `<?xml version="1.0" encoding="UTF-8"?>
<testsuites>
  <testsuite>
    <testcase classname="p" name="TestGood" time="0.5"></testcase>
    <testcase classname="p" name="TestBad" time="0">
      <failure>p_test.go:7: 1 &lt; 2&#xA;</failure>
    </testcase>
    <testcase classname="p" name="TestLater" time="0">
      <skipped></skipped>
    </testcase>
    <testcase classname="r" name="" time="0.2">
      <failure>r.go:1: expected &#39;package&#39;&#xA;</failure>
    </testcase>
  </testsuite>
</testsuites>`
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestNoJSON(t *testing.T) {
	if _, err := readTests(strings.NewReader("go: cannot find main module")); err == nil {
		t.Error("no error")
	}
}
