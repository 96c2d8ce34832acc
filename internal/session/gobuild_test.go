package session

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// newGoRepository makes a program in a folder of its repository, with all that a build may refer to by its place: a workspace, a module that it
// replaces, one that a module replaces, embedded files. A module besides the program's own declares a stage.
func newGoRepository(t *testing.T) *place {
	t.Helper()
	return newGoPlace(t, map[string]string{
		"go.mod":            goMod + "\nrequire example.com/below v1.0.0\n\nreplace example.com/below => ./below\n",
		"go.work":           "go 1.26.0\n\nuse (\n\t.\n\t./used\n)\n\nreplace example.com/beside => ./beside\n",
		"used/go.mod":       "module example.com/used\n\ngo 1.26.0\n\nrequire example.com/beside v1.0.0\n",
		"used/used.go":      "package used\n\nimport \"example.com/beside\"\n\nfunc Hello() string { return beside.Hello() }\n",
		"beside/go.mod":     "module example.com/beside\n\ngo 1.26.0\n",
		"beside/beside.go":  "package beside\n\nfunc Hello() string { return \"beside\" }\n",
		"below/go.mod":      "module example.com/below\n\ngo 1.26.0\n",
		"below/tpl/a.txt":   "a",
		"below/tpl/d/a.txt": "a",
		"below/sub/sub.go": `package sub

import (
	"context"

	"github.com/towpath/towpath"
)

func Below(context.Context, struct{}) (string, error) { return "below", nil }

func Declare(p *towpath.Pipeline) { towpath.Stage(p, "below", Below, struct{}{}) }
`,
		"below/below.go":   "package below\n\nimport \"embed\"\n\n//go:embed tpl\nvar FS embed.FS\n",
		"text/text.go":     "package text\n\nimport (\n\t\"example.com/below\"\n\t\"example.com/used\"\n)\n\nvar _ = below.FS\n\nfunc Hello() string { return used.Hello() + tag }\n",
		"text/tag_on.go":   "//go:build extra\n\npackage text\n\nconst tag = \" extra\"\n",
		"text/tag_off.go":  "//go:build !extra\n\npackage text\n\nconst tag = \"\"\n",
		"pipeline/main.go": strings.NewReplacer("{ towpath.Stage", "{ sub.Declare(p); towpath.Stage", `"example.com/app/text"`, `"example.com/app/text"`+"\n\t"+`"example.com/below/sub"`).Replace(goMain),
	})
}

func TestGoProgramIsTheSameWhereverItIsCompiled(t *testing.T) {
	t.Parallel()
	one, other := newGoRepository(t), newGoRepository(t)
	first := one.mustOpen()
	if second := other.mustOpen(); first.Digest != second.Digest {
		t.Errorf("two checkouts are two programs:\n%+v\n%+v", first.Manifest, second.Manifest)
	}
	if want := "go" + goLanguage(strings.Fields(first.Manifest.Runtime)[0]) + " program "; !strings.HasPrefix(first.Manifest.Runtime, want) {
		t.Errorf("the runtime is %q", first.Manifest.Runtime)
	}
	if !strings.HasSuffix(first.record.Runtime.Executable, mustDigest(t, first.record.Runtime.Executable)) {
		t.Errorf("%s is not named by its digest", first.record.Runtime.Executable)
	}
	one.says("beside")
	if err := os.Remove(one.config.recordFile(one.find())); err != nil {
		t.Fatal(err)
	}
	if again := one.mustOpen(); again.FromCache || again.Digest != first.Digest {
		t.Error("compiled once more, it is another program")
	}
	for stage, want := range map[string]string{"hello": "pipeline/main.go", "below": "below/sub/sub.go"} {
		if got := first.record.Sites[stage]; got.File != want || got.Line == 0 {
			t.Errorf("stage %s is at %+v, want %s", stage, got, want)
		}
	}
	for _, name := range []string{"go.mod", "pipeline/main.go", "text/text.go", "below/go.mod", "below/tpl/d/a.txt", "beside/beside.go", "used/go.mod"} {
		if first.Manifest.Files[name] == "" {
			t.Errorf("%s is not in the manifest %+v", name, first.Manifest.Files)
		}
	}
	for name := range first.Manifest.Files {
		if filepath.IsAbs(name) {
			t.Errorf("the manifest has the path %s", name)
		}
	}
}

func mustDigest(t *testing.T, path string) string {
	t.Helper()
	d, err := digestBinary(path)
	if err != nil {
		t.Fatal(err)
	}
	return d.Hex()
}

func TestGoProgramIsAnotherWhenAnythingThatItIsCompiledByChanges(t *testing.T) {
	t.Parallel()
	p := newGoRepository(t)
	settings := filepath.Join(t.TempDir(), "env")
	p.set("GOENV", settings)
	p.set("GOFLAGS")
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(p.path("below/tpl/empty/too"), 0o755); err != nil {
		t.Fatal(err)
	}
	before := p.mustOpen()
	for _, tt := range []struct {
		name   string
		same   bool // though it is asked again
		change func()
	}{
		{name: "the file of go env -w", change: func() { write(settings, "GOFLAGS=-tags=extra\n") }},
		{name: "that file back", change: func() { write(settings, "# nothing\n") }},
		{name: "flags", change: func() { p.set("GOFLAGS", "-tags=extra") }},
		{name: "the processor", change: func() { p.set("GOAMD64", "v2"); p.set("GOARM64", "v8.1") }},
		{name: "the workspace", change: func() {
			p.write("beside2/go.mod", "module example.com/beside\n\ngo 1.26.0\n")
			p.write("beside2/beside.go", "package beside\n\nfunc Hello() string { return \"beside2\" }\n")
			p.write("go.work", "go 1.26.0\n\nuse (\n\t.\n\t./used\n)\n\nreplace example.com/beside => ./beside2\n")
		}},
		{name: "the go.mod of a replaced module", change: func() { p.write("below/go.mod", "module example.com/below\n\ngo 1.25.0\n") }},
		{name: "an embedded file deep down", change: func() { p.write("below/tpl/deep/b.txt", "b") }},
		{name: "an embedded file where none was", change: func() { p.write("below/tpl/empty/too/b.txt", "b") }},
		{name: "a proxy", same: true, change: func() { p.set("HTTPS_PROXY", "http://user:password@127.0.0.1:1") }},
	} {
		tt.change()
		now := p.mustOpen()
		if now.FromCache || (now.Digest == before.Digest) != tt.same {
			t.Errorf("%s: from the cache: %t, the same program: %t", tt.name, now.FromCache, now.Digest == before.Digest)
		}
		if !p.mustOpen().FromCache {
			t.Errorf("%s: it was asked twice", tt.name)
		}
		before = now
	}
	b, err := os.ReadFile(p.config.recordFile(p.find()))
	if err != nil || strings.Contains(string(b), "password") {
		t.Errorf("the record holds the values of variables: %v", err)
	}
	p.config.Python = "/no/such/python"
	if !p.mustOpen().FromCache {
		t.Error("it was asked again for another Python")
	}
}

func TestGoCommandGetsTheVariablesOfTow(t *testing.T) {
	t.Setenv("GOFLAGS", "-tags=extra")
	t.Setenv("TZ", "Mars/Olympus")
	p := newGoRepository(t)
	p.set("GOFLAGS")
	p.says("beside")
	p.set("GOFLAGS", "-tags=extra")
	p.says("beside extra")
	if env := p.config.workerEnv(); !slices.Contains(env, "TZ=UTC") || slices.ContainsFunc(env, func(v string) bool { return strings.Contains(v, "Mars") }) {
		t.Errorf("a worker is given %v", env)
	}
}

func TestWhatAGoProgramReadsThroughTheSDKIsPartOfIt(t *testing.T) {
	t.Parallel()
	p := newGoPlace(t, map[string]string{
		"list.txt":         "a",
		"pipeline/main.go": strings.ReplaceAll(goMain, "{ towpath.Stage", "{ p.ReadFile(\"list.txt\"); p.ReadDir(\"parts\"); towpath.Stage"),
		"parts/a":          "",
	})
	p.says("hi")
	s := p.mustOpen()
	if !s.FromCache || s.Manifest.Files["list.txt"] == "" {
		t.Errorf("from the cache: %t, %+v", s.FromCache, s.Manifest)
	}
	p.says("hi") // a worker that is started for a plan from the record
	for _, name := range []string{"list.txt", "parts/b"} {
		p.write(name, "b")
		if p.mustOpen().FromCache {
			t.Errorf("a change of %s was not seen", name)
		}
	}
}

func TestGoSDKOfTheUserIsReadLikeAnyOtherPackage(t *testing.T) {
	t.Parallel()
	for name, files := range map[string]map[string]string{
		"replaced":       {"go.mod": goMod + "\nreplace github.com/towpath/towpath => ./sdk\n"},
		"in a workspace": {"go.work": "go 1.26.0\n\nuse (\n\t.\n\t./sdk\n)\n\nreplace github.com/towpath/towpath v0.1.0 => ./sdk\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newGoPlace(t, files)
			if err := os.CopyFS(p.path("sdk"), p.config.GoSDK); err != nil {
				t.Fatal(err)
			}
			p.write("sdk/go.mod", "module github.com/towpath/towpath\n\ngo 1.26.0\n")
			if s := p.mustOpen(); s.Manifest.Files["sdk/doc.go"] == "" || s.Manifest.Files["sdk/go.mod"] == "" {
				t.Errorf("the SDK is not in the manifest: %+v", s.Manifest)
			}
		})
	}
	p := newGoPlace(t, nil)
	sdk, err := p.config.SDKPath(Go)
	if err != nil {
		t.Fatal(err)
	}
	p.write("go.work", fmt.Sprintf("go 1.26.0\n\nuse (\n\t.\n\t%q\n)\n\nreplace github.com/towpath/towpath v0.1.0 => %q\n", sdk, sdk))
	for name := range p.mustOpen().Manifest.Files {
		if filepath.IsAbs(name) {
			t.Errorf("the manifest has the path %s", name)
		}
	}
}

func TestSweepRemovesWhatIsOldAndNotAmongTheNewest(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	add := func(name string, days int) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Join(path, "x"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, now, now.AddDate(0, 0, -days)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 7 {
		add(fmt.Sprintf("a-%d", i), 2*i)
		add(fmt.Sprintf("b-%d", i), 100+i)
	}
	add(".build-new", 0)
	add(".build-old", 8)
	add("c-alone", 1000)
	sweep(dir, func(name string) string { return name[:1] })
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, e := range list {
		left = append(left, e.Name())
	}
	if got, want := strings.Join(left, " "), ".build-new a-0 a-1 a-2 a-3 a-4 b-0 b-1 b-2 b-3 b-4 c-alone"; got != want {
		t.Errorf("left are %s, want %s", got, want)
	}
}

func TestOldProgramsAndSDKsAreRemovedAndUsedOnesStay(t *testing.T) {
	t.Parallel()
	p := newGoPlace(t, nil)
	age := func() { // by a month, each, so that the first stays the oldest
		for _, pattern := range []string{"programs/go/*", "sdk/go/*", "gowork/*"} {
			found, err := filepath.Glob(filepath.Join(p.config.CacheDir, pattern))
			if err != nil || len(found) == 0 {
				t.Fatalf("nothing is in %s: %v", pattern, err)
			}
			for _, path := range found {
				info, err := os.Stat(path)
				if err != nil {
					t.Fatal(err)
				}
				if old := info.ModTime().AddDate(0, 0, -30); os.Chtimes(path, old, old) != nil {
					t.Fatalf("%s cannot be aged", path)
				}
			}
		}
	}
	first := p.mustOpen().record.Runtime.Executable
	for i := range keepNewest {
		age()
		p.write("text/text.go", fmt.Sprintf("package text\n\nfunc Hello() string { return \"%d\" }\n", i))
		p.mustOpen()
	}
	if n := p.compiled(); n != keepNewest || exists(first) {
		t.Errorf("%d programs are left, the first of them: %t", n, exists(first))
	}
	age()
	s := p.mustOpen()
	if !s.FromCache {
		t.Error("it was asked again because of its age")
	}
	if info, err := os.Stat(s.record.Runtime.Executable); err != nil || time.Since(info.ModTime()) > time.Hour {
		t.Errorf("its use was not noted: %v", err)
	}
	p.says(fmt.Sprint(keepNewest - 1))
}
