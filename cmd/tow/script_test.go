package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/towpath/towpath/internal/event"
	"github.com/towpath/towpath/internal/sandbox"
)

func TestMain(m *testing.M) {
	sandbox.MainIfHelper()
	testscript.Main(m, map[string]func(){"tow": main})
}

// TestScript runs testdata/script/*.txtar, one script for each behaviour of the command, with a real interpreter and real steps.
//
// A script starts in the folder p of its work folder, which is a repository, with an empty home. $CACHE is where tow keeps what it can make again,
// $PYTHON the interpreter. Besides the commands of testscript there are those of commands.
func TestScript(t *testing.T) {
	python := interpreter(t)
	shared := t.TempDir()
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"), Cmds: commands(), RequireExplicitExec: true, RequireUniqueNames: true,
		Deadline: time.Now().Add(8 * time.Minute), // for a script that waits for what never comes
		Setup: func(e *testscript.Env) error {
			home := filepath.Join(e.WorkDir, "home")
			cache := filepath.Join(home, ".cache", "towpath")
			p := filepath.Join(e.WorkDir, "p")
			for _, dir := range []string{cache, filepath.Join(p, ".git"), filepath.Join(shared, "sdk")} {
				if err := os.MkdirAll(dir, 0o755); err != nil {
					return err
				}
			}
			// The SDK is unpacked and compiled once for all scripts, as it is once for all pipelines of a machine. A script that clears the cache, of which
			// the SDK is a part, removes the link first.
			if err := os.Symlink(filepath.Join(shared, "sdk"), filepath.Join(cache, "sdk")); err != nil {
				return err
			}
			e.Setenv("HOME", home)
			e.Setenv("CACHE", cache)
			e.Setenv("PYTHON", python)
			e.Setenv("TOW_PYTHON", python)
			e.Setenv("MARK", strconv.Itoa(os.Getpid())) // for what no process of other tests has among its arguments
			e.Setenv("GORACE", "atexit_sleep_ms=0")     // else the race detector keeps every tow for a second when it ends
			e.Cd = p
			return setGo(e)
		},
	})
}

// setGo lets Go pipelines use the caches that the tests themselves were built with, and nothing from the network.
func setGo(e *testscript.Env) error {
	out, err := exec.Command("go", "env", "-json", "GOCACHE", "GOMODCACHE", "GOPATH").Output()
	if err != nil {
		return fmt.Errorf("ask `go env`: %w", err)
	}
	var vars map[string]string
	if err := json.Unmarshal(out, &vars); err != nil {
		return fmt.Errorf("ask `go env`: %w", err)
	}
	vars["GOPROXY"], vars["GOFLAGS"], vars["GOTOOLCHAIN"] = "off", "", "local"
	for name, value := range vars {
		e.Setenv(name, value)
	}
	return nil
}

// interpreter returns the real file of the Python that pipelines are run with: that of TOW_PYTHON, else python3.
func interpreter(t *testing.T) string {
	t.Helper()
	name := os.Getenv("TOW_PYTHON")
	if name == "" {
		name = "python3"
	}
	const ask = "import os, sys; print(os.path.realpath(sys.executable)); sys.exit(sys.version_info < (3, 11))"
	out, err := exec.Command(name, "-I", "-c", ask).Output()
	if err != nil {
		t.Fatalf("the tests need Python 3.11 or later, as python3 or as $TOW_PYTHON: %v", err)
	}
	return strings.TrimSpace(string(out))
}

// commands are those that scripts have besides the ones of testscript.
func commands() map[string]func(ts *testscript.TestScript, neg bool, args []string) {
	return map[string]func(ts *testscript.TestScript, neg bool, args []string){
		"code":    code,
		"signal":  signalled,
		"gone":    gone,
		"events":  events,
		"replace": replace,
		"corrupt": corrupt,
		"lose":    lose,
	}
}

// code runs a command that must end with an exit code: `code 2 tow check`.
func code(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N COMMAND [ARG…]")
	}
	expect(ts, args[0], ts.Exec(args[1], args[2:]...))
}

func expect(ts *testscript.TestScript, want string, err error) {
	got := 0
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(got) != want {
		ts.Fatalf("the exit code is %d and should be %s", got, want)
	}
}

// signalled runs a command, waits until it prints a text, and sends it a signal: `signal INT 130 started tow run --verbose`.
func signalled(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 4 {
		ts.Fatalf("usage: signal SIGNAL N TEXT COMMAND [ARG…]")
	}
	sig, ok := map[string]os.Signal{"INT": os.Interrupt, "TERM": syscall.SIGTERM, "KILL": os.Kill}[args[0]]
	if !ok {
		ts.Fatalf("unknown signal %s", args[0])
	}
	command, err := exec.LookPath(args[3])
	ts.Check(err)
	cmd := exec.Command(command, args[4:]...)
	cmd.Dir, cmd.Env = ts.MkAbs("."), environ(ts)
	stdout := &awaited{text: args[2], printed: make(chan struct{})}
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = stdout, &stderr
	ts.Check(cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-stdout.printed:
		_ = cmd.Process.Signal(sig) // it may have ended, which its exit code tells
		err = <-ended
	case err = <-ended: // which its exit code tells, too: it is another than that of a signal
	}
	fmt.Fprint(ts.Stdout(), stdout.all.String())
	fmt.Fprint(ts.Stderr(), stderr.String())
	ts.Logf("[stdout]\n%s[stderr]\n%s", stdout.all.String(), stderr.String())
	expect(ts, args[1], err)
}

// awaited keeps what is written to it, and tells when that contains a text.
type awaited struct {
	all     bytes.Buffer
	text    string
	printed chan struct{}
	once    sync.Once
}

func (a *awaited) Write(p []byte) (int, error) {
	n, err := a.all.Write(p)
	if bytes.Contains(a.all.Bytes(), []byte(a.text)) {
		a.once.Do(func() { close(a.printed) })
	}
	return n, err
}

// gone checks that no process has a text among its arguments: `gone 86401.5`. It looks once: what tow starts ends before it does.
func gone(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: gone TEXT")
	}
	all, err := exec.Command("ps", "-A", "-o", "args").Output()
	ts.Check(err)
	for line := range strings.Lines(string(all)) {
		if strings.Contains(line, args[0]) {
			ts.Fatalf("there still is %s", line)
		}
	}
}

// environ is the environment of a script, as far as tow and its steps look at it.
func environ(ts *testscript.TestScript) []string {
	var env []string
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "WORK", "TOW_PYTHON", "TOW_ISOLATION", "GOCACHE"} {
		if value := ts.Getenv(name); value != "" {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// events checks that a file, or stdout, is what `tow run --json` promises: `events stdout`.
func events(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: events FILE")
	}
	var list []event.Record
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		var r event.Record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			ts.Fatalf("line %d: %v: %s", len(list)+1, err, line)
		}
		list = append(list, r)
	}
	if err := wellFormed(list); err != nil {
		ts.Fatalf("%v", err)
	}
}

// wellFormed says what is wrong with the events of a run that has ended.
func wellFormed(list []event.Record) error {
	finished := map[string]int{}
	expected := map[string]bool{}
	for i, r := range list {
		if r.Seq != int64(i+1) || r.Run != list[0].Run {
			return fmt.Errorf("event %d has the number %d and is of run %s", i+1, r.Seq, r.Run)
		}
		switch e := r.Event.(type) {
		case event.PlanMade:
			for _, s := range e.Stages {
				expected[s.Name] = true
			}
		case event.StageExpanded:
			for _, name := range e.Elements {
				expected[name] = true
			}
		case event.StageFinished:
			finished[e.Stage]++
		}
	}
	for name := range expected {
		if finished[name] != 1 {
			return fmt.Errorf("stage %s ended %d times", name, finished[name])
		}
	}
	if len(list) == 0 || len(finished) != len(expected) {
		return fmt.Errorf("%d stages were expected, %d ended", len(expected), len(finished))
	}
	if _, ok := list[0].Event.(event.RunStarted); !ok {
		return fmt.Errorf("the first event is %s", list[0].Event.Type())
	}
	if last := list[len(list)-1].Event; last.Type() != (event.RunFinished{}).Type() {
		return fmt.Errorf("the last event is %s", last.Type())
	}
	return nil
}

// replace replaces text, which must be there, in a file: `replace pipeline.py one two`.
func replace(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: replace FILE OLD NEW")
	}
	path := ts.MkAbs(args[0])
	b, err := os.ReadFile(path)
	ts.Check(err)
	if !bytes.Contains(b, []byte(args[1])) {
		ts.Fatalf("%s does not contain %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(path, bytes.ReplaceAll(b, []byte(args[1]), []byte(args[2])), 0o644))
}

// corrupt changes one bit of every blob that contains a text, as a disk does: nothing else of the file changes.
func corrupt(ts *testscript.TestScript, neg bool, args []string) {
	blobs(ts, neg, args, func(path string, content []byte) error {
		content[len(content)/2] ^= 1
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		return errors.Join(
			os.Chmod(path, 0o600), os.WriteFile(path, content, 0o600), os.Chmod(path, info.Mode()), os.Chtimes(path, info.ModTime(), info.ModTime()),
		)
	})
}

// lose removes every blob that contains a text.
func lose(ts *testscript.TestScript, neg bool, args []string) {
	blobs(ts, neg, args, func(path string, _ []byte) error { return os.Remove(path) })
}

func blobs(ts *testscript.TestScript, neg bool, args []string, do func(path string, content []byte) error) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: corrupt TEXT, lose TEXT")
	}
	found := 0
	err := filepath.WalkDir(filepath.Join(ts.Getenv("CACHE"), "cas"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(content, []byte(args[0])) {
			return err
		}
		found++
		return do(path, content)
	})
	ts.Check(err)
	if found == 0 {
		ts.Fatalf("no blob contains %q", args[0])
	}
}
