package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/towpath/towpath/internal/event"
)

// watched is a `tow run --watch` that goes on.
type watched struct {
	t     *testing.T
	ctx   context.Context
	dir   string
	cmd   *exec.Cmd
	lines *bufio.Scanner
	said  []string
	out   bytes.Buffer
}

// watch starts `tow run --watch` for a pipeline in a folder of its own.
func watch(t *testing.T, files map[string]string, args ...string) *watched {
	t.Helper()
	return watchPrepared(t, files, func(string) {}, args...)
}

// watchPrepared is watch of a folder that prepare has had once the files are in it.
func watchPrepared(t *testing.T, files map[string]string, prepare func(dir string), args ...string) *watched {
	t.Helper()
	w := &watched{t: t, dir: filepath.Join(t.TempDir(), "p")}
	if err := os.MkdirAll(filepath.Join(w.dir, ".git"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		w.save(name, text)
	}
	prepare(w.dir)
	tow, err := exec.LookPath("tow")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute) // for one that waits for what never comes
	t.Cleanup(cancel)
	w.ctx = ctx
	w.cmd = exec.CommandContext(ctx, tow, append([]string{"run", "--watch", "--verbose"}, args...)...)
	w.cmd.Dir = w.dir
	home := filepath.Join(w.dir, "..", "home")
	w.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "TMPDIR=" + t.TempDir(), "TOW_PYTHON=" + interpreter(t), "GORACE=atexit_sleep_ms=0"}
	w.cmd.Stdout = &w.out
	stderr, err := w.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = w.cmd.Process.Kill()
		_ = w.cmd.Wait()
		if t.Failed() {
			t.Logf("[stdout]\n%s[stderr]\n%s", w.out.String(), strings.Join(w.said, "\n"))
		}
	})
	w.lines = bufio.NewScanner(stderr)
	return w
}

func (w *watched) save(name, text string) {
	w.t.Helper()
	path := filepath.Join(w.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		w.t.Fatal(err)
	}
}

// await waits until tow says something.
func (w *watched) await(text string) {
	w.t.Helper()
	for w.lines.Scan() {
		w.said = append(w.said, w.lines.Text())
		if strings.Contains(w.lines.Text(), text) {
			return
		}
	}
	w.t.Fatalf("it ended and did not say %q", text)
}

// read waits until someone writes to a fifo.
func (w *watched) read(fifo string) {
	w.t.Helper()
	if err := exec.CommandContext(w.ctx, "cat", fifo).Run(); err != nil {
		w.t.Fatalf("nobody wrote to the fifo: %v", err)
	}
}

// end interrupts tow and returns what it printed. It must end with exit code 130.
func (w *watched) end() string {
	w.t.Helper()
	if err := w.cmd.Process.Signal(os.Interrupt); err != nil {
		w.t.Fatal(err)
	}
	for w.lines.Scan() {
		w.said = append(w.said, w.lines.Text())
	}
	var exit *exec.ExitError
	if err := w.cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 130 {
		w.t.Errorf("it ended with %v", err)
	}
	return w.out.String()
}

const waiting = "waiting for a file to be saved"

// cat is a pipeline whose stage reads its sources.
const cat = `from towpath import Directory, run, source, stage


@stage
async def cat(src: Directory = source("src")) -> None:
    await run("sh", "-c", "cat src/*", tree=src)
`

func TestWatchRunsAgainWhenWhatMattersIsSaved(t *testing.T) {
	t.Parallel()
	w := watch(t, map[string]string{"pipeline.py": cat, "src/a": "one\n", ".gitignore": "ignored\n"})
	w.await(waiting)
	w.save("ignored/x", "x")
	w.save("README", "nothing that a stage takes")
	w.await("README changed, and nothing that the stages depend on")
	w.save("src/a", "two\n")
	w.await("src/a changed; running again")
	w.await(waiting)
	w.save("src/new/b", "three\n") // in a folder that was not there
	w.await("running again")
	w.await(waiting)
	w.save("pipeline.py", strings.Replace(cat, "cat src/*", "echo four", 1))
	w.await("pipeline.py changed; running again")
	w.await(waiting)
	out := w.end()
	if strings.Contains(strings.Join(w.said, "\n"), "ignored") {
		t.Error("it looks at what is ignored")
	}
	for _, want := range []string{"│ one\n", "│ two\n", "│ four\n", "src/a changed", "src/new/b is new", "pipeline.py of the pipeline program changed"} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not print %q", want)
		}
	}
}

func TestWatchSaysWhatIsWrongAndGoesOn(t *testing.T) {
	t.Parallel()
	w := watch(t, map[string]string{"pipeline.py": "x =\n", "src/a": "one\n"})
	w.await("the program cannot be loaded")
	w.await(waiting)
	w.save("pipeline.py", strings.Replace(cat, "cat src/*", "exit 3", 1))
	w.await(waiting)
	w.save("pipeline.py", cat)
	w.await(waiting)
	if out := w.end(); !strings.Contains(out, "failed: 1 failed") || !strings.Contains(out, "ok: 1 ran") {
		t.Error("it did not fail and then succeed")
	}
}

// A module that a function imports when it is called is not known before. After a failure, every save of code is a reason to try again; after a success
// the result says what it depends on.
func TestWatchSeesWhatIsImportedLate(t *testing.T) {
	t.Parallel()
	w := watch(t, map[string]string{
		"pipeline.py": "from towpath import stage\n\n\n@stage\ndef late() -> int:\n    import helper\n    return helper.n\n",
		"helper.py":   "n = 1 / 0\n",
	})
	w.await(waiting)
	for _, text := range []string{"n = 1\n", "n = 2\n"} {
		w.save("helper.py", text)
		w.await("helper.py changed; running again")
		w.await(waiting)
	}
	if out := w.end(); !strings.Contains(out, "failed: 1 failed") || strings.Count(out, "ok: 1 ran") != 2 {
		t.Error("it did not fail once and then succeed twice")
	}
}

// A save during a run ends the run; what it started ends with it. The runs follow each other in the stream of events.
func TestWatchStartsAgainWhenSomethingIsSavedDuringARun(t *testing.T) {
	t.Parallel()
	started := filepath.Join(t.TempDir(), "started")
	if err := exec.Command("mkfifo", started).Run(); err != nil {
		t.Fatal(err)
	}
	long := strings.Replace(cat, `"cat src/*"`, `"echo > `+started+`; test -s src/a || tail -f /dev/null"`, 1)
	w := watch(t, map[string]string{"pipeline.py": long, "src/a": ""}, "--json", "--isolation", "workspace")
	w.read(started)
	w.save("src/a", "enough\n")
	w.await("src/a changed; running again")
	w.read(started)
	w.await(waiting)
	var runs [][]event.Record
	for dec := json.NewDecoder(strings.NewReader(w.end())); ; {
		var r event.Record
		if err := dec.Decode(&r); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if r.Seq == 1 {
			runs = append(runs, nil)
		}
		runs[len(runs)-1] = append(runs[len(runs)-1], r)
	}
	var ends []event.Outcome
	for _, run := range runs {
		if err := wellFormed(run); err != nil {
			t.Error(err)
		}
		ends = append(ends, run[len(run)-1].Event.(event.RunFinished).Outcome)
	}
	if len(ends) != 2 || ends[0] != event.Cancelled || ends[1] != event.Succeeded {
		t.Errorf("the runs ended %v", ends)
	}
}
