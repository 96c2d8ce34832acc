// Package uitest holds what the tests of the user interfaces share: one record of every event, scripted runs, and a check that an interface handles
// every event that there is.
package uitest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/towpath/towpath/internal/event"
)

// Start is when the scripted runs start.
func Start() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }

// Records makes a run of events, a second between two of them.
func Records(events ...event.Event) []event.Record {
	records := make([]event.Record, len(events))
	for i, e := range events {
		records[i] = event.Record{Seq: int64(i + 1), Time: Start().Add(time.Duration(i) * time.Second), Run: "r1", Event: e}
	}
	return records
}

// Every returns one event of every type, and fails the test if the package has one more.
func Every(tb testing.TB) []event.Event {
	tb.Helper()
	failure := &event.Failure{Code: "step_failed", Message: "step pytest exited with 1", Hint: "fix it", File: "p.py", Line: 3, Trace: "Traceback", ExitCode: 1}
	all := []event.Event{
		event.RunStarted{Version: "1", Program: "p.py", Targets: []string{"a"}, Params: map[string]string{"p": "v"}, Jobs: 2},
		event.PlanMade{Stages: []event.PlannedStage{{Name: "a", Kind: "stage", Doc: "d", Deps: []string{"b"}, Expected: time.Second}, {Name: "b"}}, FromCache: true, Duration: 1},
		event.SourcesSnapshot{Sources: 1, Files: 2, Duration: 3},
		event.StageExpanded{Stage: "a", Elements: []string{"a[0]"}},
		event.StageCached{Stage: "b", Key: "k", From: "r0", Saved: 5 * time.Second},
		event.StageStarted{Stage: "a", Key: "k", Reasons: []event.Reason{{Kind: "file", Subject: "x", Text: "x changed"}}},
		event.StepStarted{
			Stage: "a", Step: 1, Args: []string{"pytest"}, Key: "k",
			Reasons: []event.Reason{{Kind: "argument", Subject: "1", Before: "-v", After: "-q", Text: "argument 1 changed from -v to -q"}},
		},
		event.StepOutput{Stage: "a", Step: 1, Stream: "stdout", Text: "hi <you>\n", Omitted: 7},
		event.StepFinished{Stage: "a", Step: 1, Cached: true, ExitCode: 1, Signal: "KILL", Exceeded: "memory", From: "r0", Duration: 4, UserTime: 1, SysTime: 1, MaxRSS: 1, Error: "e"},
		event.StageLog{Stage: "a", Level: "info", Message: "m", Fields: map[string]any{"k": "v"}},
		event.ProgramOutput{Stream: "stdout", Text: "x"},
		event.Warning{Message: "m", Hint: "h"},
		event.StageFinished{Stage: "a", Outcome: event.Failed, Key: "k", Duration: 2, Failure: failure, Because: "b", Value: []byte(`{"a":1}`)},
		event.RunRefused{ExitCode: 2, Failure: failure},
		event.RunFinished{Outcome: event.Failed, ExitCode: 1, Duration: 9, Succeeded: 1, Cached: 1, Failed: 1, Cancelled: 1, Skipped: 1, Saved: 5, FirstFailed: "a", Failure: failure},
	}
	var names []string
	for _, e := range all {
		names = append(names, reflect.TypeOf(e).Name())
	}
	for _, want := range Types(tb) {
		if !slices.Contains(names, want) {
			tb.Errorf("event.%s is not in uitest.Every", want)
		}
	}
	return all
}

// Types returns the names of the types that seal themselves as events, as the source of package event has them.
func Types(tb testing.TB) []string {
	tb.Helper()
	types := map[string]bool{}
	for _, f := range parse(tb, filepath.Join(root(tb), "internal", "event")) {
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Recv == nil || fn.Name.Name != "sealed" {
				continue
			}
			if id, ok := fn.Recv.List[0].Type.(*ast.Ident); ok {
				types[id.Name] = true
			}
		}
	}
	if len(types) == 0 {
		tb.Fatal("package event has no events")
	}
	return slices.Sorted(maps.Keys(types))
}

// root returns the folder of the module, which a test runs somewhere below.
func root(tb testing.TB) string {
	tb.Helper()
	dir, err := os.Getwd()
	if err != nil {
		tb.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			tb.Fatal("there is no go.mod above the test")
		}
		dir = parent
	}
}

// Handles checks that one function of the package in dir has a type switch with a case for every event. Leaving one out takes a case that says so.
func Handles(t *testing.T, dir string) {
	t.Helper()
	types := Types(t)
	missing, switches := types, 0
	for _, f := range parse(t, dir) {
		ast.Inspect(f, func(n ast.Node) bool {
			sw, ok := n.(*ast.TypeSwitchStmt)
			if !ok {
				return true
			}
			switches++
			cases := map[string]bool{}
			for _, stmt := range sw.Body.List {
				for _, x := range stmt.(*ast.CaseClause).List {
					if sel, ok := x.(*ast.SelectorExpr); ok {
						cases[sel.Sel.Name] = true
					}
				}
			}
			left := slices.DeleteFunc(slices.Clone(types), func(name string) bool { return cases[name] })
			if len(left) < len(missing) {
				missing = left
			}
			return true
		})
	}
	if switches == 0 || len(missing) > 0 {
		t.Errorf("no type switch in %s handles every event; the best of %d leaves out %s", dir, switches, strings.Join(missing, ", "))
	}
}

func parse(tb testing.TB, dir string) []*ast.File {
	tb.Helper()
	var files []*ast.File
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		tb.Fatal(err)
	}
	if len(paths) == 0 {
		tb.Fatal(&fs.PathError{Op: "parse", Path: dir, Err: fs.ErrNotExist})
	}
	for _, p := range paths {
		if strings.HasSuffix(p, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), p, nil, 0)
		if err != nil {
			tb.Fatal(err)
		}
		files = append(files, f)
	}
	return files
}
