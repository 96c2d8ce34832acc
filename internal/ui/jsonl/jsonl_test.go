package jsonl

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/towpath/towpath/internal/event"
	"github.com/towpath/towpath/internal/ui/uitest"
)

// Every event comes out as one line, and back as what it was. There is no type switch here that could leave one out.
func TestEveryEventIsALine(t *testing.T) {
	want := uitest.Records(uitest.Every(t)...)
	var b bytes.Buffer
	u := New(&b)
	for _, r := range want {
		u.Emit(r)
	}
	if err := u.Close(); err != nil {
		t.Fatal(err)
	}
	var got []event.Record
	for line := range strings.Lines(b.String()) {
		var r event.Record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		got = append(got, r)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// gate lets writes pass one by one.
type gate struct {
	writing chan int // the length of the write that waits
	pass    chan error
	mu      sync.Mutex
	got     []byte
}

func newGate() *gate { return &gate{writing: make(chan int), pass: make(chan error)} }

func (g *gate) Write(b []byte) (int, error) {
	g.writing <- len(b)
	if err := <-g.pass; err != nil {
		return 0, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.got = append(g.got, b...)
	return len(b), nil
}

func TestARecordIsWrittenAtOnceAndManyTogether(t *testing.T) {
	g := newGate()
	u := New(g)
	records := uitest.Records(uitest.AllCached(100)...)
	u.Emit(records[0])
	<-g.writing // without waiting for another one
	for _, r := range records[1:] {
		u.Emit(r) // does not wait for the reader
	}
	g.pass <- nil
	<-g.writing
	g.pass <- nil
	if err := u.Close(); err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(g.got, []byte{'\n'}); n != len(records) {
		t.Errorf("%d lines in two writes, want %d", n, len(records))
	}
}

func TestAReaderThatIsFarBehindHoldsTheRunUp(t *testing.T) {
	g := newGate()
	u := New(g)
	emitted := make(chan struct{})
	piece := event.StepOutput{Stage: "a", Text: strings.Repeat("x", maxPending/2)}
	go func() {
		defer close(emitted)
		for _, r := range uitest.Records(piece, piece, piece, piece, piece, piece, piece, piece) {
			u.Emit(r)
		}
	}()
	for done := false; !done; {
		select {
		case n := <-g.writing:
			if n > 2*maxPending {
				t.Errorf("a write of %d bytes", n)
			}
			g.pass <- nil
		case <-emitted:
			done = true
		}
	}
	go func() {
		for range g.writing {
			g.pass <- nil
		}
	}()
	if err := u.Close(); err != nil {
		t.Fatal(err)
	}
	close(g.writing)
	if n := bytes.Count(g.got, []byte{'\n'}); n != 8 {
		t.Errorf("%d lines, want 8", n)
	}
}

func TestAWriteErrorIsReturnedByClose(t *testing.T) {
	g := newGate()
	u := New(g)
	records := uitest.Records(uitest.AllCached(10)...)
	u.Emit(records[0])
	<-g.writing
	g.pass <- io.ErrClosedPipe
	for _, r := range records[1:] {
		u.Emit(r)
	}
	for range 2 {
		if err := u.Close(); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("Close = %v", err)
		}
	}
}

func TestARecordThatCannotBeEncodedIsToldOf(t *testing.T) {
	var b bytes.Buffer
	u := New(&b)
	for _, r := range uitest.Records(
		event.Warning{Message: "before"},
		event.StageLog{Stage: "a", Fields: map[string]any{"x": math.NaN()}},
		event.Warning{Message: "after"},
	) {
		u.Emit(r)
	}
	if err := u.Close(); err == nil || !strings.Contains(err.Error(), "event 2") {
		t.Errorf("Close = %v", err)
	}
	if n := strings.Count(b.String(), "\n"); n != 2 {
		t.Errorf("%d lines, want 2:\n%s", n, b.String())
	}
}

func BenchmarkEmit(b *testing.B) {
	records := uitest.Records(uitest.AllCached(1000)...)
	for b.Loop() {
		u := New(io.Discard)
		for _, r := range records {
			u.Emit(r)
		}
		if err := u.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
