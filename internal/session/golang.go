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
	"slices"
	"strings"

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
	files   []protocol.ProgramFile
	folders []folder
}

// goPackage is a part of what `go list -json` prints.
type goPackage struct {
	Dir        string
	ImportPath string
	Name       string
	Standard   bool
	Module     *struct {
		Path, Dir, GoMod string
		Main             bool
	}
	GoFiles, CgoFiles, CFiles, HFiles, SFiles, EmbedFiles []string
}

// goSources lists what a program is compiled from. Packages of the standard library are named by the toolchain's version, those in the module
// cache by go.sum, and the SDK by the protocol; everything else is read.
func (c Config) goSources(ctx context.Context, p Program) (goSources, error) {
	s := goSources{}
	var err error
	if s.tool, err = c.lookPath("go"); err != nil {
		return s, &Error{Text: fmt.Sprintf("%s is written in Go, and the go command was not found in PATH", p.Name()), Hint: "install Go 1.26 or later"}
	}
	var env struct{ GOVERSION, GOWORK, GOMODCACHE, GOMOD string }
	out, err := s.run(ctx, p.Path, "env", "-json", "GOVERSION", "GOWORK", "GOMODCACHE", "GOMOD")
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
	out, err = s.run(ctx, p.Path, "list", "-deps", "-json=Dir,ImportPath,Name,Standard,Module,GoFiles,CgoFiles,CFiles,HFiles,SFiles,EmbedFiles", ".")
	if err != nil {
		return s, err
	}
	return s, s.collect(ctx, c, out, env.GOMOD, env.GOMODCACHE)
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
	carried := filepath.Dir(sdk)
	if out, err := cmd.Output(); err == nil && json.Unmarshal(out, &found) == nil && found.Dir != "" && filepath.Dir(found.Dir) != carried {
		return nil
	}
	uses := []string{filepath.Dir(mod)}
	if work != "" && work != "off" {
		out, err := s.run(ctx, p.Path, "work", "edit", "-json", work)
		if err != nil {
			return err
		}
		var doc struct{ Use []struct{ DiskPath string } }
		if err := json.Unmarshal(out, &doc); err != nil {
			return fmt.Errorf("read %s: %w", work, err)
		}
		for _, u := range doc.Use {
			path := u.DiskPath
			if !filepath.IsAbs(path) {
				path = filepath.Join(filepath.Dir(work), path)
			}
			if filepath.Dir(path) != carried { // that of this tow, or of another one that wrote the file
				uses = append(uses, path)
			}
		}
	}
	slices.Sort(uses)
	text := "go " + goLanguage(s.version) + "\n"
	for _, u := range append(slices.Compact(uses), sdk) {
		text += fmt.Sprintf("use %q\n", u)
	}
	dir := filepath.Join(c.CacheDir, "gowork", digest.OfBytes([]byte(text)).Hex())
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make a Go workspace: %w", err)
	}
	s.work = filepath.Join(dir, "go.work")
	if exists(s.work) {
		return nil
	}
	tmp := filepath.Join(dir, fmt.Sprintf("go.work.%d", os.Getpid()))
	if err := os.WriteFile(tmp, []byte(text), 0o644); err != nil {
		return fmt.Errorf("make a Go workspace: %w", err)
	}
	if err := os.Rename(tmp, s.work); err != nil {
		return fmt.Errorf("make a Go workspace: %w", err)
	}
	return nil
}

// goLanguage returns the language version of a toolchain: 1.26.0 of go1.26.1.
func goLanguage(version string) string {
	v := strings.TrimPrefix(version, "go")
	parts := strings.SplitN(v, ".", 3)
	if len(parts) < 2 {
		return v
	}
	minor := strings.TrimRightFunc(parts[1], func(r rune) bool { return r < '0' || r > '9' })
	return parts[0] + "." + minor
}

func (s *goSources) command(ctx context.Context, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, s.tool, args...)
	cmd.Dir = dir
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
		text := strings.TrimSpace(stderr.String())
		file, line := goPosition(text, filepath.Base(dir))
		return nil, &Error{Text: fmt.Sprintf("`go %s` refused the pipeline program: %v", args[0], err), Trace: text, File: file, Line: line}
	}
	return stdout.Bytes(), nil
}

// collect reads the files of the listed packages.
func (s *goSources) collect(ctx context.Context, c Config, listed []byte, mod, modCache string) error {
	paths := []string{mod, filepath.Join(filepath.Dir(mod), "go.sum")}
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
		inSDK := g.ImportPath == sdkModule || strings.HasPrefix(g.ImportPath, sdkModule+"/protocol")
		if g.Standard || inSDK || strings.HasPrefix(g.Dir, modCache+string(filepath.Separator)) {
			continue
		}
		for _, list := range [][]string{g.GoFiles, g.CgoFiles, g.CFiles, g.HFiles, g.SFiles, g.EmbedFiles} {
			for _, name := range list {
				paths = append(paths, filepath.Join(g.Dir, name))
			}
		}
		s.folders = append(s.folders, folder{Path: g.Dir, Names: listing(g.Dir, "")})
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

// buildGo compiles a program, once for the content of its sources, and returns the compiled file as its runtime.
func (c Config) buildGo(ctx context.Context, p Program, s goSources) (runtimeInfo, error) {
	sdk, err := sdkDigest(c.GoSDK)
	if err != nil {
		return runtimeInfo{}, err
	}
	h := digest.NewHasher()
	fmt.Fprintf(h, "%s\x00%s\x00%s\x00%s\x00", p.Path, s.version, sdk, s.work)
	for _, f := range s.files {
		fmt.Fprintf(h, "%s\x00%s\x00", f.Path, f.Digest)
	}
	dir := filepath.Join(c.CacheDir, "programs", "go")
	binary := filepath.Join(dir, h.Digest().Hex())
	if !exists(binary) {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return runtimeInfo{}, fmt.Errorf("compile the pipeline program: %w", err)
		}
		tmp := fmt.Sprintf("%s.%d.tmp", binary, os.Getpid())
		defer os.Remove(tmp) // gone already when it was renamed
		if _, err := s.run(ctx, p.Path, "build", "-buildvcs=false", "-o", tmp, "."); err != nil {
			return runtimeInfo{}, err
		}
		if err := os.Rename(tmp, binary); err != nil {
			return runtimeInfo{}, fmt.Errorf("compile the pipeline program: %w", err)
		}
	}
	r := runtimeInfo{
		Asked: c.Python, Executable: binary, Version: "go" + goLanguage(s.version), Stamps: []stamp{stampOf(s.tool), stampOf(binary)},
	}
	for _, v := range []string{"PATH", "GOFLAGS", "GOOS", "GOARCH", "GOWORK", "CGO_ENABLED", "GOTOOLCHAIN", "GOEXPERIMENT"} {
		r.Env = append(r.Env, variable(c.Lookup, v))
	}
	return r, nil
}
