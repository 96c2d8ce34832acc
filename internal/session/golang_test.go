package session

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/towpath/towpath/protocol"
)

const (
	goMod  = "module example.com/app\n\ngo 1.26.0\n\nrequire github.com/towpath/towpath v0.1.0\n"
	goMain = `package main

import (
	"context"

	"example.com/app/text"
	"github.com/towpath/towpath"
)

func main() { towpath.Main(pipeline) }

func Hello(context.Context, struct{}) (string, error) { return text.Hello(), nil }

func pipeline(p *towpath.Pipeline) { towpath.Stage(p, "hello", Hello, struct{}{}) }
`
	goText = "package text\n\nfunc Hello() string { return \"hi\" }\n"
)

func newGoPlace(t *testing.T, more map[string]string) *place {
	t.Helper()
	p := newPlace(t, map[string]string{"go.mod": goMod, "pipeline/main.go": goMain, "text/text.go": goText})
	for name, text := range more {
		p.write(name, text)
	}
	return p
}

// compiled is how many programs the cache holds.
func (p *place) compiled() int {
	p.t.Helper()
	list, err := os.ReadDir(filepath.Join(p.config.CacheDir, "programs", "go"))
	if err != nil {
		p.t.Fatal(err)
	}
	return len(list)
}

func (p *place) says(want string) {
	p.t.Helper()
	s, err := p.open()
	if err != nil {
		p.t.Fatal(err)
	}
	defer s.Close()
	w, err := s.Worker(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	got, err := w.Call(p.t.Context(), protocol.StageCallParams{Stage: "hello", Function: "hello"}, nil)
	if err != nil || string(got.Value) != fmt.Sprintf("%q", want) {
		p.t.Errorf("the stage returned %s, %v, want %q", got.Value, err, want)
	}
}

func TestGoProgramWithoutTheModuleIsBuiltWithTheSDKOfTowOnce(t *testing.T) {
	t.Parallel()
	p := newGoPlace(t, nil)
	p.says("hi")
	if !p.mustOpen().FromCache || p.compiled() != 1 {
		t.Errorf("it was asked again, or compiled to %d programs", p.compiled())
	}
	p.write("text/text.go", strings.ReplaceAll(goText, "hi", "ho"))
	p.says("ho")
	p.write("text/text.go", goText)
	p.says("hi")
	if n := p.compiled(); n != 2 {
		t.Errorf("two contents were compiled to %d programs", n)
	}
	for name, change := range map[string]func(){
		"a constraint": func() { p.write("text/text.go", strings.ReplaceAll(goText, "hi", "hm")) },
		"a new file":   func() { p.write("text/more.go", "package text\n") },
		"a flag":       func() { p.set("GOFLAGS", "-trimpath") },
		"a workspace":  func() { p.write("go.work", "go 1.26.0\n\nuse .\n") },
	} {
		change()
		if p.mustOpen().FromCache {
			t.Errorf("it was not asked again after the change of %s", name)
		}
		if !p.mustOpen().FromCache {
			t.Errorf("it was asked twice after the change of %s", name)
		}
	}
	if _, err := os.Stat(p.path("go.sum")); err == nil {
		t.Error("the user's tree was written to")
	}
}

func TestGoFileThatIsLeftOutOfTheBuildCountsOnceItIsNot(t *testing.T) {
	t.Parallel()
	p := newGoPlace(t, map[string]string{
		"text/text.go": "package text\n\nvar greeting = \"hi\"\n\nfunc Hello() string { return greeting }\n",
		"text/more.go": "//go:build ignore\n\npackage text\n\nfunc init() { greeting = \"ho\" }\n",
	})
	p.says("hi")
	p.write("text/more.go", "package text\n\nfunc init() { greeting = \"ho\" }\n")
	p.says("ho")
}

func TestGoWorkspaceOfTheUserIsKept(t *testing.T) {
	t.Parallel()
	p := newGoPlace(t, map[string]string{
		"go.work":      "go 1.26.0\n\nuse (\n\t.\n\t./lib\n)\n\nreplace example.com/other => ./elsewhere\n",
		"lib/go.mod":   "module example.com/lib\n\ngo 1.26.0\n\nrequire example.com/other v1.0.0\n",
		"lib/lib.go":   "package lib\n\nimport \"example.com/other\"\n\nfunc Hello() string { return other.Hello() }\n",
		"text/text.go": "package text\n\nimport \"example.com/lib\"\n\nfunc Hello() string { return lib.Hello() }\n",

		"elsewhere/go.mod": "module example.com/other\n\ngo 1.26.0\n", "elsewhere/other.go": "package other\n\nfunc Hello() string { return \"other\" }\n",
	})
	p.says("other")
	p.write("elsewhere/other.go", "package other\n\nfunc Hello() string { return \"changed\" }\n")
	p.says("changed")
}

func TestGoModuleThatReplacesTheSDKIsBuiltWithThat(t *testing.T) {
	t.Parallel()
	p := newGoPlace(t, nil)
	if err := os.CopyFS(p.path("sdk"), p.config.GoSDK); err != nil {
		t.Fatal(err)
	}
	p.write("sdk/go.mod", "module github.com/towpath/towpath\n\ngo 1.26.0\n")
	p.write("go.mod", goMod+"\nreplace github.com/towpath/towpath => ./sdk\n")
	p.says("hi")
	if !p.mustOpen().FromCache {
		t.Error("it was asked again")
	}
	p.write("sdk/more.go", "package towpath\n")
	if p.mustOpen().FromCache {
		t.Error("a change of the SDK that it uses was not seen")
	}
}

func TestWrongGoProgramIsAnErrorWithItsPlace(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"a type error", map[string]string{"pipeline/main.go": goMain + "\nvar x int = \"a\"\n"}, "pipeline/main.go:16: `go build` refused the pipeline program: cannot use"},
		{"a type error in another package", map[string]string{"text/text.go": goText + "var x = y\n"}, "text/text.go:4: `go build` refused the pipeline program: undefined: y"},
		{"a syntax error", map[string]string{"pipeline/main.go": "package main\n\nfunc main( {\n"}, "pipeline/main.go:3: `go "},
		{"a library", map[string]string{"pipeline/main.go": "package library\n"}, "example.com/app/pipeline is the package library, not a program"},
		{"a program that is no pipeline", map[string]string{"pipeline/main.go": mainFile}, "pipeline could not be loaded: the process of the pipeline program was lost: it ended: exit status 0"},
		{"a panic", map[string]string{"pipeline/main.go": strings.ReplaceAll(goMain, `towpath.Stage(p, "hello", Hello, struct{}{})`, `panic("no")`)}, "panicked: no"},
		{"a stage twice", map[string]string{"pipeline/main.go": strings.ReplaceAll(goMain, `towpath.Stage(p, "hello", Hello, struct{}{})`,
			`towpath.Stage(p, "hello", Hello, struct{}{}); towpath.Stage(p, "hello", Hello, struct{}{})`)}, "pipeline/main.go:14: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newGoPlace(t, tt.files)
			for range 2 {
				program, err := Find(p.dir, "pipeline")
				if err != nil {
					t.Fatal(err)
				}
				s, err := Open(t.Context(), program, p.config)
				var wrong *Error
				if s != nil || !errors.As(err, &wrong) || !strings.Contains(wrong.Error(), tt.want) {
					t.Fatalf("the error is %T %v, want %q", err, err, tt.want)
				}
			}
		})
	}
}

func TestGoProgramOutsideOfAModuleOrWithoutGoIsAnError(t *testing.T) {
	p := newPlace(t, map[string]string{"pipeline/main.go": mainFile})
	if _, err := p.open(); err == nil || !strings.Contains(err.Error(), "pipeline is in no Go module") {
		t.Errorf("the error is %v", err)
	}
	p.set("PATH", t.TempDir())
	if _, err := p.open(); err == nil || !strings.Contains(err.Error(), "the go command was not found in PATH") {
		t.Errorf("the error is %v", err)
	}
}

func TestGoVersionsOfToolchains(t *testing.T) {
	for version, want := range map[string][2]string{
		"go1.26.8": {"1.26.8", "1.26"}, "go1.27": {"1.27", "1.27"}, "go1.27rc1": {"1.27rc1", "1.27"}, "devel go1.28-abc123 Mon": {"1.28", "1.28"},
		"go1.26.8 X:nodwarf5": {"1.26.8", "1.26"},
	} {
		if got := [2]string{goVersion(version), goLanguage(version)}; got != want {
			t.Errorf("%s is %v, want %v", version, got, want)
		}
	}
}
