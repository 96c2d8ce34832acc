package session

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/towpath/towpath"
	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/sdk"
)

func TestMain(m *testing.M) {
	if mischief, ok := os.LookupEnv(mischiefVariable); ok {
		misbehave(mischief)
	}
	os.Exit(m.Run())
}

// place is a repository on disk with a cache folder beside it.
type place struct {
	t      *testing.T
	dir    string
	config Config

	mu    sync.Mutex
	lines []string
}

// newPlace makes a repository of files by path.
func newPlace(t *testing.T, files map[string]string) *place {
	t.Helper()
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	p := &place{t: t, dir: filepath.Join(base, "repo")}
	p.write(".git/HEAD", "ref: refs/heads/main\n")
	for name, text := range files {
		p.write(name, text)
	}
	p.config = Config{
		CacheDir: filepath.Join(base, "cache"), Version: "test", Lookup: os.LookupEnv, Digest: digestOfFile,
		PythonSDK: sdk.Python(), GoSDK: towpath.SDKSource(), Output: p.printed,
	}
	return p
}

func digestOfFile(_ context.Context, path string) (digest.Digest, error) {
	b, err := os.ReadFile(path)
	return digest.OfBytes(b), err
}

func (p *place) printed(_, line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lines = append(p.lines, line)
}

func (p *place) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines, "\n")
}

func (p *place) path(name string) string { return filepath.Join(p.dir, filepath.FromSlash(name)) }

func (p *place) write(name, text string) {
	p.t.Helper()
	if err := os.MkdirAll(filepath.Dir(p.path(name)), 0o755); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(p.path(name), []byte(text), 0o644); err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) find() Program {
	p.t.Helper()
	program, err := Find(p.dir, "")
	if err != nil {
		p.t.Fatal(err)
	}
	return program
}

// open describes the program; the session is closed at the end of the test.
func (p *place) open() (*Session, error) {
	p.t.Helper()
	s, err := Open(p.t.Context(), p.find(), p.config)
	if s != nil {
		p.t.Cleanup(s.Close)
	}
	if (s == nil) == (err == nil) {
		p.t.Fatalf("Open returned both or neither of a session and an error: %v", err)
	}
	return s, err
}

// mustOpen describes the program and closes the session.
func (p *place) mustOpen() *Session {
	p.t.Helper()
	s, err := p.open()
	if err != nil {
		p.t.Fatal(err)
	}
	s.Close()
	return s
}

// set changes a variable for the program; no value removes it.
func (p *place) set(name string, value ...string) {
	before := p.config.Lookup
	p.config.Lookup = func(asked string) (string, bool) {
		if asked != name {
			return before(asked)
		}
		return strings.Join(value, ""), len(value) > 0
	}
}

// realPython is the interpreter behind whatever is first in PATH.
func realPython(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("python3", "-I", "-c", "import os, sys; print(os.path.realpath(sys.executable))").Output()
	if err != nil {
		t.Fatalf("the tests need Python: %v", err)
	}
	return strings.TrimSpace(string(out))
}

// fakePython makes an interpreter of its own which notes how often it is started, and runs command for what is no question about itself.
func (p *place) fakePython(command string) (started func() int) {
	p.t.Helper()
	path, notes := filepath.Join(p.t.TempDir(), "python3"), filepath.Join(p.t.TempDir(), "notes")
	text := fmt.Sprintf("#!/bin/sh\necho >> '%s'\ncase \"$*\" in *sys.version_info*) echo '[\"%s\", \"cpython\", [3, 11, 0]]';; *) exec %s;; esac\n", notes, path, command)
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		p.t.Fatal(err)
	}
	p.config.Python = path
	return func() int {
		b, err := os.ReadFile(notes)
		if err != nil && !os.IsNotExist(err) {
			p.t.Fatal(err)
		}
		return strings.Count(string(b), "\n")
	}
}

func (p *place) countingPython() (started func() int) {
	p.t.Helper()
	return p.fakePython("'" + realPython(p.t) + `' "$@"`)
}

// checkGoroutines fails the test when goroutines of this package are left at its end.
func checkGoroutines(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		stacks := make([]byte, 1<<20)
		for end := time.Now().Add(10 * time.Second); ; runtime.Gosched() {
			text := string(stacks[:runtime.Stack(stacks, true)])
			if !strings.Contains(text, "session.start") && !strings.Contains(text, "session.(*Worker)") {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("goroutines are left:\n%s", text)
			}
		}
	})
}
