package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/event"
	"github.com/towpath/towpath/internal/executor/fake"
	"github.com/towpath/towpath/protocol"
)

// outputs returns what was told of what steps printed.
func (b *bench) outputs() []event.StepOutput {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []event.StepOutput
	for _, e := range b.events {
		if o, ok := e.(event.StepOutput); ok {
			out = append(out, o)
		}
	}
	return out
}

// logged returns the log of the only stage.
func (b *bench) logged() string {
	b.t.Helper()
	j := b.ops.e.c.Journal.(*memJournal)
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, r := range j.runs {
		if l := r.logs["s"]; l != nil {
			return l.String()
		}
	}
	b.t.Fatal("there is no log")
	return ""
}

func TestOutputIsToldInLines(t *testing.T) {
	long := strings.Repeat("x", maxText)
	for _, c := range []struct {
		writes, told []string
	}{
		{[]string{""}, nil},
		{[]string{"one"}, []string{"one\n"}},
		{[]string{"one\n"}, []string{"one\n"}},
		{[]string{"one\ntwo\nthr", "ee", "\nfour\nfi"}, []string{"one\ntwo\n", "three\nfour\n", "fi\n"}},
		{[]string{long + "x"}, []string{long, "x\n"}},
		{[]string{"a\n" + long + "\nb"}, []string{"a\n", long, "\n", "b\n"}},
		{[]string{long[1:] + "ü"}, []string{long[1:], "ü\n"}},
		{[]string{"a\xff\n\x80"}, []string{"a\uFFFD\n", "\uFFFD\n"}},
	} {
		b := newBench(t, protocol.KindStage, func(_ context.Context, s *fake.Step) (int, error) {
			for _, w := range c.writes {
				if _, err := io.WriteString(s.Stdout(), w); err != nil {
					return 0, err
				}
			}
			return 0, nil
		})
		answer := b.must("step.run", strings.Replace(echo, `["out.txt"]`, "[]", 1))
		var told []string
		for _, o := range b.outputs() {
			told = append(told, o.Text)
		}
		if !slices.Equal(told, c.told) {
			t.Errorf("of %.40q is told %.40q and should be %.40q", c.writes, told, c.told)
		}
		if got := b.logged(); got != "$ echo\n"+strings.Join(c.told, "") {
			t.Errorf("of %.40q is logged %.60q", c.writes, got)
		}
		if d := digest.OfBytes([]byte(strings.Join(c.writes, ""))); !strings.Contains(answer, d.String()) {
			t.Errorf("%.40q is stored as something else: %s", c.writes, answer)
		}
	}
}

// Of a stream that is too long to be told the beginning and the end are, and how much there is between them. The log and the store have all of it.
func TestLongOutputIsToldInPart(t *testing.T) {
	var all bytes.Buffer
	for n := 0; all.Len() < maxTold+3*chunks*chunk; n++ {
		fmt.Fprintf(&all, "line %d of many lines\n", n)
	}
	b := newBench(t, protocol.KindStage, func(_ context.Context, s *fake.Step) (int, error) {
		rest := all.Bytes()
		for size := 1; len(rest) > 0; size = size*3%100_000 + 1 {
			n := min(size, len(rest))
			if _, err := s.Stdout().Write(rest[:n]); err != nil {
				return 0, err
			}
			rest = rest[n:]
		}
		return 0, nil
	})
	answer := b.must("step.run", strings.Replace(echo, `["out.txt"]`, "[]", 1))
	if !strings.Contains(answer, digest.OfBytes(all.Bytes()).String()) {
		t.Errorf("it is stored as something else: %s", answer)
	}
	if got := b.logged(); got != "$ echo\n"+all.String() {
		t.Errorf("%d bytes are logged of %d", len(got), all.Len())
	}
	at, gaps := 0, 0
	for _, o := range b.outputs() {
		if o.Omitted > 0 {
			if gaps++; at < maxTold {
				t.Errorf("only %d bytes are told before some are left out", at)
			}
			at += int(o.Omitted)
		}
		if len(o.Text) > maxText || !strings.HasPrefix(all.String()[at:], o.Text) {
			t.Fatalf("at %d is told %.60q", at, o.Text)
		}
		at += len(o.Text)
	}
	if at != all.Len() || gaps != 1 {
		t.Errorf("%d of %d bytes are told or counted, with %d gaps", at, all.Len(), gaps)
	}
}

// A store that cannot take what a step prints ends the step.
func TestOutputThatCannotBeStoredEndsTheStep(t *testing.T) {
	full := errors.New("the disk is full")
	s := &storing{free: make(chan []byte, chunks), full: make(chan []byte, chunks), done: make(chan struct{}), err: full}
	for range chunks {
		s.free <- nil
	}
	close(s.done)
	var err error
	for n := 0; n <= chunks && err == nil; n++ {
		err = s.write(make([]byte, chunk))
	}
	if !errors.Is(err, full) {
		t.Errorf("the error is %v", err)
	}
	if _, err := s.finish(); !errors.Is(err, full) {
		t.Errorf("at the end the error is %v", err)
	}
}

// Whoever reads the log while a step runs finds what it has printed so far.
func TestTheLogIsWrittenWhileTheStepPrints(t *testing.T) {
	var b *bench
	b = newBench(t, protocol.KindStage, func(_ context.Context, s *fake.Step) (int, error) {
		want := "$ echo\n"
		for _, line := range []string{"one\n", strings.Repeat("x", inMemory) + "\n", "three\n"} {
			if _, err := io.WriteString(s.Stdout(), line); err != nil {
				return 0, err
			}
			if want += line; b.logged() != want {
				t.Errorf("%d bytes are logged of %d", len(b.logged()), len(want))
			}
		}
		return 0, nil
	})
	b.must("step.run", strings.Replace(echo, `["out.txt"]`, "[]", 1))
}
