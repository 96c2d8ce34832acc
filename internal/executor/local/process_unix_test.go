//go:build !windows

package local_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/towpath/towpath/internal/executor"
	"github.com/towpath/towpath/internal/nobody"
)

// pulse is a named pipe that processes hold open for as long as they live.
type pulse struct {
	path string
	t    *testing.T
}

func newPulse(t *testing.T) pulse {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pulse")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return pulse{path, t}
}

// open waits until a process has the pipe open for writing.
func (p pulse) open() *os.File {
	p.t.Helper()
	f, err := os.OpenFile(p.path, os.O_RDONLY, 0)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { f.Close() })
	return f
}

// stops waits until no process has the pipe open any more.
func stops(t *testing.T, f *os.File) string {
	t.Helper()
	if err := f.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatalf("a process of the step is still alive: %v", err)
	}
	return string(b)
}

// TestNothingOutlivesTheStep holds for processes that a step leaves behind in ways that get harder.
func TestNothingOutlivesTheStep(t *testing.T) {
	tests := []struct {
		name, script string
		linux        bool // only there it can be found
	}{
		{"in the background", `sleep 1000 >"$P" 2>&1 & : >"$P"`, false},
		{"deaf to signals", `(trap "" TERM HUP INT; sleep 1000) >"$P" 2>&1 & : >"$P"`, false},
		{"forked twice", `( (sleep 1000 >"$P" 2>&1 &) ); : >"$P"`, false},
		{"in a session of its own", `setsid sh -c 'exec >"$P" 2>&1; echo; exec sleep 1000' & read line <"$P2"`, true},
		{"a daemon with its output open", `(setsid sh -c 'exec 3>"$P"; echo >&3; sleep 1000' &) ; read line <"$P2"`, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.linux && runtime.GOOS != "linux" {
				t.Skip("such a process is not found here")
			}
			f := newFixture(t)
			p, p2 := newPulse(t), newPulse(t)
			a := f.action(t, executor.Command{
				Args: []string{"sh", "-c", test.script}, Env: []executor.EnvVar{{Name: "P", Value: p.path}, {Name: "P2", Value: p2.path}},
			}, nil)
			ended := make(chan error, 1)
			go func() {
				_, err := f.Execute(t.Context(), a, executor.Options{Stdout: io.Discard, Stderr: io.Discard})
				ended <- err
			}()
			reader := p.open()
			if test.linux {
				// The command goes on once its child has said that it is there.
				if _, err := reader.Read(make([]byte, 1)); err != nil {
					t.Fatal(err)
				}
				w, err := os.OpenFile(p2.path, os.O_WRONLY, 0)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := w.WriteString("go on\n"); err != nil {
					t.Error(err)
				}
				w.Close()
			}
			if err := <-ended; err != nil {
				t.Error(err)
			}
			stops(t, reader)
		})
	}
}

// TestCancelReachesTheGroup holds that children are asked to end as well, and killed in the end.
func TestCancelReachesTheGroup(t *testing.T) {
	f := newFixture(t)
	p := newPulse(t)
	script := `trap "echo parent asked; wait; exit" TERM; (trap "echo child asked; exit" TERM; echo >"$P"; while :; do sleep 1000 & wait; done) & wait`
	a := f.action(t, executor.Command{Args: []string{"sh", "-c", script}, Env: []executor.EnvVar{{Name: "P", Value: p.path}}}, nil)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		f, err := os.Open(p.path)
		if err == nil {
			_, err = io.ReadAll(f)
			f.Close()
		}
		if err != nil {
			t.Error(err)
		}
		cancel()
	}()
	var out strings.Builder
	_, err := f.Execute(ctx, a, executor.Options{Stdout: &out})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
	if !strings.Contains(out.String(), "child asked") || !strings.Contains(out.String(), "parent asked") {
		t.Errorf("they wrote %q", out.String())
	}
}

// TestReadOnlyFolders holds that a step cannot keep its workspace from being removed. For the superuser nothing is
// read-only.
func TestReadOnlyFolders(t *testing.T) {
	f := newFixture(t)
	result, _ := f.run(t, f.sh(t, "mkdir -p a/b/c && touch a/b/c/f && chmod 0 a/b/c && chmod 0555 a/b a . && mkdir $HOME/x && chmod 0 $HOME/x $HOME $TMPDIR"))
	if result.ExitCode != 0 {
		t.Errorf("%+v", result)
	}
	if left := workspaces(t, f.dir); len(left) > 0 {
		t.Errorf("left are %v", left)
	}
}

// TestUnreadableOutput holds that an output is captured whatever its permissions, for every user alike.
func TestUnreadableOutput(t *testing.T) {
	nobody.Run(t)
	f := newFixture(t)
	result, err := f.Execute(t.Context(), f.sh(t, "mkdir d && touch d/f && chmod 0 d/f d", "d"), executor.Options{})
	if err != nil || len(result.Entries) != 1 {
		t.Errorf("captured are %+v, %v", result.Entries, err)
	}
}

func TestLookUp(t *testing.T) {
	f := newFixture(t)
	files := map[string]string{
		"bin/tool": "#!/bin/sh\necho tool", "src/bin/tool": "#!/bin/sh\necho tool of src", "bin/noexec": "data",
		"empty": "#!\n", "lost": "#!/no/such/interpreter", "src/lost": "#!/no/such/interpreter",
	}
	run := func(cwd, path, name string) (string, error) {
		c := executor.Command{Args: []string{name}, Cwd: cwd}
		if path != "" {
			c.Env = []executor.EnvVar{{Name: "PATH", Value: path}}
		}
		var out strings.Builder
		_, err := f.Execute(t.Context(), f.action(t, c, files), executor.Options{Stdout: &out})
		return strings.TrimSpace(out.String()), err
	}
	tests := []struct{ cwd, path, name, want string }{
		{"", "bin:/bin:/usr/bin", "tool", "tool"},
		{"src", "bin:/bin:/usr/bin", "tool", "tool of src"},
		{"src", "missing:../bin:bin:/bin", "tool", "tool"},
		{"src", "", "./bin/tool", "tool of src"},
		{"src", "", "../bin/tool", "tool"},
	}
	for _, test := range tests {
		if got, err := run(test.cwd, test.path, test.name); got != test.want || err != nil {
			t.Errorf("%s in %q by %q: %q, %v, want %q", test.name, test.cwd, test.path, got, err, test.want)
		}
	}
	for _, test := range []struct{ path, name, want string }{
		{"bin", "noexec", `command "noexec" cannot be started: permission denied`},
		{"bin", "sh", `command "sh" is not in the step's PATH (bin)`},
		{"", "./empty", `command "./empty" cannot be started: exec format error`},
		{"", "./bin/tool/x", `command "./bin/tool/x" cannot be started: not a directory`},
		{"", "./lost", `command "./lost" cannot be started: "/no/such/interpreter", which its first line names as its interpreter, is not there`},
	} {
		_, err := run("", test.path, test.name)
		var notFound *executor.CommandNotFoundError
		if !errors.As(err, &notFound) || err.Error() != test.want {
			t.Errorf("%s: the error is %v, want %s", test.name, err, test.want)
		}
	}
}

// TestSlowWriter holds that all of the output arrives, however long somebody takes it.
func TestSlowWriter(t *testing.T) {
	f := newFixture(t)
	a := f.sh(t, "head -c 40000 /dev/zero")
	release := make(chan struct{})
	w := &gatedWriter{first: make(chan struct{}), release: release}
	ended := make(chan error, 1)
	go func() {
		_, err := f.Execute(t.Context(), a, executor.Options{Stdout: w})
		ended <- err
	}()
	<-w.first
	timer := time.NewTimer(time.Second) // longer than silence is borne
	<-timer.C
	close(release)
	if err := <-ended; err != nil || w.n != 40000 {
		t.Errorf("%d bytes arrived: %v", w.n, err)
	}
}

// gatedWriter tells of the first write and holds every one until it is released.
type gatedWriter struct {
	first, release chan struct{}
	n              int
}

func (w *gatedWriter) Write(b []byte) (int, error) {
	if w.n == 0 {
		close(w.first)
	}
	w.n += len(b)
	<-w.release
	return len(b), nil
}

func TestUsage(t *testing.T) {
	f := newFixture(t)
	result, _ := f.run(t, f.sh(t, `i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done`))
	if result.Duration <= 0 || result.UserTime+result.SystemTime <= 0 || result.MaxRSSBytes < 100_000 || result.MaxRSSBytes > 1<<30 {
		t.Errorf("it took %+v", result)
	}
}

// TestManyAtOnce runs programs that were written just before, which is when Linux may find them busy.
func TestManyAtOnce(t *testing.T) {
	f := newFixture(t)
	const n = 64
	a := f.action(t, executor.Command{Args: []string{"./tool"}}, map[string]string{"tool": "#!/bin/sh\nexit 0"})
	ended := make(chan error, n)
	for range n {
		go func() {
			_, err := f.Execute(t.Context(), a, executor.Options{})
			ended <- err
		}()
	}
	for range n {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

func BenchmarkExecute(b *testing.B) {
	f := newFixture(b)
	a := f.sh(b, "")
	a.Args = []string{"/bin/true"}
	for b.Loop() {
		if _, err := f.Execute(b.Context(), a, executor.Options{Stdout: io.Discard, Stderr: io.Discard}); err != nil {
			b.Fatal(err)
		}
	}
}
