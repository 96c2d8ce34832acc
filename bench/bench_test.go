package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/towpath/towpath/bench/harness"
)

func TestCommandLine(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	names := "version-hello\nimport-asyncio\nschedule-100k\nsnapshot-warm-git-status\nsnapshot-cold-git-add\nsandbox-bwrap\nsandbox-root-crun\ninputs-20k\n" +
		"first-step-python\ncached-1000-ninja\ncached-1000-turborepo\ncold-1000-make\nartifact-4g-openssl-cp\nlog-1g-redirect\n"
	tests := []struct {
		args   string
		code   int
		stdout string
		stderr string
	}{
		{"-list", 0, names, ""},
		{"-list -run 100", 0, "schedule-100k\ncached-1000-ninja\ncached-1000-turborepo\ncold-1000-make\n", ""},
		{"-list -run ^import", 0, "import-asyncio\n", ""},
		{"-run nothing", 2, "", "no row has such a name"},
		{"-run [", 2, "", "missing closing ]"},
		{"-count 4", 2, "", "fewer than 5"},
		{"-count -1", 2, "", "fewer than 5"},
		{"-nonsense", 2, "", "flag provided but not defined"},
		{"version-hello", 2, "", `unexpected argument "version-hello"`},
		{"-h", 0, "", "-run regexp"},
		{"schedule-child sleep 10", 1, "", "number of stages"},
		{"schedule-child nothing 7", 1, "", "number of stages"},
	}
	for _, test := range tests {
		t.Run(test.args, func(t *testing.T) {
			var stdout, stderr strings.Builder
			code := bench(t.Context(), strings.Fields(test.args), &stdout, &stderr)
			if code != test.code || stdout.String() != test.stdout || !strings.Contains(stderr.String(), test.stderr) {
				t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout.String(), stderr.String())
			}
		})
	}
}

func TestInterruptedRowsAreReported(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("interrupted"))
	var stdout, stderr strings.Builder
	code := bench(ctx, []string{"-json", "-dir", t.TempDir()}, &stdout, &stderr)
	if code != 1 {
		t.Errorf("exit code %d", code)
	}
	if got := strings.Count(stdout.String(), `"error":"not run: interrupted"`); got != len(rows(&lab{})) {
		t.Errorf("%d rows say that they were not run:\n%s", got, stdout.String())
	}
}

func TestRowsAreComplete(t *testing.T) {
	seen := map[string]bool{}
	for _, row := range rows(&lab{}) {
		if !regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)+$`).MatchString(row.Name) || seen[row.Name] {
			t.Errorf("%s: not a name, or twice", row.Name)
		}
		seen[row.Name] = true
		if row.About == "" || row.Limit <= 0 || row.Runs < harness.MinRuns || len(row.Metrics) == 0 || row.Prepare == nil || row.Warmups < 1 {
			t.Errorf("%s: incomplete: %+v", row.Name, row)
		}
		page, err := os.ReadFile("../docs/performance.md")
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(page), "`"+row.Name+"`") {
			t.Errorf("docs/performance.md does not explain %s", row.Name)
		}
	}
}

func openLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{folder: filepath.Join(t.TempDir(), "lab"), progress: io.Discard}
	if err := l.open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func TestOneBenchAtATime(t *testing.T) {
	l := openLab(t)
	other := &lab{folder: l.folder, progress: io.Discard}
	if err := other.open(); err == nil || !strings.Contains(err.Error(), "another bench uses") {
		t.Errorf("error %v", err)
	}
}

func TestWorkloadIsPrimedOnce(t *testing.T) {
	l := openLab(t)
	primed := 0
	prime := func(folder string) error {
		primed++
		return os.WriteFile(filepath.Join(folder, "made"), nil, 0o666)
	}
	use := func(recipe string, files map[string]string) string {
		t.Helper()
		folder, err := l.workload("w", recipe, files, prime)
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range files {
			if got, err := os.ReadFile(filepath.Join(folder, name)); err != nil || string(got) != want {
				t.Errorf("%s holds %q, %v", name, got, err)
			}
		}
		return folder
	}
	files := map[string]string{"a/b.txt": "1", "c": "2"}
	folder := use("", files)
	use("", files)
	if primed != 1 {
		t.Errorf("primed %d times", primed)
	}
	files["c"] = "3"
	if err := os.WriteFile(filepath.Join(folder, "stale"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	use("", files)
	if _, err := os.Stat(filepath.Join(folder, "stale")); primed != 2 || err == nil {
		t.Errorf("primed %d times after a file changed; the folder must be made anew", primed)
	}
	use("another", files)
	if primed != 3 {
		t.Errorf("primed %d times after the recipe changed", primed)
	}

	broken := errors.New("killed half-way")
	_, err := l.workload("w", "third", files, func(string) error { return broken })
	if !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	use("another", files) // what was there before is gone
	if primed != 4 {
		t.Errorf("primed %d times: half a workload was taken for a whole one", primed)
	}
}

func TestEnvironmentHoldsNoSettings(t *testing.T) {
	for _, name := range []string{"CI", "PYTHONPATH", "TURBO_TOKEN", "TOW_JOBS", "GODEBUG", "http_proxy"} {
		t.Setenv(name, "1")
	}
	t.Setenv("PATH", "/somewhere")
	l := &lab{folder: "/cache"}
	env := l.environment("MORE=1")
	for _, want := range []string{"PATH=/somewhere", "TOW_CACHE_DIR=" + filepath.Join("/cache", "tow-cache"), "MORE=1"} {
		if !slices.Contains(env, want) {
			t.Errorf("no %s in %q", want, env)
		}
	}
	for _, variable := range env {
		if name, _, _ := strings.Cut(variable, "="); slices.Contains([]string{"CI", "PYTHONPATH", "TURBO_TOKEN", "TOW_JOBS", "GODEBUG", "http_proxy"}, name) {
			t.Errorf("%s is passed on", name)
		}
	}
}

func TestGraphsAreTheSame(t *testing.T) {
	ours, theirs := pipelineFiles(), turboFiles()
	build, rules := ninjaFiles()["build.ninja"], makeFiles()["Makefile"]
	edge := regexp.MustCompile(`= out\((\w+)\)`)
	dependency := regexp.MustCompile(`"(s_\d+_\d+)": "\*"`)
	stage := regexp.MustCompile(`(?m)^async def (\w+)\(`)
	stages, edges := 0, 0
	for layer := range layers {
		module := ours[fmt.Sprintf("stages/layer_%d.py", layer)]
		functions := strings.Split(module, "@stage\n")[1:]
		for i, function := range functions {
			name := stage.FindStringSubmatch(function)[1]
			if name != stageName(layer, i) {
				t.Fatalf("function %d of layer %d is %s", i, layer, name)
			}
			stages++
			manifest := theirs["packages/"+name+"/package.json"]
			a, b := matches(edge, function), matches(dependency, manifest)
			if !slices.Equal(a, b) || !slices.Equal(a, slices.Sorted(slices.Values(needs(layer, i)))) {
				t.Errorf("%s needs %v in Towpath and %v in Turborepo", name, a, b)
			}
			for tool, text := range map[string]string{"ninja": build, "make": rules} {
				line := regexp.MustCompile(`(?m)^(?:build )?out/` + name + `\.txt:.*$`).FindString(text)
				if c := matches(regexp.MustCompile(`out/(\w+)\.txt(?: |$)`), line); !slices.Equal(a, c) || !strings.Contains(line, " src/"+name+".txt") {
					t.Errorf("%s needs %v in Towpath, and to %s it is %q", name, a, tool, line)
				}
			}
			edges += len(a)
			if x, y := ours["src/"+name+".txt"], theirs["packages/"+name+"/src/in.txt"]; x == "" || x != y {
				t.Errorf("%s copies %q in Towpath and %q in Turborepo", name, x, y)
			}
		}
	}
	if stages != 1000 || edges != 2700 {
		t.Errorf("%d stages and %d edges", stages, edges)
	}
	if n := len(ours); n != 1000+layers+2 {
		t.Errorf("%d files: %v", n, slices.Sorted(maps.Keys(ours))[:20])
	}
}

func matches(pattern *regexp.Regexp, text string) []string {
	var found []string
	for _, m := range pattern.FindAllStringSubmatch(text, -1) {
		found = append(found, m[1])
	}
	slices.Sort(found)
	return found
}

func TestFullTurbo(t *testing.T) {
	const full = "   • Remote caching disabled\n\n Tasks:    1000 successful, 1000 total\nCached:    1000 cached, 1000 total\n  Time:    359ms >>> FULL TURBO\n"
	if err := fullTurbo(full); err != nil {
		t.Error(err)
	}
	for _, change := range [][2]string{
		{"1000 cached", "999 cached"},
		{"1000 cached, 1000 total", "100 cached, 100 total"},
		{" >>> FULL TURBO", ""},
		{"disabled", "enabled"},
	} {
		if fullTurbo(strings.Replace(full, change[0], change[1], 1)) == nil {
			t.Errorf("passes with %q instead of %q", change[1], change[0])
		}
	}
}

func TestAllCached(t *testing.T) {
	if err := allCached("plan: 1000 stages from pipeline.py, unchanged, 1 ms\nok: 1000 cached, 31 ms (saved 12 s)\n"); err != nil {
		t.Error(err)
	}
	for _, output := range []string{"", "ok: 1000 ran, 4 s\n", "ok: 1 ran, 999 cached, 4 s\n", "ok: 10000 cached, 1 s\n", "failed: 1 failed, 1000 cached, 4 s\n"} {
		if allCached(output) == nil {
			t.Errorf("passes with %q", output)
		}
	}
}

func TestAllRan(t *testing.T) {
	if err := allRan("plan: 1000 stages from pipeline.py, 1 ms\nok: 1000 ran, 2.1 s\n"); err != nil {
		t.Error(err)
	}
	for _, output := range []string{"", "ok: 1000 cached, 4 s\n", "ok: 1000 ran, 1 cached, 4 s\n", "ok: 999 ran, 1 cached, 4 s\n", "failed: 1 failed, 999 ran, 4 s\n"} {
		if allRan(output) == nil {
			t.Errorf("passes with %q", output)
		}
	}
}

func TestStepBegan(t *testing.T) {
	const cached = `{"type":"step.finished","cached":true}` + "\n"
	const output = `{"type":"step.output","stream":"stdout","text":"1700000000000000007 change 1\n"}` + "\n"
	const ran = `{"type":"step.finished","cached":false}` + "\n"
	if at, err := stepBegan(cached + output + ran + cached); err != nil || at.UnixNano() != 1700000000000000007 {
		t.Errorf("%v, %v", at, err)
	}
	for _, events := range []string{"", cached, ran, output, output + ran + ran, strings.Replace(output, "1700000000000000007", "now", 1) + ran, "no JSON"} {
		if _, err := stepBegan(events); err == nil {
			t.Errorf("passes with %q", events)
		}
	}
}

func TestCopied(t *testing.T) {
	list := func(change func(stage string) string) []byte {
		var items []string
		for layer := range layers {
			for i := range width {
				stage := stageName(layer, i)
				source := change(sourceOf(stage))
				items = append(items, fmt.Sprintf(`{"stage": %q, "path": "", "kind": "file", "name": "out.txt", "digest": "%x/%d"}`,
					stage, sha256.Sum256([]byte(source)), len(source)))
			}
		}
		return []byte("[" + strings.Join(items, ",") + "]")
	}
	if err := copied(list(func(source string) string { return source })); err != nil {
		t.Error(err)
	}
	if copied(list(strings.ToUpper)) == nil || copied([]byte("[]")) == nil || copied(nil) == nil {
		t.Error("passes with other copies, or without any")
	}
}

func TestTowStartsEmpty(t *testing.T) {
	folder := t.TempDir()
	old := filepath.Join(folder, "tow-cache", "old")
	if err := os.MkdirAll(old, 0o777); err != nil {
		t.Fatal(err)
	}
	l := &lab{folder: folder, progress: io.Discard}
	if err := l.open(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(old); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what an earlier run left is still there: %v", err)
	}
	if err := l.close(); err != nil {
		t.Error(err)
	}
}

func TestOnlyItself(t *testing.T) {
	const itself = `100 execve("/b/tow", ["/b/tow", "run"], 0x7ffc /* 9 vars */) = 0`
	tests := []struct {
		name, trace string
		ok          bool
	}{
		{"itself", itself + "\n100 +++ exited with 0 +++\n", true},
		{"nothing", "", false},
		{"something else", `100 execve("/bin/true", ["true"], 0x7ffc /* 9 vars */) = 0` + "\n", false},
		{"a program that is not there", itself + "\n" + `101 execve("/usr/bin/git", ["git"], 0x1 /* 9 vars */) = -1 ENOENT (No such file or directory)` + "\n", true},
		{"another program", itself + "\n" + `101 execve("/usr/bin/git", ["git"], 0x1 /* 9 vars */) = 0` + "\n", false},
		{"by descriptor", itself + "\n" + `101 execveat(3, "", ["git"], 0x1 /* 9 vars */, AT_EMPTY_PATH) = 0` + "\n", false},
		{"in two lines", itself + "\n" + `101 execve("/usr/bin/git", ["git"], 0x1 /* 9 vars */ <unfinished ...>` + "\n" +
			"100 --- SIGURG {si_signo=SIGURG} ---\n" + `101 <... execve resumed>) = 0` + "\n", false},
		{"in two lines, in vain", itself + "\n" + `101 execve("/usr/bin/git", ["git"], 0x1 /* 9 vars */ <unfinished ...>` + "\n" +
			`101 <... execve resumed>) = -1 ENOENT (No such file or directory)` + "\n", true},
		{"by another thread", itself + "\n" + `102 execve("/usr/bin/git", ["git"], 0x1 /* 9 vars */ <unfinished ...>` + "\n" +
			"101 +++ superseded by execve in pid 102 +++\n" + `101 <... execve resumed>) = 0` + "\n", false},
	}
	for _, test := range tests {
		if err := onlyItself(test.trace, "/b/tow"); (err == nil) != test.ok {
			t.Errorf("%s: error %v", test.name, err)
		}
	}
}

func TestPythonString(t *testing.T) {
	if got, want := pythonString("/a b/\"\\\n'é"), `"/a b/\U00000022\U0000005c\U0000000a'\U000000e9"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestScheduleChild(t *testing.T) {
	for _, doing := range []string{withSteps, withoutSteps} {
		o, err := runChild(t.Context(), []string{doing, "1000"})
		if err != nil && runtime.GOOS != "linux" {
			t.Skip(err)
		}
		if err != nil || o.Stages != 1000 || o.Nanos <= 0 {
			t.Errorf("%s: %+v, %v", doing, o, err)
		}
	}
}
