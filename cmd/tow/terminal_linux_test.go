package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// screen is a terminal at which a test types.
type screen struct {
	t      *testing.T
	dir    string
	master *os.File
	ctx    context.Context

	mu      sync.Mutex
	text    string
	changed chan struct{} // closed and replaced when text changes, or the other end is closed
	closed  bool
}

// newScreen makes a terminal and a folder with a pipeline.
func newScreen(t *testing.T, pipeline string) *screen {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // for a text that never comes
	t.Cleanup(cancel)
	s := &screen{t: t, dir: filepath.Join(t.TempDir(), "p"), ctx: ctx, changed: make(chan struct{})}
	files := map[string]string{"pipeline.py": pipeline, "src/a": "one\n", ".git/keep": ""}
	for name, text := range files {
		path := filepath.Join(s.dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// start runs tow with the terminal as its own. The function that it returns waits for the exit code.
func (s *screen) start(args ...string) (wait func() int) {
	s.t.Helper()
	tow, err := exec.LookPath("tow")
	if err != nil {
		s.t.Fatal(err)
	}
	slave := s.pty()
	defer slave.Close()
	cmd := exec.CommandContext(s.ctx, tow, args...)
	cmd.Dir = s.dir
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Join(s.dir, "..", "home"), "TERM=xterm", "NO_COLOR=1", "TOW_PYTHON=" + interpreter(s.t), "GORACE=atexit_sleep_ms=0",
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	return func() int {
		s.t.Helper()
		var exit *exec.ExitError
		if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
			s.t.Fatal(err)
		}
		if s.t.Failed() {
			s.t.Logf("the screen shows\n%s", s.text)
		}
		return cmd.ProcessState.ExitCode()
	}
}

// pty makes the terminal anew and returns the end of it that programs see.
func (s *screen) pty() *os.File {
	s.t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		s.t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		s.t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	s.mu.Lock()
	s.master, s.text, s.closed = master, "", false
	s.mu.Unlock()
	s.resize(100, 30)
	go s.read(master)
	return slave
}

func (s *screen) read(master *os.File) {
	buf := make([]byte, 4096)
	for {
		n, err := master.Read(buf)
		s.mu.Lock()
		if s.master == master {
			s.text += string(buf[:n])
			s.closed = err != nil
		}
		close(s.changed)
		s.changed = make(chan struct{})
		s.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (s *screen) resize(columns, rows uint16) {
	s.t.Helper()
	if err := unix.IoctlSetWinsize(int(s.master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: columns, Row: rows}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *screen) press(keys string) {
	s.t.Helper()
	if _, err := s.master.WriteString(keys); err != nil {
		s.t.Fatal(err)
	}
}

// await waits until the screen shows something that it has not been asked for yet.
func (s *screen) await(text string) {
	s.t.Helper()
	for {
		s.mu.Lock()
		_, after, found := strings.Cut(s.text, text)
		seen, closed, changed := s.text, s.closed, s.changed
		if found {
			s.text = after
		}
		s.mu.Unlock()
		switch {
		case found:
			return
		case closed:
			s.t.Fatalf("it ended without %q:\n%s", text, seen)
		}
		select {
		case <-changed:
		case <-s.ctx.Done():
			s.t.Fatalf("there is no %q:\n%s", text, seen)
		}
	}
}

// failing is a pipeline whose second step fails.
const failing = `from towpath import Directory, run, source, stage


@stage
async def test(src: Directory = source("src")) -> None:
    await run("true")
    await run("sh", "-c", "touch made; cat a; exit 3", tree=src, cwd="src", env={"GIVEN": "it"})


@stage
def plain() -> int:
    raise ValueError("no")
`

// Whatever the isolation, the shell is where the step was, and the terminal is the shell's: keys, size and end.
func TestAShellOnATerminal(t *testing.T) {
	t.Parallel()
	for _, isolation := range []string{"auto", "workspace"} {
		t.Run(isolation, func(t *testing.T) {
			t.Parallel()
			s := newScreen(t, failing)
			if code := s.start("run", "test", "--isolation", isolation)(); code != 1 {
				t.Fatalf("the run ended with exit code %d", code)
			}
			wait := s.start("shell", "test", "--isolation", isolation)
			s.await("step 2 of stage test of run ")
			s.await("ended with exit code 3")
			s.await("$ sh -c 'touch made; cat a; exit 3'")
			s.press("echo at ${PWD##*/} $GIVEN $(ls)\r")
			s.await("at src it a")
			s.resize(77, 33)
			// The size arrives with a signal, at some time.
			s.press("until test \"$(stty size)\" = '33 77'; do :; done; echo si''zed\r")
			s.await("sized")
			// Ctrl-C ends what the shell runs, and neither the shell nor tow.
			s.press("PS1='rea''dy> '\r")
			s.await("ready> ")
			s.press("cat a -\r") // one process: a shell between two commands may keep the key to itself
			s.await("one")
			s.press("\x03")
			s.await("ready> ") // what is typed before may be thrown away with what the key ended
			s.press("echo st''ill here\r")
			s.await("still here")
			s.press("exit 9\r")
			if code := wait(); code != 9 {
				t.Errorf("the exit code is %d", code)
			}
			// Ctrl-D ends the shell as well.
			wait = s.start("shell", "test", "--isolation", isolation)
			s.await("cat a; exit 3'")
			s.press("PS1='rea''dy> '\r")
			s.await("ready> ")
			s.press("\x04")
			if code := wait(); code != 0 {
				t.Errorf("the exit code is %d", code)
			}
		})
	}
}

func TestAShellOpensWhenAStepFails(t *testing.T) {
	t.Parallel()
	s := newScreen(t, failing)
	wait := s.start("run", "test", "--shell-on-failure")
	s.await("failed: 1 failed")
	s.await("step 2 of stage test of run ")
	s.await("$ sh -c ")
	s.press("echo in ${PWD##*/}; exit 9\r")
	s.await("in src")
	if code := wait(); code != 1 {
		t.Errorf("the exit code is %d, and should be that of the run", code)
	}
	wait = s.start("run", "plain", "--shell-on-failure")
	s.await("stage plain failed outside of its steps, so there is no sandbox to open")
	if code := wait(); code != 1 {
		t.Errorf("the exit code is %d", code)
	}
}
