package session

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/towpath/towpath/protocol"
)

// sdkModule is the module that a Go pipeline imports.
const sdkModule = "github.com/towpath/towpath"

// goSources is what a Go program is compiled from.
type goSources struct {
	goTool
	env     goEnv
	carried string // the folder of the SDKs that this tow and others unpacked
	// files are the sources, and are named in the manifest. settings are files that decide what is compiled and how; whatever they change is in the
	// compiled program, by which the manifest names it.
	files, settings []protocol.ProgramFile
	folders         []folder
	stamps          []stamp           // of what is there or not, or is too large to be read each time
	trimmed         map[string]string // the folders of packages, by what -trimpath calls them
}

// goPackage is a part of what `go list -json` prints.
type goPackage struct {
	Dir        string
	ImportPath string
	Name       string
	Standard   bool
	DepOnly    bool
	Module     *struct{ Path, Version string }

	GoFiles, CgoFiles, IgnoredGoFiles, IgnoredOtherFiles, CFiles, CXXFiles, MFiles, HFiles, FFiles, SFiles, SwigFiles, SwigCXXFiles, SysoFiles []string
	EmbedPatterns, EmbedFiles                                                                                                                  []string
}

// goPackageFields are those of goPackage.
const goPackageFields = "Dir,ImportPath,Name,Standard,DepOnly,Module,GoFiles,CgoFiles,IgnoredGoFiles,IgnoredOtherFiles,CFiles,CXXFiles,MFiles,HFiles,FFiles,SFiles,SwigFiles,SwigCXXFiles,SysoFiles,EmbedPatterns,EmbedFiles"

// files returns the names of what the package is made of. Those that the build leaves out count as well: what they say may be why.
func (g goPackage) files() []string {
	return slices.Concat(g.GoFiles, g.CgoFiles, g.IgnoredGoFiles, g.IgnoredOtherFiles, g.CFiles, g.CXXFiles, g.MFiles, g.HFiles, g.FFiles, g.SFiles,
		g.SwigFiles, g.SwigCXXFiles, g.SysoFiles, g.EmbedFiles)
}

// folders returns the folders in which a new file may change what the package is made of: its own, and all that an embed pattern looks into.
func (g goPackage) folders() []string {
	out := []string{g.Dir}
	for _, pattern := range g.EmbedPatterns {
		pattern = strings.TrimPrefix(pattern, "all:")
		for at := pattern; at != "."; at = path.Dir(at) {
			found, err := filepath.Glob(filepath.Join(globQuote(g.Dir), filepath.FromSlash(at)))
			if err != nil {
				continue // go list would have refused the pattern
			}
			for _, f := range found {
				if at == pattern {
					out = append(out, foldersBelow(f)...)
				} else if isFolder(f) {
					out = append(out, f)
				}
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// globQuote makes a pattern that only the path itself matches.
func globQuote(path string) string {
	return strings.NewReplacer(`*`, `[*]`, `?`, `[?]`, `[`, `[[]`).Replace(path)
}

// foldersBelow returns path with all folders in it, or nothing where it is none.
func foldersBelow(path string) []string {
	var out []string
	_ = filepath.WalkDir(path, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			out = append(out, path)
		}
		return nil // what cannot be read is not embedded either
	})
	return out
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// trimmedName is what -trimpath calls the package's folder.
func (g goPackage) trimmedName() string {
	if g.Module == nil || g.Module.Version == "" {
		return g.ImportPath
	}
	return g.Module.Path + "@" + g.Module.Version + strings.TrimPrefix(g.ImportPath, g.Module.Path)
}

// goEnv is a part of what `go env` prints.
type goEnv struct{ GOVERSION, GOWORK, GOMODCACHE, GOMOD, GOENV, CC, CXX string }

// hasWork tells whether there is a workspace of the user.
func (e goEnv) hasWork() bool { return e.GOWORK != "" && e.GOWORK != "off" }

// goSources lists what a program is compiled from. Packages of the standard library are named by the toolchain's version, those in the module
// cache by go.sum, and the SDK by its digest in the record; everything else is read.
func (c Config) goSources(ctx context.Context, p Program) (goSources, error) {
	s := goSources{carried: filepath.Join(c.CacheDir, "sdk", string(Go)), trimmed: map[string]string{}}
	var err error
	if s.goTool, err = c.goTool(p); err != nil {
		return s, err
	}
	out, err := s.run(ctx, p.Path, "env", "-json", "GOVERSION", "GOWORK", "GOMODCACHE", "GOMOD", "GOENV", "CC", "CXX")
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(out, &s.env); err != nil {
		return s, fmt.Errorf("read `go env`: %w", err)
	}
	if s.env.GOMOD == "" || s.env.GOMOD == os.DevNull {
		return s, &Error{Text: fmt.Sprintf("%s is in no Go module", p.Name()), Hint: "`tow init go` makes one"}
	}
	m, err := s.readModules(ctx, p)
	if err != nil {
		return s, err
	}
	if err := s.findSDK(ctx, c, p, m); err != nil {
		return s, err
	}
	out, err = s.run(ctx, p.Path, "list", "-deps", "-json="+goPackageFields, ".")
	if err != nil {
		return s, err
	}
	paths, err := s.collect(out)
	if err != nil {
		return s, err
	}
	s.stampSettings(c, p)
	for _, dir := range m.folders() {
		paths = append(paths, filepath.Join(dir, "go.mod"), filepath.Join(dir, "go.sum"))
	}
	if s.files, err = c.digestFiles(ctx, paths); err != nil {
		return s, err
	}
	paths = []string{filepath.Join(filepath.Dir(s.env.GOMOD), "vendor", "modules.txt")}
	if s.env.GOENV != "" && s.env.GOENV != "off" {
		paths = append(paths, s.env.GOENV)
	}
	if s.env.hasWork() {
		paths = append(paths, s.env.GOWORK, s.env.GOWORK+".sum", filepath.Join(filepath.Dir(s.env.GOWORK), "vendor", "modules.txt"))
	}
	s.settings, err = c.digestFiles(ctx, paths)
	return s, err
}

func (c Config) digestFiles(ctx context.Context, paths []string) ([]protocol.ProgramFile, error) {
	var files []protocol.ProgramFile
	slices.Sort(paths)
	for _, path := range slices.Compact(paths) {
		d, err := c.digestFile(ctx, path)
		if err != nil {
			return nil, err
		}
		files = append(files, protocol.ProgramFile{Path: path, Digest: d})
	}
	return files, nil
}

// stampSettings notes where the go command looks for modules and workspaces, since a go.mod or go.work that appears below or above changes the
// program, and the programs and files that take part in a build besides.
func (s *goSources) stampSettings(c Config, p Program) {
	s.stamps = append(s.stamps, stampOf(s.tool), stampOf(filepath.Join(p.Path, "default.pgo")))
	for _, compiler := range []string{s.env.CC, s.env.CXX} {
		if words := strings.Fields(compiler); len(words) > 0 {
			if file, err := c.lookPath(words[0]); err == nil {
				s.stamps = append(s.stamps, stampOf(file))
			}
		}
	}
	flags, _ := c.Lookup("GOFLAGS")
	for flag := range strings.FieldsSeq(flags) {
		name, file, _ := strings.Cut(strings.TrimLeft(flag, "-"), "=")
		if slices.Contains([]string{"modfile", "overlay", "pgo"}, name) {
			if !filepath.IsAbs(file) {
				file = filepath.Join(p.Path, file)
			}
			s.stamps = append(s.stamps, stampOf(file))
		}
	}
	below := true
	for at := p.Path; ; at = filepath.Dir(at) {
		if below = below && at != filepath.Dir(s.env.GOMOD); below {
			s.stamps = append(s.stamps, stampOf(filepath.Join(at, "go.mod")))
		}
		s.stamps = append(s.stamps, stampOf(filepath.Join(at, "go.work")))
		if filepath.Dir(at) == at {
			return
		}
	}
}

// collect returns the files of the listed packages, and notes their folders.
func (s *goSources) collect(listed []byte) ([]string, error) {
	var paths []string
	dec := json.NewDecoder(bytes.NewReader(listed))
	for {
		var g goPackage
		err := dec.Decode(&g)
		if errors.Is(err, io.EOF) {
			return paths, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read `go list`: %w", err)
		}
		if !g.DepOnly && g.Name != "main" {
			return nil, &Error{
				Text: fmt.Sprintf("%s is the package %s, not a program", g.ImportPath, g.Name),
				Hint: "a pipeline in Go is a package main that calls towpath.Main; `tow init go` makes one",
			}
		}
		if g.Standard || inside(g.Dir, s.carried) || inside(g.Dir, s.env.GOMODCACHE) {
			continue
		}
		g.Dir = s.inTree(g.Dir)
		s.trimmed[g.trimmedName()] = g.Dir
		for _, name := range g.files() {
			paths = append(paths, filepath.Join(g.Dir, name))
		}
		for _, dir := range g.folders() {
			s.folders = append(s.folders, folder{Path: dir, Names: listing(dir, "")})
		}
	}
}

func inside(path, folder string) bool {
	return strings.HasPrefix(path, folder+string(filepath.Separator))
}

// place finds the file of a site. The SDK knows the folders of the program's own module, and calls those of others as -trimpath does.
func (s *goSources) place(p Program, at protocol.Site) protocol.Site {
	if dir, ok := s.trimmed[path.Dir(at.File)]; ok {
		file := filepath.Join(dir, path.Base(at.File))
		if rel, err := filepath.Rel(p.Root, file); err == nil && filepath.IsLocal(rel) {
			file = rel
		}
		at.File = filepath.ToSlash(file)
	}
	return at
}
