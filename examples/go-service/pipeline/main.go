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
	cache := towpath.Param[string](p, "gocache", towpath.Default(""), towpath.Env("GOCACHE"),
		towpath.Doc("build cache to use; empty for none"))

	format := towpath.Stage(p, "format", Format, FormatIn{Code: code},
		towpath.Doc("Check that gofmt would change nothing."))
	vet := towpath.Stage(p, "vet", Vet, GoIn{Code: code, Cache: cache},
		towpath.Doc("Look for suspicious code."), towpath.Timeout(10*time.Minute))
	test := towpath.Stage(p, "test", Test, GoIn{Code: code, Cache: cache},
		towpath.Doc("Run the tests."), towpath.Timeout(10*time.Minute))

	var builds []towpath.Ref[towpath.File]
	for _, platform := range platforms {
		in := BuildIn{Code: program, Cache: cache, Version: version, OS: platform.OS, Arch: platform.Arch}
		builds = append(builds, towpath.Stage(p, "build", Build, in, towpath.Bind("os", "arch"),
			towpath.Doc("Compile the program for one platform."), towpath.Timeout(10*time.Minute)))
	}
	towpath.Stage(p, "release", Release, ReleaseIn{Programs: towpath.Gather(builds...)},
		towpath.After(format, vet, test), towpath.Doc("Put what is to be released into one folder, with checksums."))
}

// GoIn is what stages take that run the go command.
type GoIn struct {
	Code  towpath.Ref[towpath.Directory]
	Cache towpath.Ref[string] `towpath:"gocache"`
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
	_, err := run(ctx, in.Code, in.Cache, towpath.Step{Args: []string{"vet", "./..."}})
	return towpath.None{}, err
}

// Test runs the tests.
func Test(ctx context.Context, in GoIn) (towpath.TestReport, error) {
	const events = "events.jsonl"
	result, err := run(ctx, in.Code, in.Cache, towpath.Step{
		Args: []string{"test", "-json", "./..."}, OK: []int{0, 1}, Outputs: []string{events},
	}, "sh", "-c", `"$@" >`+events, "sh")
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
	Cache   towpath.Ref[string] `towpath:"gocache"`
	Version towpath.Ref[string]
	OS      string
	Arch    string
}

// Build compiles the program for one platform.
func Build(ctx context.Context, in BuildIn) (towpath.File, error) {
	name := fmt.Sprintf("shortener-%s-%s-%s", in.Version.Get(), in.OS, in.Arch)
	result, err := run(ctx, in.Code, in.Cache, towpath.Step{
		Args: []string{
			"build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -X main.version=" + in.Version.Get(),
			"-o", name, "./cmd/shortener",
		},
		Env:     map[string]string{"CGO_ENABLED": "0", "GOOS": in.OS, "GOARCH": in.Arch},
		Outputs: []string{name},
	})
	if err != nil {
		return towpath.File{}, err
	}
	return result.File(name)
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

// run runs the go command on the code of the service, where wrapper is given as the last arguments of that.
func run(
	ctx context.Context, code towpath.Ref[towpath.Directory], cache towpath.Ref[string], step towpath.Step, wrapper ...string,
) (towpath.StepResult, error) {
	tool, err := towpath.Tool(ctx, "go")
	if err != nil {
		return towpath.StepResult{}, err
	}
	step.Args = slices.Concat(wrapper, []string{tool}, step.Args)
	step.Tree = []towpath.Mount{{Content: code.Get()}}
	env := map[string]string{"GOFLAGS": "-mod=readonly", "GOPROXY": "off", "GOTOOLCHAIN": "local"}
	if cache.Get() != "" {
		env["GOCACHE"] = cache.Get()
	}
	maps.Copy(env, step.Env)
	step.Env = env
	return towpath.Run(ctx, step)
}
