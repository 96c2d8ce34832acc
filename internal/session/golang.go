package session

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/protocol"
)

// sdkModule is the module that a Go pipeline imports.
const sdkModule = "github.com/towpath/towpath"

// goSources are the files that a Go program is compiled from.
type goSources struct {
	tool    string // the go command
	version string // go1.26.1
	work    string // GOWORK of the build; empty for what the user has
	root    string // of the program
	carried string // the folder of the SDKs that this tow and others unpacked
	files   []protocol.ProgramFile
	folders []folder
	stamps  []stamp // of what decides about modules, where there is such a thing or not
}

// goPackage is a part of what `go list -json` prints.
type goPackage struct {
	Dir        string
	ImportPath string
	Name       string
	Standard   bool
	DepOnly    bool

	GoFiles, CgoFiles, IgnoredGoFiles, CFiles, CXXFiles, MFiles, HFiles, FFiles, SFiles, SwigFiles, SwigCXXFiles, SysoFiles, EmbedFiles []string
}

// goPackageFields are those of goPackage.
const goPackageFields = "Dir,ImportPath,Name,Standard,DepOnly,GoFiles,CgoFiles,IgnoredGoFiles,CFiles,CXXFiles,MFiles,HFiles,FFiles,SFiles,SwigFiles,SwigCXXFiles,SysoFiles,EmbedFiles"

// files returns the paths of what the package is made of. Those that the build leaves out count as well: what they say may be why.
func (g goPackage) files() []string {
	var out []string
	for _, list := range [][]string{
		g.GoFiles, g.CgoFiles, g.IgnoredGoFiles, g.CFiles, g.CXXFiles, g.MFiles, g.HFiles, g.FFiles, g.SFiles, g.SwigFiles, g.SwigCXXFiles, g.SysoFiles, g.EmbedFiles,
	} {
		for _, name := range list {
			out = append(out, filepath.Join(g.Dir, name))
		}
	}
	return out
}

// folders returns the folders in which a new file may change what the package is made of.
func (g goPackage) folders() []string {
	out := []string{g.Dir}
	for _, name := range g.EmbedFiles {
		for dir := filepath.Dir(name); dir != "."; dir = filepath.Dir(dir) {
			out = append(out, filepath.Join(g.Dir, dir))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// goSources lists what a program is compiled from. Packages of the standard library are named by the toolchain's version, those in the module
// cache by go.sum, and the SDK by the protocol; everything else is read.
func (c Config) goSources(ctx context.Context, p Program) (goSources, error) {
	s := goSources{root: p.Root, carried: filepath.Join(c.CacheDir, "sdk", string(Go))}
	var err error
	if s.tool, err = c.lookPath("go"); err != nil {
		return s, &Error{Text: fmt.Sprintf("%s is written in Go, and the go command was not found in PATH", p.Name()), Hint: "install Go 1.26 or later"}
	}
	var env goEnv
	out, err := s.run(ctx, p.Path, "env", "-json", "GOVERSION", "GOWORK", "GOMODCACHE", "GOMOD", "GOENV")
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(out, &env); err != nil {
		return s, fmt.Errorf("read `go env`: %w", err)
	}
	s.version = env.GOVERSION
	if env.GOMOD == "" || env.GOMOD == os.DevNull {
		return s, &Error{Text: fmt.Sprintf("%s is in no Go module", p.Name()), Hint: "`tow init go` makes one"}
	}
	if err := s.findSDK(ctx, c, p, env.GOMOD, env.GOWORK); err != nil {
		return s, err
	}
	out, err = s.run(ctx, p.Path, "list", "-deps", "-json="+goPackageFields, ".")
	if err != nil {
		return s, err
	}
	s.stampModules(p, env)
	return s, s.collect(ctx, c, out, env)
}

// goEnv is a part of what `go env` prints.
type goEnv struct{ GOVERSION, GOWORK, GOMODCACHE, GOMOD, GOENV string }

// stampModules notes where the go command looks for modules and workspaces: a go.mod or go.work that appears below or above changes the program.
func (s *goSources) stampModules(p Program, env goEnv) {
	s.stamps = append(s.stamps, stampOf(env.GOENV))
	below := true
	for at := p.Path; ; at = filepath.Dir(at) {
		if below = below && at != filepath.Dir(env.GOMOD); below {
			s.stamps = append(s.stamps, stampOf(filepath.Join(at, "go.mod")))
		}
		s.stamps = append(s.stamps, stampOf(filepath.Join(at, "go.work")))
		if filepath.Dir(at) == at {
			return
		}
	}
}

// findSDK makes the SDK importable: a module that does not find it where it says is built in a workspace that adds the one inside tow.
func (s *goSources) findSDK(ctx context.Context, c Config, p Program, mod, work string) error {
	s.work = work
	sdk, err := unpack(c.CacheDir, "go", c.GoSDK)
	if err != nil {
		return err
	}
	var found struct{ Dir string }
	cmd := s.command(ctx, p.Path, "list", "-m", "-json", sdkModule)
	cmd.Env = append(cmd.Env, "GOPROXY=off")
	if out, err := cmd.Output(); err == nil && json.Unmarshal(out, &found) == nil && found.Dir != "" && filepath.Dir(found.Dir) != s.carried {
		return nil
	}
	uses, replaces := []string{filepath.Dir(mod)}, ""
	if work != "" && work != "off" {
		more, replaced, err := s.readWork(ctx, p, work)
		if err != nil {
			return err
		}
		uses, replaces = append(uses, more...), replaced
	}
	slices.Sort(uses)
	uses = slices.Compact(uses)
	versions, err := s.requiredSDK(ctx, p, uses)
	if err != nil {
		return err
	}
	for _, v := range versions {
		// A workspace still asks for the go.mod of the version that a module requires, which may never have been published.
		replaces += fmt.Sprintf("replace %s %s => %q\n", sdkModule, v, sdk)
	}
	text := "go " + goVersion(s.version) + "\n"
	for _, u := range append(uses, sdk) {
		text += fmt.Sprintf("use %q\n", u)
	}
	return s.writeWork(c, text+replaces)
}

// requiredSDK returns the versions of the SDK that modules require.
func (s *goSources) requiredSDK(ctx context.Context, p Program, modules []string) ([]string, error) {
	var versions []string
	for _, dir := range modules {
		out, err := s.run(ctx, p.Path, "mod", "edit", "-json", filepath.Join(dir, "go.mod"))
		if err != nil {
			return nil, err
		}
		var doc struct {
			Require []struct{ Path, Version string }
		}
		if err := json.Unmarshal(out, &doc); err != nil {
			return nil, fmt.Errorf("read the go.mod in %s: %w", dir, err)
		}
		for _, r := range doc.Require {
			if r.Path == sdkModule {
				versions = append(versions, r.Version)
			}
		}
	}
	slices.Sort(versions)
	return slices.Compact(versions), nil
}

// readWork returns what the user's own go.work says: the folders of its modules, and its replacements in the form of a go.work elsewhere.
func (s *goSources) readWork(ctx context.Context, p Program, work string) (uses []string, replaces string, err error) {
	out, err := s.run(ctx, p.Path, "work", "edit", "-json", work)
	if err != nil {
		return nil, "", err
	}
	type module struct{ Path, Version string }
	var doc struct {
		Use     []struct{ DiskPath string }
		Replace []struct{ Old, New module }
	}
	if err := json.Unmarshal(out, &doc); err != nil {
		return nil, "", fmt.Errorf("read %s: %w", work, err)
	}
	absolute := func(path string) string {
		if filepath.IsAbs(path) {
			return path
		}
		return filepath.Join(filepath.Dir(work), path)
	}
	for _, u := range doc.Use {
		path := absolute(u.DiskPath)
		if filepath.Dir(path) != s.carried { // that of this tow, or of another one that wrote the file
			uses = append(uses, path)
		}
	}
	for _, r := range doc.Replace {
		if r.New.Version == "" {
			r.New.Path = absolute(r.New.Path)
		}
		replaces += fmt.Sprintf("replace %q %s => %q %s\n", r.Old.Path, r.Old.Version, r.New.Path, r.New.Version)
	}
	return uses, replaces, nil
}

// writeWork makes a workspace of this text, once.
func (s *goSources) writeWork(c Config, text string) error {
	dir := filepath.Join(c.CacheDir, "gowork", digest.OfBytes([]byte(text)).Hex())
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make a Go workspace: %w", err)
	}
	s.work = filepath.Join(dir, "go.work")
	if exists(s.work) {
		return nil
	}
	tmp, err := os.CreateTemp(dir, "go.work.*")
	if err != nil {
		return fmt.Errorf("make a Go workspace: %w", err)
	}
	defer os.Remove(tmp.Name()) // gone already when it was renamed
	_, err = tmp.WriteString(text)
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), s.work)
	}
	if err != nil {
		return fmt.Errorf("make a Go workspace: %w", err)
	}
	return nil
}

// goVersion returns what a go.work says for a toolchain: 1.26.1 of go1.26.1, and 1.27 of "devel go1.27-abcdef". A workspace must not say less than its modules.
func goVersion(version string) string {
	m := regexp.MustCompile(`go(\d+\.\d+(?:\.\d+|rc\d+|beta\d+)?)`).FindStringSubmatch(version)
	if m == nil {
		return version
	}
	return m[1]
}

// goLanguage returns the language version of a toolchain: 1.26 of go1.26.1.
func goLanguage(version string) string {
	return regexp.MustCompile(`^\d+\.\d+|`).FindString(goVersion(version))
}

func (s *goSources) command(ctx context.Context, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, s.tool, args...)
	cmd.Dir = dir
	cmd.WaitDelay = time.Second // what it started may hold its output open
	cmd.Env = os.Environ()
	if s.work != "" {
		cmd.Env = append(cmd.Env, "GOWORK="+s.work)
	}
	return cmd
}

// run runs the go command; what it says of a wrong program is the program's *Error.
func (s *goSources) run(ctx context.Context, dir string, args ...string) ([]byte, error) {
	cmd := s.command(ctx, dir, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		e := &Error{Trace: strings.TrimSpace(stderr.String())}
		if e.File, e.Line, e.Text = goComplaint(e.Trace, s.root, dir); e.Text == "" {
			e.Text = err.Error()
		}
		e.Text = fmt.Sprintf("`go %s` refused the pipeline program: %s", args[0], e.Text)
		return nil, e
	}
	return stdout.Bytes(), nil
}

// goComplaint finds the first complaint in what the go command says, and where it is, relative to root where it is below that.
func goComplaint(text, root, dir string) (file string, line int, complaint string) {
	m := regexp.MustCompile(`(?m)^(\S+\.go):(\d+):(?:\d+:)? ?(.*)$`).FindStringSubmatch(text)
	if m == nil {
		for l := range strings.Lines(text) {
			if !strings.HasPrefix(l, "#") { // the name of a package
				return "", 0, strings.TrimSpace(l)
			}
		}
		return "", 0, ""
	}
	file = m[1]
	if !filepath.IsAbs(file) {
		file = filepath.Join(dir, file)
	}
	if rel, err := filepath.Rel(root, file); err == nil && filepath.IsLocal(rel) {
		file = rel
	}
	line, err := strconv.Atoi(m[2])
	if err != nil {
		return "", 0, m[3]
	}
	return filepath.ToSlash(file), line, m[3]
}

// collect reads the files of the listed packages.
func (s *goSources) collect(ctx context.Context, c Config, listed []byte, env goEnv) error {
	paths := []string{env.GOMOD, filepath.Join(filepath.Dir(env.GOMOD), "go.sum")}
	if env.GOWORK != "" && env.GOWORK != "off" {
		paths = append(paths, env.GOWORK, env.GOWORK+".sum")
	}
	dec := json.NewDecoder(bytes.NewReader(listed))
	for {
		var g goPackage
		err := dec.Decode(&g)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read `go list`: %w", err)
		}
		if !g.DepOnly && g.Name != "main" {
			return &Error{
				Text: fmt.Sprintf("%s is the package %s, not a program", g.ImportPath, g.Name),
				Hint: "a pipeline in Go is a package main that calls towpath.Main; `tow init go` makes one",
			}
		}
		if g.Standard || inside(g.Dir, s.carried) || inside(g.Dir, env.GOMODCACHE) {
			continue
		}
		paths = append(paths, g.files()...)
		for _, dir := range g.folders() {
			s.folders = append(s.folders, folder{Path: dir, Names: listing(dir, "")})
		}
	}
	slices.Sort(paths)
	for _, path := range slices.Compact(paths) {
		d, err := c.digestFile(ctx, path)
		if err != nil {
			return err
		}
		s.files = append(s.files, protocol.ProgramFile{Path: path, Digest: d})
	}
	return nil
}

func inside(path, folder string) bool {
	return strings.HasPrefix(path, folder+string(filepath.Separator))
}

// buildGo compiles a program, once for the content of its sources, and returns the compiled file as its runtime.
func (c Config) buildGo(ctx context.Context, p Program, s goSources) (runtimeInfo, error) {
	sdk, err := sdkDigest(c.GoSDK)
	if err != nil {
		return runtimeInfo{}, err
	}
	var env []string
	for _, v := range []string{
		"GOFLAGS", "GOOS", "GOARCH", "GOAMD64", "GOARM64", "GOWORK", "CGO_ENABLED", "GOTOOLCHAIN", "GOEXPERIMENT", "GOENV", "CC", "CXX", "CGO_CFLAGS", "CGO_LDFLAGS",
	} {
		env = append(env, variable(c.Lookup, v))
	}
	h := digest.NewHasher()
	fmt.Fprintf(h, "%s\x00%s\x00%s\x00%s\x00%q\x00", p.Path, s.version, sdk, s.work, env)
	for _, f := range s.files {
		fmt.Fprintf(h, "%s\x00%s\x00", f.Path, f.Digest)
	}
	dir := filepath.Join(c.CacheDir, "programs", "go")
	binary := filepath.Join(dir, h.Digest().Hex())
	if !exists(binary) {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return runtimeInfo{}, fmt.Errorf("compile the pipeline program: %w", err)
		}
		own, err := os.MkdirTemp(dir, ".build-")
		if err != nil {
			return runtimeInfo{}, fmt.Errorf("compile the pipeline program: %w", err)
		}
		defer os.RemoveAll(own)
		tmp := filepath.Join(own, "program")
		if _, err := s.run(ctx, p.Path, "build", "-buildvcs=false", "-o", tmp, "."); err != nil {
			return runtimeInfo{}, err
		}
		if err := os.Rename(tmp, binary); err != nil {
			return runtimeInfo{}, fmt.Errorf("compile the pipeline program: %w", err)
		}
	}
	r := runtimeInfo{
		Asked: c.Python, Executable: binary, Version: "go" + goLanguage(s.version), Stamps: append(s.stamps, stampOf(s.tool), stampOf(binary)),
		Env: append(env, variable(c.Lookup, "PATH")),
	}
	return r, nil
}
