package event

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func all() []Event {
	return []Event{
		RunStarted{Version: "1", Program: "pipeline.py", Targets: []string{"a"}, Params: map[string]string{"p": "v"}, Jobs: 2},
		PlanMade{Stages: []PlannedStage{{Name: "a", Kind: "stage", Deps: []string{"b"}, Expected: time.Second}}, FromCache: true, Duration: 1},
		SourcesSnapshot{Sources: 1, Files: 2, Duration: 3},
		StageExpanded{Stage: "a", Elements: []string{"a[0]"}},
		StageCached{Stage: "a", Key: "k", From: "r", Saved: 5},
		StageStarted{Stage: "a", Key: "k", Reasons: []Reason{{Kind: "file", Subject: "x", Text: "x changed"}}},
		StageFinished{Stage: "a", Outcome: Failed, Failure: &Failure{Code: "failed", Message: "m", File: "p.py", Line: 3}},
		StageFinished{Stage: "a", Outcome: Succeeded, Value: []byte(`{"a":1}`)},
		StepStarted{Stage: "a", Step: 1, Args: []string{"x"}, Key: "k"},
		StepOutput{Stage: "a", Step: 1, Stream: "stdout", Text: "hi\n"},
		StepFinished{Stage: "a", Step: 1, Cached: true, ExitCode: 2, Duration: 4},
		StageLog{Stage: "a", Level: "info", Message: "m", Fields: map[string]any{"k": "v"}},
		ProgramOutput{Stream: "stdout", Text: "x"},
		Warning{Message: "m", Hint: "h"},
		RunRefused{ExitCode: 2, Failure: &Failure{Code: "pipeline", Message: "m"}},
		RunFinished{Outcome: Succeeded, Succeeded: 1, Duration: 9},
	}
}

func TestEveryEventSurvivesJSON(t *testing.T) {
	for i, e := range all() {
		want := Record{Seq: int64(i + 1), Time: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), Run: "r1", Event: e}
		b, err := json.Marshal(want)
		if err != nil {
			t.Fatalf("%T: %v", e, err)
		}
		var got Record
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatalf("%T: %v in %s", e, err, b)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%T changed on its way through %s:\n%s", e, b, diff)
		}
	}
}

func TestAnUnknownEventIsAnError(t *testing.T) {
	var r Record
	if err := json.Unmarshal([]byte(`{"seq":1,"type":"stage.exploded"}`), &r); err == nil {
		t.Fatal("an unknown type was accepted")
	}
}

// Every type that seals itself as an event must be in all(), and so survive JSON.
func TestNoEventIsForgotten(t *testing.T) {
	seen := map[string]bool{}
	for _, e := range all() {
		seen[e.Type()] = true
	}
	f, err := parser.ParseFile(token.NewFileSet(), "event.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	sealed := 0
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Name.Name == "sealed" {
			sealed++
		}
	}
	if sealed != len(seen) {
		t.Errorf("%d events are sealed, %d are tested", sealed, len(seen))
	}
}

// What is written without encoding/json is what encoding/json writes.
func TestAppendedAsEncoded(t *testing.T) {
	type header struct {
		Schema int       `json:"schema,omitempty"`
		Seq    int64     `json:"seq"`
		Time   time.Time `json:"time"`
		Run    string    `json:"run"`
		Type   string    `json:"type"`
	}
	type cached struct {
		header
		StageCached
	}
	type finished struct {
		header
		StageFinished
		Value json.RawMessage `json:"value,omitempty"`
	}
	for _, name := range []string{"", "a", "a b", `a"b\`, "a<b>&", "é", "\u2028", "\x00\x1f\x7f", "a\xffb"} {
		for seq := range int64(2) {
			at := time.Date(2026, 1, 2, 3, 4, 5, int(seq)*1000, time.UTC)
			text, err := json.Marshal(name)
			if err != nil {
				t.Fatal(err)
			}
			h := header{Schema: int(seq), Seq: seq, Time: at, Run: name}
			c := StageCached{Stage: name, Key: name, From: name, Saved: 7}
			f := StageFinished{Stage: name, Outcome: Cached, Key: name, Duration: 7, Because: name, Value: []byte(`{"a":[1,2.5,` + string(text) + `]}`)}
			bare := StageFinished{Stage: name, Outcome: Skipped}
			for e, want := range map[Event]any{
				&c: cached{h, c}, &f: finished{h, f, f.Value}, &bare: finished{h, bare, nil},
			} {
				var r Record
				switch e := e.(type) {
				case *StageCached:
					r = Record{seq, at, name, *e}
					w := want.(cached)
					w.header.Type = "stage.cached"
					want = w
				case *StageFinished:
					r = Record{seq, at, name, *e}
					w := want.(finished)
					w.header.Type = "stage.finished"
					want = w
				}
				got, err := r.AppendJSON(nil)
				if err != nil {
					t.Fatal(err)
				}
				wanted, err := json.Marshal(want)
				if err != nil {
					t.Fatal(err)
				}
				if string(got) != string(wanted) {
					t.Errorf("%q:\n%s\nwant:\n%s", name, got, wanted)
				}
			}
		}
	}
}
