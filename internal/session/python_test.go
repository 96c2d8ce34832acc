package session

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/towpath/towpath/internal/cas/mem"
	"github.com/towpath/towpath/internal/plan"
	"github.com/towpath/towpath/internal/source"
	"github.com/towpath/towpath/protocol"
)

const hello = "from towpath import stage\n\n@stage\ndef hello() -> str:\n    return \"hi\"\n"

func TestDescribedProgramIsNotAskedAgain(t *testing.T) {
	p := newPlace(t, map[string]string{"pipeline.py": hello})
	started := p.countingPython()
	first := p.mustOpen()
	if first.FromCache || started() != 2 {
		t.Fatalf("from the cache: %t, after %d starts", first.FromCache, started())
	}
	second := p.mustOpen()
	if !second.FromCache || started() != 2 {
		t.Errorf("from the cache: %t, after %d starts", second.FromCache, started())
	}
	if string(first.PlanText) != string(second.PlanText) || first.Digest != second.Digest {
		t.Errorf("first %s %s, second %s %s", first.PlanText, first.Digest, second.PlanText, second.Digest)
	}
	if site := second.Graph.Find("hello").Site; site.File != "pipeline.py" || site != first.Graph.Find("hello").Site {
		t.Errorf("it is declared at %v, before at %v", site, first.Graph.Find("hello").Site)
	}
	third, err := p.open()
	if err != nil {
		t.Fatal(err)
	}
	w, err := third.Worker(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got, err := w.Call(t.Context(), protocol.StageCallParams{Stage: "hello", Function: "hello"}, nil)
	if err != nil || string(got.Value) != `"hi"` {
		t.Errorf("the stage returned %s, %v", got.Value, err)
	}
	if again, err := third.Worker(t.Context()); err != nil || again != w || started() != 3 {
		t.Errorf("a second worker: %t, after %d starts, %v", again != w, started(), err)
	}
}

// dependent reads, lists and imports all sorts of things.
const dependent = `import os
from towpath import stage
import stages.one
open("data.txt").read()
try:
    open("maybe.txt").read()
except FileNotFoundError:
    pass
os.listdir("listed")
try:
    import optional
except ImportError:
    pass
try:
    os.listdir("unlisted")
except FileNotFoundError:
    pass
try:
    open("/")
except OSError:
    pass

@stage
def hello() -> str:
    return "hi"
`

func TestProgramIsAskedAgainWhenSomethingChangesThatItWasMadeFrom(t *testing.T) {
	other := func(fsys fs.FS) fs.FS {
		out := fstest.MapFS{}
		err := fs.WalkDir(fsys, ".", func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := fs.ReadFile(fsys, path)
			out[path] = &fstest.MapFile{Data: append(b, "\n# changed\n"...)}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	for _, tt := range []struct {
		name   string
		change func(p *place)
		stays  bool
	}{
		{name: "nothing", change: func(*place) {}, stays: true},
		{name: "a file beside it", change: func(p *place) { p.write("README.md", "x") }, stays: true},
		{name: "a folder that it did not list", change: func(p *place) { p.write("src/x.py", "x") }, stays: true},
		{name: "a file in a folder that it did not list", change: func(p *place) { p.write("docs/x.txt", "x") }, stays: true},
		{name: "a variable that it was not given", change: func(p *place) { p.set("SOMETHING", "else") }, stays: true},
		{name: "the program", change: func(p *place) { p.write("pipeline.py", dependent+"\n") }},
		{name: "a module that it imported", change: func(p *place) { p.write("stages/one.py", "x = 2\n") }},
		{name: "a module that nothing looks for", change: func(p *place) { p.write("other.py", "") }, stays: true},
		{name: "a module that was looked for in vain", change: func(p *place) { p.write("optional.py", "") }},
		{name: "a package that was looked for in vain", change: func(p *place) { p.write("optional/__init__.py", "") }},
		{name: "a file that it read", change: func(p *place) { p.write("data.txt", "b") }},
		{name: "a file that it read, of the same size at the same time", change: func(p *place) {
			info, err := os.Stat(p.path("data.txt"))
			if err != nil {
				t.Fatal(err)
			}
			p.write("data.txt", "c")
			if err := os.Chtimes(p.path("data.txt"), info.ModTime(), info.ModTime()); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "a file that was missing", change: func(p *place) { p.write("maybe.txt", "") }},
		{name: "a file in a folder that it listed", change: func(p *place) { p.write("listed/b", "") }},
		{name: "a folder that was missing", change: func(p *place) { p.write("unlisted/b", "") }},
		{name: "a file that it read is gone", change: func(p *place) {
			p.write("pipeline.py", hello)
			if err := os.Remove(p.path("data.txt")); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "a variable", change: func(p *place) { p.set("LOGNAME", "somebody") }},
		{name: "a variable that it is not given", change: func(p *place) { p.set("TZ", "Mars/Olympus") }, stays: true},
		{name: "a variable is gone", change: func(p *place) { p.set("HOME") }},
		{name: "the interpreter's setting", change: func(p *place) { p.config.Python = realPython(t) }},
		{name: "the choice of a version manager", change: func(p *place) { p.write(".python-version", "3.11\n") }},
		{name: "the SDK", change: func(p *place) { p.config.PythonSDK = other(p.config.PythonSDK) }},
		{name: "the record is damaged", change: func(p *place) {
			file := p.config.recordFile(p.find())
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, b[:len(b)-1], 0o644); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, map[string]string{
				"pipeline.py": dependent, "stages/__init__.py": "", "stages/one.py": "x = 1\n", "data.txt": "a", "listed/a": "", "docs/y": "",
			})
			store := mem.New()
			snapshots, err := source.Open(source.Config{Store: store, Repository: p.dir, IndexFile: filepath.Join(t.TempDir(), "index")})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := snapshots.Close(context.WithoutCancel(t.Context())); err != nil {
					t.Error(err)
				}
			}()
			p.config.Digest = snapshots.Digest
			if p.mustOpen().FromCache {
				t.Fatal("there was a record")
			}
			if !p.mustOpen().FromCache {
				t.Fatal("it was asked again though nothing had changed")
			}
			tt.change(p)
			if got := p.mustOpen().FromCache; got != tt.stays {
				t.Errorf("from the cache: %t, want %t", got, tt.stays)
			}
			if !p.mustOpen().FromCache {
				t.Error("it was asked again though nothing had changed since")
			}
		})
	}
}

func TestWrongProgramIsAnErrorWithItsPlaceEachTime(t *testing.T) {
	for _, tt := range []struct {
		name, program, want string
	}{
		{"a syntax error", "x = 1\ndef f(:\n", "pipeline.py:2: the program cannot be loaded: SyntaxError"},
		{"an exception", "x = 1\n\nraise ValueError('no')\n", "pipeline.py:3: the program cannot be loaded: ValueError: no"},
		{"an exception in a module", "import broken\n", "broken.py:2: the program cannot be loaded: ZeroDivisionError"},
		{"a module that is not there", "import requests_is_not_here\n", "pipeline.py:1: the program cannot be loaded: ModuleNotFoundError"},
		{"an exit", "import sys\nsys.exit(3)\n", "pipeline.py:2: the program cannot be loaded: SystemExit"},
		{"an exit at once", "import os\nprint('bye', flush=True)\nos._exit(3)\n", "pipeline.py could not be loaded: the process of the pipeline program was lost: it ended: exit status 3"},
		{"two stages of one name", hello + "first = hello\n" + hello, "pipeline.py:"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, map[string]string{"pipeline.py": tt.program, "broken.py": "x = 1\n1 / 0\n"})
			started := p.countingPython()
			for range 2 {
				before := started()
				_, err := p.open()
				var wrong *Error
				if !errors.As(err, &wrong) || !strings.Contains(wrong.Error(), tt.want) {
					t.Fatalf("the error is %T %v, want %q", err, err, tt.want)
				}
				if started() == before {
					t.Error("a wrong program was remembered")
				}
			}
		})
	}
}

func TestProgramThatWaitsForEverEndsWithTheContext(t *testing.T) {
	p := newPlace(t, map[string]string{"pipeline.py": "import threading\nprint('waiting', flush=True)\nthreading.Event().wait()\n"})
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	p.config.Output = func(_, line string) {
		if line == "waiting" {
			cancel(cause)
		}
	}
	if s, err := Open(ctx, p.find(), p.config); s != nil || !errors.Is(err, cause) {
		t.Errorf("Open = %v, %v", s, err)
	}
}

func TestProgramThatTakesTooLongIsAnError(t *testing.T) {
	p := newPlace(t, map[string]string{"pipeline.py": "import threading\nthreading.Event().wait()\n"})
	p.config.patience = usualPatience()
	p.config.patience.describe = 2 * time.Second
	_, err := p.open()
	var wrong *Error
	if !errors.As(err, &wrong) || !strings.Contains(err.Error(), "it did not answer within 2s") {
		t.Errorf("the error is %T %v", err, err)
	}
}

func TestWhatAProgramPrintsIsToldAndHarmsNothing(t *testing.T) {
	p := newPlace(t, map[string]string{"pipeline.py": "import os\nprint('one\\ntwo')\nos.write(2, b'three')\n" + hello})
	p.mustOpen()
	for _, want := range []string{"one", "two", "three"} {
		if !strings.Contains(p.output(), want) {
			t.Errorf("%q is missing in %q", want, p.output())
		}
	}
}

func TestProgramThatChangedAfterItWasDescribedIsNotRun(t *testing.T) {
	p := newPlace(t, map[string]string{"pipeline.py": hello})
	p.mustOpen()
	s, err := p.open()
	if err != nil || !s.FromCache {
		t.Fatal(err)
	}
	p.write("pipeline.py", hello+"\n")
	_, err = s.Worker(t.Context())
	var wrong *Error
	if !errors.As(err, &wrong) || !strings.Contains(err.Error(), "pipeline.py was changed while it was being run") {
		t.Errorf("the error is %T %v", err, err)
	}
}

func TestInterpreterThatIsNotThereOrDoesNotWorkIsAnError(t *testing.T) {
	for want, set := range map[string]func(p *place){
		"was not found in PATH":               func(p *place) { p.set("PATH", t.TempDir()) },
		"does not work: fork/exec":            func(p *place) { p.config.Python = "/none/python3" },
		"does not work: unexpected end":       func(p *place) { p.script("") },
		"does not work: exit status 9":        func(p *place) { p.script("exit 9") },
		"is Python 3.10.4; pipelines need":    func(p *place) { p.script(`echo '["/x", "cpython", [3, 10, 4]]'`) },
		"does not work: json: cannot unmarsh": func(p *place) { p.script(`echo '[1, 2, 3]'`) },
	} {
		p := newPlace(t, map[string]string{"pipeline.py": hello})
		set(p)
		_, err := p.open()
		var wrong *Error
		if !errors.As(err, &wrong) || !strings.Contains(err.Error(), want) || wrong.Hint == "" {
			t.Errorf("the error is %T %v, want %q and a hint", err, err, want)
		}
	}
}

// script makes an interpreter of a shell script.
func (p *place) script(text string) {
	p.config.Python = filepath.Join(p.t.TempDir(), "python3")
	if err := os.WriteFile(p.config.Python, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		p.t.Fatal(err)
	}
}

func TestCacheThatCannotBeWrittenIsAnErrorAndLeavesNoProcess(t *testing.T) {
	checkGoroutines(t)
	p := newPlace(t, map[string]string{"pipeline.py": hello})
	if err := os.MkdirAll(p.config.recordFile(p.find()), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := p.open(); err == nil || !strings.Contains(err.Error(), "remember the plan") {
		t.Errorf("the error is %v", err)
	}
}

func TestPlanThatIsWrongIsAnErrorOfThePlan(t *testing.T) {
	p := newPlace(t, map[string]string{"pipeline.py": "from towpath import Directory, source, stage\n\n@stage\ndef a(src: Directory = source(\"/etc\")) -> str:\n    return \"\"\n"})
	_, err := p.open()
	var wrong *Error
	var refused *plan.Error
	if !errors.As(err, &wrong) && !errors.As(err, &refused) || !strings.Contains(err.Error(), "pipeline.py:") {
		t.Errorf("the error is %T %v", err, err)
	}
}

func TestManyUnpackTheSDKAtOnce(t *testing.T) {
	p := newPlace(t, nil)
	var group sync.WaitGroup
	paths := make([]string, 16)
	for i := range paths {
		group.Go(func() {
			var err error
			if paths[i], err = p.config.SDKPath(Python); err != nil {
				t.Error(err)
				return
			}
			// Whole as soon as it is there.
			err = fs.WalkDir(p.config.PythonSDK, ".", func(name string, d fs.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				want, err := fs.ReadFile(p.config.PythonSDK, name)
				if err != nil {
					return err
				}
				if got, err := os.ReadFile(filepath.Join(paths[i], filepath.FromSlash(name))); err != nil || string(got) != string(want) {
					t.Errorf("%s is not as it should be: %v", name, err)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	list, err := os.ReadDir(filepath.Dir(paths[0]))
	if err != nil || len(list) != 1 {
		t.Errorf("%d folders are left: %v, %v", len(list), list, err)
	}
}

// An interpreter that was written a moment ago is no error, though processes that are being started at the same time hold it open for an instant.
func TestInterpretersThatAreWrittenWhileProcessesStart(t *testing.T) {
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 15 {
				path := filepath.Join(t.TempDir(), "python3")
				if err := os.WriteFile(path, []byte("#!/bin/sh\necho '[]'\n"), 0o755); err != nil {
					t.Error(err)
				} else if _, _, err := ask(t.Context(), path, "/"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}
