package towpathtest_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/towpath/towpath"
	"github.com/towpath/towpath/protocol"
	"github.com/towpath/towpath/towpathtest"
)

func TestWhatAStepAsksForBesides(t *testing.T) {
	engine := towpathtest.New(t)
	engine.OnRun("true")
	_, err := towpath.Run(engine.Context(), towpath.Step{
		Args: []string{"true"}, Network: true, Root: engine.Directory(map[string]string{"bin/sh": "shell"}),
		CPUs: 1.5, Memory: "2GB", PIDs: 7, Output: "4KiB",
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := towpath.Run(engine.Context(), towpath.Step{Args: []string{"true"}}); err != nil {
		t.Fatal(err)
	}
	much, nothing := engine.Steps()[0], engine.Steps()[1]
	if !much.Network || much.CPUs != 1.5 || much.Memory != 2e9 || much.PIDs != 7 || much.Output != 4096 {
		t.Errorf("recorded %+v", much)
	}
	if !maps.Equal(much.Root, map[string]string{"bin/sh": "shell"}) {
		t.Errorf("recorded the root %v", much.Root)
	}
	if nothing.Network || nothing.Root != nil || nothing.CPUs != 0 || nothing.Memory != 0 || nothing.PIDs != 0 || nothing.Output != 0 {
		t.Errorf("recorded %+v of a step that asks for nothing", nothing)
	}
}

func TestAWrongOptionIsAnErrorAtTheCall(t *testing.T) {
	engine := towpathtest.New(t)
	engine.OnRun("true")
	for want, step := range map[string]towpath.Step{
		"Step.CPUs: NaN is no number":   {CPUs: math.NaN()},
		"Step.CPUs: -1 is no number":    {CPUs: -1},
		"Step.PIDs: -1 is no number":    {PIDs: -1},
		`Step.Memory: "2 GB" is no`:     {Memory: "2 GB"},
		`Step.Output: "0B" is no limit`: {Output: "0B"},
	} {
		step.Args = []string{"true"}
		_, err := towpath.Run(engine.Context(), step)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "engine_test.go:") {
			t.Errorf("error %v, want one with %q and the place", err, want)
		}
	}
	if steps := engine.Steps(); len(steps) != 0 {
		t.Errorf("it ran %v", steps)
	}
}

func TestSteps(t *testing.T) {
	engine := towpathtest.New(t)
	ctx := engine.Context()
	engine.OnRun("pytest").Returns(towpathtest.Result{ExitCode: 1, Stderr: "no tests"})
	engine.OnRun("pytest", "-q").Does(func(run towpathtest.Step) towpathtest.Result {
		return towpathtest.Result{Stdout: run.Tree["src/a.py"], Outputs: map[string]string{"out/r.xml": "<x/>", "out/log.txt": "l"}}
	})
	src := engine.Directory(map[string]string{"a.py": "print()"})
	step := towpath.Step{
		Args: []string{"pytest", "-q"}, Cwd: "src", Env: map[string]string{"CI": "1"},
		Tree: []towpath.Mount{{Path: "src", Content: src}}, Outputs: []string{"out/*.xml", "out"},
	}
	result, err := towpath.Run(ctx, step)
	if err != nil {
		t.Fatal(err)
	}
	if got := engine.ContentOf(result.Stdout); got != "print()" {
		t.Errorf("stdout %q", got)
	}
	file, err := result.File("out/r.xml")
	if err != nil || engine.ContentOf(file) != "<x/>" || file.Name() != "r.xml" {
		t.Errorf("File = %v, %v", file, err)
	}
	folder, err := result.Directory("out")
	if err != nil || !maps.Equal(engine.FilesOf(folder), map[string]string{"r.xml": "<x/>", "log.txt": "l"}) {
		t.Errorf("Directory = %v, %v", engine.FilesOf(folder), err)
	}
	if got := engine.FilesOf(result.Tree); len(got) != 2 {
		t.Errorf("Tree = %v", got)
	}
	for glob, want := range map[string]int{"**": 1, "out": 1, "*.xml": 0, "out/*.{xml,txt}": 1} {
		if files, err := result.Files(glob); err != nil || len(files) != want {
			t.Errorf("Files(%q) = %v, %v", glob, files, err)
		}
	}
	if _, err := result.Files("["); protocol.CodeOf(err) != protocol.CodeInvalid {
		t.Errorf("a glob that is none: %v", err)
	}
	if _, err := result.File("out"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder as a file: %v", err)
	}
	if _, err := result.File("gone"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no such output: %v", err)
	}

	step.Args = []string{"pytest", "-v"}
	_, err = towpath.Run(ctx, step)
	failure, ok := errors.AsType[*towpath.StepError](err)
	if !ok || failure.ExitCode != 1 || !slices.Equal(failure.Command, step.Args) {
		t.Errorf("a failing step: %v", err)
	}
	step.OK, step.Outputs = []int{0, 1}, nil
	if result, err := towpath.Run(ctx, step); err != nil || result.ExitCode != 1 || engine.ContentOf(result.Stderr) != "no tests" {
		t.Errorf("an accepted exit code: %+v, %v", result, err)
	}
	step.OK, step.OKAny = nil, true
	if _, err := towpath.Run(ctx, step); err != nil {
		t.Errorf("any exit code: %v", err)
	}
	step.Outputs = []string{"missing"}
	if _, err := towpath.Run(ctx, step); protocol.CodeOf(err) != protocol.CodeStepFailed {
		t.Errorf("an output that is not made: %v", err)
	}

	runs := engine.Steps()
	if len(runs) != 5 || runs[0].Cwd != "src" || runs[0].Env["CI"] != "1" || runs[0].Tree["src/a.py"] != "print()" {
		t.Errorf("recorded %+v", runs)
	}
	for name, step := range map[string]towpath.Step{
		"no command":  {},
		"not known":   {Args: []string{"make"}},
		"no content":  {Args: []string{"pytest"}, Tree: []towpath.Mount{{Path: "x"}}},
		"zero file":   {Args: []string{"pytest"}, Tree: []towpath.Mount{{Path: "x", Content: towpath.File{}}}},
		"wrong path":  {Args: []string{"pytest"}, Tree: []towpath.Mount{{Path: "../x", Content: src}}},
		"file as all": {Args: []string{"pytest"}, Tree: []towpath.Mount{{Content: engine.File("x", "")}}},
	} {
		if _, err := towpath.Run(ctx, step); protocol.CodeOf(err) != protocol.CodeInvalid && name != "zero file" || err == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	long := towpath.Step{Args: []string{"pytest", strings.Repeat("x", protocol.MaxStepText)}}
	if _, err := towpath.Run(ctx, long); protocol.CodeOf(err) != protocol.CodeTooLarge {
		t.Errorf("long arguments: %v", err)
	}
}

func TestFiles(t *testing.T) {
	engine := towpathtest.New(t)
	ctx := engine.Context()
	content := bytes.Repeat([]byte("0123456789abcdef"), 200_000) // more than three reads
	file, err := towpath.NewExecutable(ctx, "tool", iotest.HalfReader(bytes.NewReader(content)))
	if err != nil || !file.Executable() || file.Size() != int64(len(content)) {
		t.Fatalf("NewExecutable = %+v, %v", file, err)
	}
	if err := iotest.TestReader(file.Open(ctx), content); err != nil {
		t.Error(err)
	}
	path := filepath.Join(t.TempDir(), "tool")
	if err := file.Download(ctx, path); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	info, statErr := os.Stat(path)
	if err != nil || statErr != nil || !bytes.Equal(got, content) || info.Mode().Perm()&0o111 == 0 {
		t.Errorf("downloaded %d bytes, %v, %v", len(got), err, info.Mode())
	}
	if err := file.Download(ctx, filepath.Join(path, "below")); err == nil {
		t.Error("Download below a file succeeded")
	}

	reader := engine.File("x", "text").Open(ctx)
	if err := reader.Close(); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadAll(reader); err == nil {
		t.Error("a closed reader was read")
	}
	if text, err := engine.File("empty", "").Text(ctx); text != "" || err != nil {
		t.Errorf("an empty file: %q, %v", text, err)
	}
	if _, err := engine.File("binary", "\xff").Text(ctx); err == nil {
		t.Error("Text of a binary file succeeded")
	}
	if _, err := (towpath.File{}).Content(ctx); err == nil {
		t.Error("the zero File was read")
	}
	for _, name := range []string{"", "a/b", "..", "\xff"} {
		if _, err := towpath.NewFile(ctx, name, strings.NewReader("")); protocol.CodeOf(err) != protocol.CodeInvalid {
			t.Errorf("a file called %q: %v", name, err)
		}
	}
	broken := errors.New("broken")
	if _, err := towpath.NewFile(ctx, "x", iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("a reader that fails: %v", err)
	}
}

func TestDirectories(t *testing.T) {
	engine := towpathtest.New(t)
	ctx := engine.Context()
	src := engine.Directory(map[string]string{"a.go": "a", "b_test.go": "b", "sub/c.go": "c", "sub/d.txt": "d"})
	entries, err := src.Entries(ctx, "")
	if err != nil || len(entries) != 3 || entries[2].Path != "sub" || entries[2].Kind != towpath.EntryDirectory {
		t.Errorf("Entries = %+v, %v", entries, err)
	}
	var walked []string
	for entry, err := range src.Walk(ctx, "") {
		if err != nil {
			t.Fatal(err)
		}
		walked = append(walked, entry.Path)
	}
	if want := []string{"a.go", "b_test.go", "sub", "sub/c.go", "sub/d.txt"}; !slices.Equal(walked, want) {
		t.Errorf("Walk = %v", walked)
	}
	if _, err := src.Entries(ctx, "gone"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Entries of nothing: %v", err)
	}
	file, err := src.File(ctx, "sub/c.go")
	if err != nil || engine.ContentOf(file) != "c" {
		t.Errorf("File = %v, %v", file, err)
	}
	sub, err := src.Directory(ctx, "sub")
	if err != nil || len(engine.FilesOf(sub)) != 2 {
		t.Errorf("Directory = %v, %v", sub, err)
	}
	if _, err := src.Directory(ctx, "a.go"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file as a folder: %v", err)
	}
	filtered, err := src.Filter(ctx, "**/*.go", "sub", "!**/*_test.go")
	if want := map[string]string{"a.go": "a", "sub/c.go": "c", "sub/d.txt": "d"}; err != nil || !maps.Equal(engine.FilesOf(filtered), want) {
		t.Errorf("Filter = %v, %v", engine.FilesOf(filtered), err)
	}
	merged, err := towpath.NewDirectory(ctx, towpath.Mount{Content: src}, towpath.Mount{Path: "sub/e", Content: file}, towpath.Mount{Path: "sub", Content: sub})
	if err != nil || len(engine.FilesOf(merged)) != 5 {
		t.Errorf("NewDirectory = %v, %v", engine.FilesOf(merged), err)
	}
	if _, err := towpath.NewDirectory(ctx, towpath.Mount{Content: src}, towpath.Mount{Path: "a.go", Content: file}); protocol.CodeOf(err) != protocol.CodeInvalid {
		t.Errorf("two contents at one path: %v", err)
	}
}

func TestReportsToolsAndLogs(t *testing.T) {
	engine := towpathtest.New(t)
	ctx := engine.Context()
	junit := engine.File("junit.xml", `<testsuites><testsuite>
		<testcase name="a" time="0.5"/><testcase name="b" time="1.25"><failure/></testcase>
		<testcase name="c"><skipped/></testcase><testcase name="d"><error/></testcase></testsuite></testsuites>`)
	report, err := towpath.NewTestReport(ctx, junit)
	if err != nil || report.Tests != 4 || report.Failures != 1 || report.Errors != 1 || report.Skipped != 1 ||
		report.Time.Milliseconds() != 1750 || report.JUnit != junit || report.Passed() {
		t.Errorf("report %+v, %v", report, err)
	}
	if _, err := towpath.NewTestReport(ctx, engine.File("x", "no")); err != nil && protocol.CodeOf(err) != protocol.CodeInvalid {
		t.Errorf("a file that is no report: %v", err)
	}
	engine.OnTool("git", "/usr/bin/git")
	engine.OnRun("git").Fails(&towpath.OperationError{Code: "not_found", Message: "no git"})
	if _, err := towpath.Run(ctx, towpath.Step{Args: []string{"git"}}); !errors.Is(err, fs.ErrNotExist) || err.Error() != "run git: no git" {
		t.Errorf("a step that fails: %v", err)
	}
	if path, err := towpath.Tool(ctx, "git"); err != nil || path != "/usr/bin/git" {
		t.Errorf("Tool = %q, %v", path, err)
	}
	absolute, err := filepath.Abs("hg")
	if err != nil {
		t.Fatal(err)
	}
	if path, err := towpath.Tool(ctx, absolute); err != nil || path != absolute {
		t.Errorf("Tool of an absolute path = %q, %v", path, err)
	}
	if _, err := towpath.Tool(ctx, "hg"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a tool that is not there: %v", err)
	}
	towpath.Logger(ctx).With("a", 1).WithGroup("g").Error("broken", "time", "now")
	towpath.Log(ctx, slog.LevelDebug, "quiet")
	logs := engine.Logs()
	towpath.Log(ctx, slog.LevelInfo, strings.Repeat("m", 70000), "a", strings.Repeat("x", 70000), "b", 1)
	if long := engine.Logs()[2]; len(long.Message) > protocol.MaxMessage || len(long.Fields) != 1 || long.Fields["fields_cut"] != 70014.0 {
		t.Errorf("a line that is too long: %d bytes, %v", len(long.Message), long.Fields)
	}
	if len(logs) != 2 || logs[0].Level != slog.LevelError || logs[0].Message != "broken" || logs[0].Fields["a"] != 1.0 ||
		logs[0].Fields["g"].(map[string]any)["time"] != "now" || logs[1].Level != slog.LevelDebug || len(logs[1].Fields) != 0 {
		t.Errorf("logged %+v", logs)
	}
}

func TestWithoutAnEngine(t *testing.T) {
	ctx := context.Background()
	towpath.Log(ctx, slog.LevelInfo, "nobody hears this")
	if _, err := towpath.Run(ctx, towpath.Step{Args: []string{"true"}}); err == nil || !strings.Contains(err.Error(), "towpathtest") {
		t.Errorf("Run: %v", err)
	}
	cancelled, cancel := context.WithCancel(towpathtest.New(t).Context())
	cancel()
	if _, err := towpath.Tool(cancelled, "x"); !errors.Is(err, context.Canceled) {
		t.Errorf("Tool with an ended context: %v", err)
	}
}

func TestFilesOfThisMachine(t *testing.T) {
	engine := towpathtest.New(t)
	ctx := engine.Context()
	if data, err := towpath.ReadFile(ctx, "towpathtest/doc.go"); err != nil || !strings.HasPrefix(string(data), "// Package towpathtest") {
		t.Errorf("ReadFile = %.40q, %v", data, err)
	}
	dir := t.TempDir()
	script := filepath.Join(dir, "run.sh")
	if err := os.WriteFile(script, []byte("0123456789"), 0o755); err != nil {
		t.Fatal(err)
	}
	engine.SetRoot(dir)
	if names, err := towpath.ReadDir(ctx, "."); err != nil || !slices.Equal(names, []string{"run.sh"}) {
		t.Errorf("ReadDir = %q, %v", names, err)
	}
	file, err := towpath.NewFileFromPath(ctx, script)
	if err != nil || file.Name() != "run.sh" || !file.Executable() || engine.ContentOf(file) != "0123456789" {
		t.Errorf("NewFileFromPath = %v, %v", file, err)
	}
	for _, test := range []struct {
		offset, length int64
		want           string
	}{{0, 3, "012"}, {4, 0, ""}, {8, 5, "89"}, {20, 5, ""}} {
		if data, err := file.Read(ctx, test.offset, test.length); err != nil || string(data) != test.want {
			t.Errorf("Read(%d, %d) = %q, %v", test.offset, test.length, data, err)
		}
	}
	if _, err := file.Read(ctx, -1, 1); protocol.CodeOf(err) != protocol.CodeInvalid {
		t.Errorf("Read before the file: %v", err)
	}
	if _, err := towpath.ReadFile(context.Background(), script); err == nil {
		t.Error("ReadFile without a stage")
	}
}
