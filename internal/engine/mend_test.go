package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/towpath/towpath/internal/actioncache"
	cachemem "github.com/towpath/towpath/internal/actioncache/mem"
	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/event"
	"github.com/towpath/towpath/protocol"
)

// file makes a stage return a file, and take those of others.
func file(function string, needs ...string) protocol.Stage {
	s := takesFiles(function, needs...)
	s.Output = protocol.Type{Kind: protocol.TypeFile}
	return s
}

// takesFiles is a stage that returns an int and takes the files of others.
func takesFiles(function string, needs ...string) protocol.Stage {
	s := st(function, needs...)
	for i := range s.Inputs {
		s.Inputs[i].Type = protocol.Type{Kind: protocol.TypeFile}
	}
	return s
}

// after has f called once, at the end of a stage.
func (w *world) after(stage string, f func()) {
	done := false
	w.told = func(r event.Record) {
		if e, ok := r.Event.(event.StageFinished); ok && e.Stage == stage && !done {
			done = true
			f()
		}
	}
}

func (w *world) lose(content string) {
	w.t.Helper()
	if err := w.store.Delete(context.Background(), digest.OfBytes([]byte(content))); err != nil {
		w.t.Error(err)
	}
}

func (w *world) corrupt(content string) {
	w.t.Helper()
	if err := w.store.Corrupt(digest.OfBytes([]byte(content)), []byte(strings.ToUpper(content))); err != nil {
		w.t.Error(err)
	}
}

// What a call lacks is made again by who made it, and then it is called again: whether it reads or runs a step, and also where it hides the failure.
func TestALostBlobIsMadeAgain(t *testing.T) {
	for _, reader := range []string{"read", "hide", "use"} {
		for how, lose := range map[string]func(*world, string){"lost": (*world).lose, "corrupt": (*world).corrupt} {
			t.Run(reader+" "+how, func(t *testing.T) {
				w := newWorld(t)
				w.write([]protocol.Stage{file("make"), takesFiles(reader, "make"), st("ok_after", reader)})
				w.after("make", func() { lose(w, "made by make") })
				result, p := w.run(t.Context(), Request{})
				if result.ExitCode != ExitOK || len(p.warnings) != 1 || !strings.HasSuffix(p.warnings[0], "of stage make was lost or damaged: make runs again") {
					t.Fatalf("%+v %+v, warnings %q", result, result.Failure, p.warnings)
				}
				if got := p.started["make"].Reasons[0].Kind; got != event.ReasonResult {
					t.Errorf("make started because of %s", got)
				}
				if result, p = w.run(t.Context(), Request{}); result.ExitCode != ExitOK || len(p.started) != 0 {
					t.Errorf("again: %+v, started %v", result, p.started)
				}
			})
		}
	}
}

// One that is damaged before the run cannot be seen when its maker is looked up.
func TestADamagedBlobOfACachedStageIsMadeAgain(t *testing.T) {
	w := newWorld(t)
	w.write([]protocol.Stage{file("make"), takesFiles("read", "pass"), file("pass", "make")})
	if result, _ := w.run(t.Context(), Request{Targets: []string{"pass"}}); result.ExitCode != ExitOK {
		t.Fatalf("%+v", result)
	}
	w.corrupt("made by make")
	var counted event.RunFinished
	w.told = func(r event.Record) {
		if e, ok := r.Event.(event.RunFinished); ok {
			counted = e
		}
	}
	result, p := w.run(t.Context(), Request{})
	if result.ExitCode != ExitOK || len(p.warnings) != 1 {
		t.Fatalf("%+v %+v, warnings %q", result, result.Failure, p.warnings)
	}
	// pass only hands it on: it is make that has to run.
	if counted.Succeeded != 2 || counted.Cached != 1 {
		t.Errorf("counted as %+v", counted)
	}
}

// What is made again may be something else; whoever takes it gets what there is now, under the key of that.
func TestWhatIsMadeAgainMayBeSomethingElse(t *testing.T) {
	w := newWorld(t)
	var calls atomic.Int32
	w.made = func(string) string { return fmt.Sprintf("version %d", calls.Add(1)) }
	w.write([]protocol.Stage{file("make"), file("pass", "make"), takesFiles("read", "pass")})
	w.after("pass", func() { w.lose("version 1") })
	result, p := w.run(t.Context(), Request{})
	if result.ExitCode != ExitOK {
		t.Fatalf("%+v %+v, warnings %q", result, result.Failure, p.warnings)
	}
	want := digest.OfBytes([]byte("version 2")).String()
	for _, stage := range []string{"make", "pass"} {
		if got := string(p.ends[stage].Value); !strings.Contains(got, want) {
			t.Errorf("%s returned %s", stage, got)
		}
	}
	_, p = w.run(t.Context(), Request{})
	if len(p.started) != 0 {
		t.Errorf("again: %v", p.started)
	}
}

// Elements of a fan-out go on with what the list holds now.
func TestALostBlobOfAFanOut(t *testing.T) {
	w := newWorld(t)
	var calls atomic.Int32
	w.made = func(stage string) string { return fmt.Sprintf("%s at %d", stage, calls.Add(1)) }
	list := st("makes")
	list.Output = protocol.ListOf(protocol.Type{Kind: protocol.TypeFile})
	item := each("read_item", "makes")
	item.Inputs[0].Name, item.Inputs[0].Type = "i0", protocol.Type{Kind: protocol.TypeFile}
	w.write([]protocol.Stage{list, item})
	w.after("makes", func() { w.lose("2 at 2") })
	result, p := w.run(t.Context(), Request{})
	if result.ExitCode != ExitOK || len(p.warnings) != 1 {
		t.Fatalf("%+v %+v, warnings %q", result, result.Failure, p.warnings)
	}
	if got := string(p.ends["makes"].Value); !strings.Contains(got, digest.OfBytes([]byte("2 at 3")).String()) {
		t.Errorf("makes returned %s", got)
	}
}

func TestALostBlobThatAnElementMade(t *testing.T) {
	w := newWorld(t)
	item := each("make", listOf(2).Name)
	item.Output = protocol.Type{Kind: protocol.TypeFile}
	w.made = func(string) string { return "made by an element" }
	all := st("pass")
	all.Output = protocol.ListOf(protocol.Type{Kind: protocol.TypeFile})
	all.Inputs = protocol.List[protocol.Input]{{Name: "i0", Type: all.Output, From: protocol.From{Gather: protocol.List[string]{"make"}}}}
	w.write([]protocol.Stage{listOf(2), item, all})
	w.after("make", func() { w.lose("made by an element") })
	result, p := w.run(t.Context(), Request{})
	if result.ExitCode != ExitOK || !slices.ContainsFunc(p.warnings, func(s string) bool { return strings.HasSuffix(s, ": make[0] runs again") }) {
		t.Fatalf("%+v %+v, warnings %q", result, result.Failure, p.warnings)
	}
}

// sourced is a stage that runs a step in the folder of a source.
func sourced(function string) protocol.Stage {
	s := st(function)
	s.Inputs = protocol.List[protocol.Input]{{
		Name: "i0", Type: protocol.Type{Kind: protocol.TypeDirectory},
		From: protocol.From{Source: &protocol.Source{Globs: protocol.List[string]{"src.txt"}, Root: protocol.RootProgram}},
	}}
	return s
}

func TestALostBlobOfASourceIsReadAgain(t *testing.T) {
	for _, changed := range []bool{false, true} {
		t.Run(fmt.Sprint(changed), func(t *testing.T) {
			w := newWorld(t)
			path := filepath.Join(w.dir, "src.txt")
			if err := os.WriteFile(path, []byte("the source"), 0o644); err != nil {
				t.Fatal(err)
			}
			use := sourced("use")
			use.After = protocol.List[string]{"ok"}
			w.write([]protocol.Stage{st("ok"), use})
			w.after("ok", func() {
				w.lose("the source")
				if changed {
					if err := os.WriteFile(path, []byte("another"), 0o644); err != nil {
						t.Error(err)
					}
				}
			})
			result, p := w.run(t.Context(), Request{})
			switch {
			case len(p.warnings) != 1 || !strings.Contains(p.warnings[0], "of a source of stage use was lost or damaged"):
				t.Errorf("warnings %q", p.warnings)
			case changed && (result.ExitCode != ExitFailed || !strings.Contains(result.Failure.Message, "a source of stage use again: it was changed during the run")):
				t.Errorf("%+v %+v", result, result.Failure)
			case !changed && result.ExitCode != ExitOK:
				t.Errorf("%+v %+v", result, result.Failure)
			}
		})
	}
}

// That the store has not been given the sources yet is no loss.
func TestSourcesOfAnEffectAreNoLoss(t *testing.T) {
	w := newWorld(t)
	if err := os.WriteFile(filepath.Join(w.dir, "src.txt"), []byte("the source"), 0o644); err != nil {
		t.Fatal(err)
	}
	w.write([]protocol.Stage{effect(sourced("use"))})
	if result, p := w.run(t.Context(), Request{Targets: []string{"use"}}); result.ExitCode != ExitOK || len(p.warnings) != 0 {
		t.Errorf("%+v %+v, warnings %q", result, result.Failure, p.warnings)
	}
}

// An effect has its inputs looked after before it is called, and is not called again.
func TestEffectsAreNotCalledAgainForALostBlob(t *testing.T) {
	w := newWorld(t)
	w.write([]protocol.Stage{file("make"), effect(takesFiles("use_push", "make"))})
	w.after("make", func() { w.lose("made by make") })
	result, p := w.run(t.Context(), Request{Targets: []string{"use_push"}})
	if result.ExitCode != ExitOK || len(p.warnings) != 1 || w.steps.Begun() != 3 {
		t.Errorf("lost: %+v %+v, warnings %q, %d steps", result, result.Failure, p.warnings, w.steps.Begun())
	}
	w.corrupt("made by make")
	if result, _ = w.run(t.Context(), Request{Targets: []string{"use_push"}}); result.ExitCode != ExitFault {
		t.Errorf("damaged: %+v", result)
	}
	// What an effect made cannot be made again.
	w = newWorld(t)
	w.write([]protocol.Stage{effect(file("make")), takesFiles("read", "make")})
	w.after("make", func() { w.lose("made by make") })
	result, _ = w.run(t.Context(), Request{Targets: []string{"read"}})
	if result.ExitCode != ExitFault || !strings.Contains(result.Failure.Message, "make is an effect, which does not run twice") || w.steps.Begun() != 1 {
		t.Errorf("of an effect: %+v %+v", result, result.Failure)
	}
}

// brokenCache cannot take results.
type brokenCache struct{ *cachemem.Cache }

func (brokenCache) PutAll(context.Context, []actioncache.Entry) error {
	return errors.New("the disk is full")
}

// A run whose results cannot be recorded has failed, by the machine's fault.
func TestARunWhoseResultsCannotBeRecorded(t *testing.T) {
	w := newWorld(t)
	w.c.Cache = brokenCache{cachemem.New()}
	w.write([]protocol.Stage{st("ok"), st("step", "ok")})
	result, p := w.run(t.Context(), Request{})
	if result.ExitCode != ExitFault || !strings.Contains(result.Failure.Message, "the disk is full") || !p.ends["ok"].Outcome.OK() {
		t.Errorf("%+v %+v, ends %v", result, result.Failure, p.ends)
	}
}
