// Command pipeline is the pipeline of the shortener: `tow run`.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/towpath/towpath"
)

// Where things are in the workspace of a step, and the module that the service is.
const (
	codeFolder  = "code"
	cacheFolder = "cache"
	module      = "example.com/shortener"
)

var platforms = []Platform{{"linux", "amd64"}, {"linux", "arm64"}}

// Platform is what a program is built for.
type Platform struct {
	OS   string
	Arch string
}

func main() { towpath.Main(pipeline) }

func pipeline(p *towpath.Pipeline) {
	code := p.Source("go.mod", "cmd", "link")
	program := p.Source("go.mod", "cmd", "link", "!**/*_test.go")
	version := towpath.Param[string](p, "version", towpath.Default("dev"), towpath.Env("VERSION"),
		towpath.Doc("what the program says it is"))
	imports := towpath.Stage(p, "imports", Imports, ImportsIn{Code: code},
		towpath.Doc("List what the packages of the service import."))
	cache := compiled(p, imports, "tests")

	format := towpath.Stage(p, "format", Format, FormatIn{Code: code},
		towpath.Doc("Check that gofmt would change nothing."))
	vet := towpath.Stage(p, "vet", Vet, GoIn{Code: code, Cache: cache},
		towpath.Doc("Look for suspicious code."), towpath.Timeout(10*time.Minute))
	test := towpath.Stage(p, "test", Test, GoIn{Code: code, Cache: cache},
		towpath.Doc("Run the tests."), towpath.Timeout(10*time.Minute))

	var builds []towpath.Ref[towpath.File]
	for _, platform := range platforms {
		in := BuildIn{
			Code: program, Cache: compiled(p, imports, platform.OS+"/"+platform.Arch), Version: version, OS: platform.OS, Arch: platform.Arch,
		}
		builds = append(builds, towpath.Stage(p, "build", Build, in, towpath.Bind("os", "arch"),
			towpath.Doc("Compile the program for one platform."), towpath.Timeout(10*time.Minute)))
	}
	towpath.Stage(p, "release", Release, ReleaseIn{Programs: towpath.Gather(builds...)},
		towpath.After(format, vet, test), towpath.Doc("Put what is to be released into one folder, with checksums."))
}

// compiled declares the stage that compiles what the service imports, for tests on this machine or for a platform. It takes nothing of the code but go.mod, so it is seldom run, and the others compile the packages of the service alone.
func compiled(p *towpath.Pipeline, imports towpath.Ref[[]string], target string) towpath.Ref[towpath.Directory] {
	in := CompileIn{Mod: p.Source("go.mod"), Imports: imports, For: target}
	return towpath.Stage(p, "compile", Compile, in, towpath.Bind("for"),
		towpath.Doc("Compile what the packages of the service import."), towpath.Timeout(10*time.Minute))
}

// GoIn is what stages take that run the go command.
type GoIn struct {
	Code  towpath.Ref[towpath.Directory]
	Cache towpath.Ref[towpath.Directory]
}

// ImportsIn is what Imports takes.
type ImportsIn struct {
	Code towpath.Ref[towpath.Directory]
}

// Imports lists what the packages of the service import, and their tests, but for each other.
func Imports(ctx context.Context, in ImportsIn) ([]string, error) {
	const each = `{{join .Imports "\n"}}{{"\n"}}{{join .TestImports "\n"}}{{"\n"}}{{join .XTestImports "\n"}}`
	result, err := run(ctx, in.Code.Get(), towpath.Directory{}, towpath.Step{Args: []string{"list", "-f", each, "./..."}})
	if err != nil {
		return nil, err
	}
	text, err := result.Stdout.Text(ctx)
	if err != nil {
		return nil, err
	}
	imports := strings.Fields(text)
	slices.Sort(imports)
	return slices.DeleteFunc(slices.Compact(imports), func(path string) bool { return strings.HasPrefix(path, module+"/") }), nil
}

// CompileIn is what Compile takes.
type CompileIn struct {
	Mod     towpath.Ref[towpath.Directory]
	Imports towpath.Ref[[]string]
	For     string // "tests", or a platform such as "linux/arm64"
}

// Compile compiles packages and what they import, and returns the build cache of Go with them.
func Compile(ctx context.Context, in CompileIn) (towpath.Directory, error) {
	source := "package all\n\n"
	for _, path := range in.Imports.Get() {
		source += fmt.Sprintf("import _ %q\n", path)
	}
	all, err := towpath.NewFile(ctx, "all_test.go", strings.NewReader(source))
	if err != nil {
		return towpath.Directory{}, err
	}
	tree, err := towpath.NewDirectory(ctx, towpath.Mount{Content: in.Mod.Get()}, towpath.Mount{Path: all.Name(), Content: all})
	if err != nil {
		return towpath.Directory{}, err
	}
	step := towpath.Step{Args: []string{"test", "-run", "^$", "."}, Outputs: []string{cacheFolder}}
	if system, arch, ok := strings.Cut(in.For, "/"); ok {
		step.Args = []string{"test", "-trimpath", "-vet=off", "-c", "-o", "/dev/null", "."}
		step.Env = platformEnv(system, arch)
	}
	result, err := run(ctx, tree, towpath.Directory{}, step)
	if err != nil {
		return towpath.Directory{}, err
	}
	return result.Directory(cacheFolder)
}

func platformEnv(system, arch string) map[string]string {
	return map[string]string{"CGO_ENABLED": "0", "GOOS": system, "GOARCH": arch}
}

// FormatIn is what Format takes.
type FormatIn struct {
	Code towpath.Ref[towpath.Directory]
}

// Format checks that gofmt would change nothing.
func Format(ctx context.Context, in FormatIn) (towpath.None, error) {
	gofmt, err := towpath.Tool(ctx, "gofmt")
	if err != nil {
		return towpath.None{}, err
	}
	result, err := towpath.Run(ctx, towpath.Step{
		Args: []string{gofmt, "-l", "."},
		Tree: []towpath.Mount{{Content: in.Code.Get()}},
	})
	if err != nil {
		return towpath.None{}, err
	}
	files, err := result.Stdout.Text(ctx)
	if err == nil && files != "" {
		err = fmt.Errorf("gofmt would change %s", strings.Join(strings.Fields(files), ", "))
	}
	return towpath.None{}, err
}

// Vet looks for suspicious code.
func Vet(ctx context.Context, in GoIn) (towpath.None, error) {
	_, err := run(ctx, in.Code.Get(), in.Cache.Get(), towpath.Step{Args: []string{"vet", "./..."}})
	return towpath.None{}, err
}

// Test runs the tests.
func Test(ctx context.Context, in GoIn) (towpath.TestReport, error) {
	const events = codeFolder + "/events.jsonl"
	result, err := run(ctx, in.Code.Get(), in.Cache.Get(), towpath.Step{
		Args: []string{"test", "-json", "./..."}, OK: []int{0, 1}, Outputs: []string{events},
	}, "sh", "-c", `"$@" >events.jsonl`, "sh")
	if err != nil {
		return towpath.TestReport{}, err
	}
	printed, err := result.File(events)
	if err != nil {
		return towpath.TestReport{}, err
	}
	tests, err := readTests(printed.Open(ctx))
	if err != nil {
		return towpath.TestReport{}, fmt.Errorf("read what go test printed: %w", err)
	}
	for _, test := range tests {
		if test.Failure != nil {
			towpath.Logger(ctx).Error(*test.Failure, "test", test.Name, "package", test.Class)
		}
	}
	junit, err := junitOf(tests)
	if err != nil {
		return towpath.TestReport{}, fmt.Errorf("write the report: %w", err)
	}
	file, err := towpath.NewFile(ctx, "report.xml", bytes.NewReader(junit))
	if err != nil {
		return towpath.TestReport{}, err
	}
	report, err := towpath.NewTestReport(ctx, file)
	if err == nil && (!report.Passed() || result.ExitCode != 0) {
		err = fmt.Errorf("%d of %d tests failed", report.Failures+report.Errors, report.Tests)
	}
	return report, err
}

// BuildIn is what Build takes.
type BuildIn struct {
	Code    towpath.Ref[towpath.Directory]
	Cache   towpath.Ref[towpath.Directory]
	Version towpath.Ref[string]
	OS      string
	Arch    string
}

// Build compiles the program for one platform.
func Build(ctx context.Context, in BuildIn) (towpath.File, error) {
	name := fmt.Sprintf("shortener-%s-%s-%s", in.Version.Get(), in.OS, in.Arch)
	output := codeFolder + "/" + name
	result, err := run(ctx, in.Code.Get(), in.Cache.Get(), towpath.Step{
		Args: []string{
			"build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -X main.version=" + in.Version.Get(),
			"-o", name, "./cmd/shortener",
		},
		Env:     platformEnv(in.OS, in.Arch),
		Outputs: []string{output},
	})
	if err != nil {
		return towpath.File{}, err
	}
	return result.File(output)
}

// ReleaseIn is what Release takes.
type ReleaseIn struct {
	Programs towpath.Ref[[]towpath.File]
}

// Release puts the programs into one folder, with their checksums.
func Release(ctx context.Context, in ReleaseIn) (towpath.Directory, error) {
	var sums []string
	var mounts []towpath.Mount
	for _, program := range in.Programs.Get() {
		hash := sha256.New()
		if _, err := io.Copy(hash, program.Open(ctx)); err != nil {
			return towpath.Directory{}, err
		}
		sums = append(sums, fmt.Sprintf("%x  %s\n", hash.Sum(nil), program.Name()))
		mounts = append(mounts, towpath.Mount{Path: program.Name(), Content: program})
	}
	slices.Sort(sums)
	file, err := towpath.NewFile(ctx, "SHA256SUMS", strings.NewReader(strings.Join(sums, "")))
	if err != nil {
		return towpath.Directory{}, err
	}
	return towpath.NewDirectory(ctx, append(mounts, towpath.Mount{Path: file.Name(), Content: file})...)
}

// run runs the go command on code, with what a cache has, where wrapper is given as the last arguments of that. Go drops from a
// cache what was not used for days, by the times of files; these say nothing in a workspace, so it is told that it has just done so.
func run(
	ctx context.Context, code, cache towpath.Directory, step towpath.Step, wrapper ...string,
) (towpath.StepResult, error) {
	tool, err := towpath.Tool(ctx, "go")
	if err != nil {
		return towpath.StepResult{}, err
	}
	const script = `export GOCACHE="${PWD%/*}/` + cacheFolder + `" && mkdir -p "$GOCACHE" && date +%s >"$GOCACHE/trim.txt" && exec "$@"`
	step.Args = slices.Concat([]string{"sh", "-c", script, "sh"}, wrapper, []string{tool}, step.Args)
	step.Cwd = codeFolder
	step.Tree = []towpath.Mount{{Path: codeFolder, Content: code}}
	if cache != (towpath.Directory{}) {
		step.Tree = append(step.Tree, towpath.Mount{Path: cacheFolder, Content: cache})
	}
	env := map[string]string{"GOFLAGS": "-mod=readonly", "GOPROXY": "off", "GOTOOLCHAIN": "local"}
	maps.Copy(env, step.Env)
	step.Env = env
	return towpath.Run(ctx, step)
}
