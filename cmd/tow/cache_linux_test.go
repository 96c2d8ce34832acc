package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const chain = `from towpath import File, out, param, run, source, stage, Directory


@stage
async def first(src: Directory = source("a.txt")) -> File:
    return (await run("sh", "-c", "cat a.txt; cat a.txt a.txt >b.txt", tree=src, outputs=["b.txt"])).file("b.txt")


@stage
async def second(f: File = out(first), n: str = param("0")) -> File:
    return (await run("sh", "-c", f"echo {n}; cat b.txt >c.txt", tree={"b.txt": f}, outputs=["c.txt"])).file("c.txt")


@stage
async def third(f: File = out(second), src: Directory = source("a.txt")) -> str:
    return await (await run("cat", "c.txt", tree={"c.txt": f})).stdout.text()
`

// place is a folder with a pipeline, and where its tow keeps things.
type place struct {
	t                   *testing.T
	tow, python         string
	dir, cache, history string
}

func newPlace(t *testing.T, cache, text string) place {
	t.Helper()
	tow, err := exec.LookPath("tow")
	if err != nil {
		t.Fatal(err)
	}
	top := t.TempDir()
	p := place{t: t, tow: tow, python: interpreter(t), dir: filepath.Join(top, "p"), cache: cache, history: filepath.Join(top, "state")}
	for name, text := range map[string]string{"pipeline.py": chain, "a.txt": text, ".git/keep": ""} {
		path := filepath.Join(p.dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// command returns a tow that is not started yet.
func (p place) command(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(p.t.Context(), p.tow, args...)
	cmd.Dir = p.dir
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Dir(p.dir), "TOW_CACHE_DIR=" + p.cache, "TOW_STATE_DIR=" + p.history, "TOW_PYTHON=" + p.python,
		"GORACE=atexit_sleep_ms=0",
	}
	if isolation, ok := os.LookupEnv("TOW_ISOLATION"); ok {
		cmd.Env = append(cmd.Env, "TOW_ISOLATION="+isolation)
	}
	return cmd
}

// run runs tow and returns its exit code and what it printed.
func (p place) run(args ...string) (int, string) {
	cmd := p.command(args...)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.t.Errorf("tow %v: %v", args, err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// want runs tow, which must end with a code and print a text.
func (p place) want(code int, text string, args ...string) {
	p.t.Helper()
	if got, out := p.run(args...); got != code || !strings.Contains(out, text) {
		p.t.Errorf("tow %v ended with %d, want %d and %q:\n%s", args, got, code, text, out)
	}
}

// age makes everything in the cache look as if it had been used last a day ago.
func age(t *testing.T, cache string) {
	t.Helper()
	day := time.Now().Add(-24 * time.Hour)
	for _, part := range []string{"cas/blobs", "results", "checkouts", "programs", "sdk", "index"} {
		err := filepath.WalkDir(filepath.Join(cache, part), func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			modified := time.Time{}
			if part == "programs" || part == "index" || part == "sdk" && d.IsDir() {
				modified = day
			}
			return os.Chtimes(path, day, modified)
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
}

// Collecting as much as it can beside running pipelines disturbs none of them: each finds what it has, or makes it again, and needs nothing that went.
func TestCollectBesideRuns(t *testing.T) {
	cache := t.TempDir()
	var places []place
	for i := range 3 {
		places = append(places, newPlace(t, cache, fmt.Sprintf("text %d\n", i%2)))
	}
	for round := range 2 {
		age(t, cache)
		var runs sync.WaitGroup
		for _, p := range places {
			runs.Go(func() {
				for n := range 3 {
					code, out := p.run("run", "--param", fmt.Sprintf("n=%d", (round+n)%3))
					if code != 0 || strings.Contains(out, "lost or damaged") {
						t.Errorf("a run ended with %d:\n%s", code, out)
					}
				}
			})
		}
		done := make(chan struct{})
		go func() { runs.Wait(); close(done) }()
		for over := false; !over; {
			select {
			case <-done:
				over = true
			default:
			}
			if code, out := places[0].run("cache", "gc", "--max-size", "0"); code != 0 {
				t.Errorf("gc ended with %d:\n%s", code, out)
			}
		}
	}
	places[0].want(0, "ok: nothing is damaged", "cache", "verify")
}

// A full disk is one clear error at whatever point of a run it shows, and the next run goes on as soon as there is room. The disk is a small one, which
// the test mounts in a namespace of its own.
func TestFullDisk(t *testing.T) {
	const variable = "TOWPATH_TEST_FULL"
	if dir := os.Getenv(variable); dir != "" {
		testFullDisk(t, dir)
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestFullDisk$", "-test.v")
	cmd.Env = append(os.Environ(), variable+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		cmd.Env = append(cmd.Env, "TOW_ISOLATION=workspace") // in a namespace with one user there is nobody to give the files of a sandbox to
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		}
	}
	out, err := cmd.CombinedOutput()
	switch {
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.ENOSPC), strings.Contains(string(out), "--- SKIP"):
		t.Skipf("this system lets nobody mount: %v", err)
	case err != nil:
		t.Errorf("%v\n%s", err, out)
	}
}

func testFullDisk(t *testing.T, disk string) {
	if err := syscall.Mount("tow", disk, "tmpfs", 0, "size=4m"); err != nil {
		t.Skipf("mount: %v", err)
	}
	p := newPlace(t, filepath.Join(disk, "cache"), "text\n")
	p.want(0, "ok: 3 ran", "run")
	fill, free := filepath.Join(disk, "fill"), int64(0)
	for ; free < 1<<20; free = max(2*free, 8<<10) {
		fillDisk(t, fill, free)
		if err := os.WriteFile(filepath.Join(p.dir, "a.txt"), fmt.Appendf(nil, "text of %d\n", free), 0o644); err != nil {
			t.Fatal(err)
		}
		code, out := p.run("run")
		if code == 0 {
			break
		}
		if code != 3 || !strings.Contains(out, "no space left on device") || !strings.Contains(out, "\nhint: free space or run `tow cache gc`") {
			t.Errorf("with %d bytes free tow run ended with %d:\n%s", free, code, out)
		}
		p.want(0, "ok: nothing is damaged", "cache", "verify")
	}
	if free == 0 {
		t.Error("a run succeeded without room")
	}
	fillDisk(t, fill, 0)
	age(t, p.cache)
	p.want(0, "freed", "cache", "gc", "--max-size", "0")
	p.want(0, "ok: 3 ran", "run")
	p.want(0, "ok: nothing is damaged", "cache", "verify")
}

// fillDisk leaves about that many bytes of the disk free.
func fillDisk(t *testing.T, path string, free int64) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	var n int64
	for err == nil {
		var m int
		m, err = f.Write(make([]byte, 4<<10))
		n += int64(m)
	}
	if err := errors.Join(f.Truncate(max(n-free, 0)), f.Close()); err != nil {
		t.Fatal(err)
	}
}
