package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/towpath/towpath"
	"github.com/towpath/towpath/towpathtest"
)

// newEngine returns an engine that finds the tools, and code for the stages.
func newEngine(t *testing.T) (*towpathtest.Engine, towpath.Ref[towpath.Directory]) {
	t.Helper()
	engine := towpathtest.New(t)
	engine.OnTool("go", "/go/bin/go")
	engine.OnTool("gofmt", "/go/bin/gofmt")
	return engine, towpath.Value(engine.Directory(map[string]string{"go.mod": "module example.com/shortener\n"}))
}

func TestFormat(t *testing.T) {
	for printed, want := range map[string]string{"": "", "link/a.go\nlink/b.go\n": "gofmt would change link/a.go, link/b.go"} {
		engine, code := newEngine(t)
		engine.OnRun("/go/bin/gofmt", "-l", ".").Returns(towpathtest.Result{Stdout: printed})
		_, err := Format(engine.Context(), FormatIn{Code: code})
		if got := messageOf(err); got != want {
			t.Errorf("gofmt printed %q: error %q, want %q", printed, got, want)
		}
	}
}

func TestTestsThatFail(t *testing.T) {
	engine, code := newEngine(t)
	engine.OnRun("sh", "-c").Returns(towpathtest.Result{ExitCode: 1, Outputs: map[string]string{"code/events.jsonl": `
{"Action":"pass","Package":"link","Test":"TestGood","Elapsed":0.1}
{"Action":"output","Package":"link","Test":"TestBad","Output":"link_test.go:7: 1 < 2"}
{"Action":"fail","Package":"link","Test":"TestBad","Elapsed":0.2}
`}})
	_, err := Test(engine.Context(), GoIn{Code: code, Cache: towpath.Value(engine.Directory(nil))})
	if got, want := messageOf(err), "1 of 2 tests failed"; got != want {
		t.Errorf("error %q, want %q", got, want)
	}
	if logs := engine.Logs(); len(logs) != 1 || logs[0].Message != "link_test.go:7: 1 < 2" {
		t.Errorf("logged %v, want what the failed test printed", logs)
	}
}

func TestWhatIsCompiledApart(t *testing.T) {
	engine, code := newEngine(t)
	engine.OnRun("sh", "-c").Does(func(step towpathtest.Step) towpathtest.Result {
		if slices.Contains(step.Args, "list") {
			return towpathtest.Result{Stdout: "fmt\nexample.com/shortener/link\n\ntesting\nfmt\n"}
		}
		return towpathtest.Result{Outputs: map[string]string{"cache/00/a": step.Tree["code/all_test.go"]}}
	})
	imports, err := Imports(engine.Context(), ImportsIn{Code: code})
	if err != nil || !slices.Equal(imports, []string{"fmt", "testing"}) {
		t.Fatalf("imports %q, %v", imports, err)
	}
	cache, err := Compile(engine.Context(), CompileIn{Mod: code, Imports: towpath.Value(imports), For: "tests"})
	if err != nil {
		t.Fatal(err)
	}
	const want = "package all\n\nimport _ \"fmt\"\nimport _ \"testing\"\n"
	if got := engine.FilesOf(cache)["00/a"]; got != want {
		t.Errorf("compiled %q, want %q", got, want)
	}
}

func TestBuildIsForThePlatform(t *testing.T) {
	engine, code := newEngine(t)
	const name = "shortener-1.0-linux-arm64"
	engine.OnRun("sh", "-c").Returns(towpathtest.Result{Outputs: map[string]string{"code/" + name: "program"}})
	program, err := Build(engine.Context(), BuildIn{
		Code: code, Cache: towpath.Value(engine.Directory(map[string]string{"00/a": "object"})), Version: towpath.Value("1.0"), OS: "linux", Arch: "arm64",
	})
	if err != nil {
		t.Fatal(err)
	}
	if program.Name() != name {
		t.Errorf("the program is called %q, want %q", program.Name(), name)
	}
	step := engine.Steps()[0]
	if step.Env["GOOS"] != "linux" || step.Env["GOARCH"] != "arm64" {
		t.Errorf("environment %v", step.Env)
	}
	if step.Tree["cache/00/a"] != "object" || step.Tree["code/go.mod"] == "" || step.Network {
		t.Errorf("workspace %v, network %t", step.Tree, step.Network)
	}
	if !slices.ContainsFunc(step.Args, func(arg string) bool { return strings.Contains(arg, "main.version=1.0") }) {
		t.Errorf("arguments %v do not set the version", step.Args)
	}
}

func TestReleaseHasChecksums(t *testing.T) {
	engine, _ := newEngine(t)
	programs := []towpath.File{engine.File("b", "two"), engine.File("a", "one")}
	release, err := Release(engine.Context(), ReleaseIn{Programs: towpath.Value(programs)})
	if err != nil {
		t.Fatal(err)
	}
	files := engine.FilesOf(release)
	const want = "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3  b\n" +
		"7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed  a\n"
	if files["a"] != "one" || files["b"] != "two" || files["SHA256SUMS"] != want {
		t.Errorf("released %q", files)
	}
}

func TestPlan(t *testing.T) {
	plan, err := towpathtest.Plan(pipeline)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, stage := range plan.Stages {
		names = append(names, stage.Name)
		if stage.Doc == "" {
			t.Errorf("stage %s is not described", stage.Name)
		}
	}
	want := []string{
		"build[os=linux,arch=amd64]", "build[os=linux,arch=arm64]", "compile[for=linux/amd64]", "compile[for=linux/arm64]",
		"compile[for=tests]", "format", "imports", "release", "test", "vet",
	}
	if !slices.Equal(names, want) {
		t.Errorf("stages %q, want %q", names, want)
	}
}

func messageOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
