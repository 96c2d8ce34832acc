package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/towpath/towpath/internal/digest"
)

// goModules are the main modules of a program and what they say.
type goModules struct {
	dirs     []string // that of the program first
	names    []string
	sdk      []string    // the versions of the SDK that they require
	work     []goReplace // of the user's workspace
	replaces []goReplace // of the modules
}

// goReplace is a replacement. The path of a replacing folder is absolute, and its version empty.
type goReplace struct{ Old, New goModule }

type goModule struct{ Path, Version string }

func (r goReplace) isFolder() bool { return r.New.Version == "" }

// folders returns where the modules are that are in no module cache.
func (m *goModules) folders() []string {
	out := slices.Clone(m.dirs)
	for _, r := range slices.Concat(m.work, m.replaces) {
		if r.isFolder() {
			out = append(out, r.New.Path)
		}
	}
	return out
}

// readModules reads the go.mod of the program, and the user's workspace with its modules. The SDKs that tow unpacked are left out.
func (s *goSources) readModules(ctx context.Context, p Program) (*goModules, error) {
	m := &goModules{dirs: []string{filepath.Dir(s.env.GOMOD)}}
	if s.env.hasWork() {
		var doc struct {
			Use     []struct{ DiskPath string }
			Replace []goReplace
		}
		if err := s.edit(ctx, p, "work", s.env.GOWORK, &doc); err != nil {
			return nil, err
		}
		for _, u := range doc.Use {
			// That of this tow, or of another one that wrote the file, is left out.
			if dir := absoluteIn(filepath.Dir(s.env.GOWORK), u.DiskPath); filepath.Dir(dir) != s.carried && !slices.Contains(m.dirs, dir) {
				m.dirs = append(m.dirs, dir)
			}
		}
		m.work = s.absoluteReplaces(filepath.Dir(s.env.GOWORK), doc.Replace)
	}
	for _, dir := range m.dirs {
		var doc struct {
			Module  goModule
			Require []goModule
			Replace []goReplace
		}
		if err := s.edit(ctx, p, "mod", filepath.Join(dir, "go.mod"), &doc); err != nil {
			return nil, err
		}
		m.names = append(m.names, doc.Module.Path)
		for _, r := range doc.Require {
			if r.Path == sdkModule {
				m.sdk = append(m.sdk, r.Version)
			}
		}
		m.replaces = append(m.replaces, s.absoluteReplaces(dir, doc.Replace)...)
	}
	slices.Sort(m.sdk)
	m.sdk = slices.Compact(m.sdk)
	return m, nil
}

// edit reads a go.mod or go.work.
func (s *goSources) edit(ctx context.Context, p Program, kind, file string, doc any) error {
	out, err := s.run(ctx, p.Path, kind, "edit", "-json", file)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(out, doc); err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	return nil
}

func (s *goSources) absoluteReplaces(dir string, list []goReplace) []goReplace {
	var out []goReplace
	for _, r := range list {
		if r.isFolder() {
			if r.New.Path = absoluteIn(dir, r.New.Path); filepath.Dir(r.New.Path) == s.carried {
				continue
			}
		}
		out = append(out, r)
	}
	return out
}

func absoluteIn(dir, path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(dir, path)
}

// findSDK makes the SDK importable: a module that does not find it where it says is built in a workspace that adds the one inside tow.
func (s *goSources) findSDK(ctx context.Context, c Config, p Program, m *goModules) error {
	s.work = s.env.GOWORK
	sdk, err := unpack(c.CacheDir, string(Go), c.GoSDK)
	if err != nil {
		return err
	}
	var found struct{ Dir string }
	cmd := s.command(ctx, p.Path, "list", "-m", "-json", sdkModule)
	cmd.Env = append(cmd.Env, "GOPROXY=off")
	if out, err := cmd.Output(); err == nil && json.Unmarshal(out, &found) == nil && found.Dir != "" && filepath.Dir(found.Dir) != s.carried {
		return nil
	}
	text := fmt.Sprintf("// %s is %s\ngo %s\n", linkName, p.Repository, goVersion(s.env.GOVERSION))
	for _, dir := range append(slices.Clone(m.dirs), sdk) {
		text += fmt.Sprintf("use %q\n", dir)
	}
	for _, r := range m.workspaceReplaces() {
		if r.isFolder() {
			r.New.Path = linked(p, r.New.Path)
		}
		text += fmt.Sprintf("replace %q %s => %q %s\n", r.Old.Path, r.Old.Version, r.New.Path, r.New.Version)
	}
	for _, v := range m.sdk {
		// A workspace still asks for the go.mod of the version that a module requires, which may never have been published.
		text += fmt.Sprintf("replace %s %s => %q\n", sdkModule, v, sdk)
	}
	return s.writeWork(c, p, text)
}

// workspaceReplaces returns what a workspace has to say: what the user's own says, and what the modules say of folders. Those the go command would
// name by the way from the workspace, which is written into the compiled program and is another one on every machine. What modules do not agree on
// is left to the go command to refuse.
func (m *goModules) workspaceReplaces() []goReplace {
	var out []goReplace
	for _, r := range m.work {
		if r.Old.Path != sdkModule {
			out = append(out, r)
		}
	}
	for i, r := range m.replaces {
		differs := func(other goReplace) bool { return other.Old == r.Old && other.New != r.New }
		overridden := func(other goReplace) bool { return other.Old.Path == r.Old.Path }
		if !r.isFolder() || r.Old.Path == sdkModule || slices.Contains(m.names, r.Old.Path) || slices.ContainsFunc(m.work, overridden) ||
			slices.ContainsFunc(m.replaces, differs) || slices.Contains(m.replaces[:i], r) {
			continue
		}
		out = append(out, r)
	}
	return out
}

// linkName is the name of a link beside a workspace that tow makes: it leads to the repository.
const linkName = "tree"

// linked returns the path of a folder for a workspace: where it is in the repository, wherever that is.
func linked(p Program, path string) string {
	rel, err := filepath.Rel(p.Repository, path)
	if err != nil || !filepath.IsLocal(rel) || runtime.GOOS == "windows" { // where links need a right of their own
		return path
	}
	return "./" + filepath.ToSlash(filepath.Join(linkName, rel))
}

// inTree undoes linked.
func (s *goTool) inTree(path string) string {
	link := filepath.Join(filepath.Dir(s.work), linkName)
	if path == link {
		return s.repository
	}
	if rest, ok := strings.CutPrefix(path, link+string(filepath.Separator)); ok && s.work != "" {
		return filepath.Join(s.repository, rest)
	}
	return path
}

// writeWork makes a workspace of this text, once.
func (s *goSources) writeWork(c Config, p Program, text string) error {
	parent := filepath.Join(c.CacheDir, "gowork")
	dir := filepath.Join(parent, digest.OfBytes([]byte(text)).Hex())
	s.work = filepath.Join(dir, "go.work")
	if exists(s.work) {
		return touch(dir)
	}
	err := os.MkdirAll(dir, 0o755)
	if err == nil && runtime.GOOS != "windows" {
		if err = os.Symlink(p.Repository, filepath.Join(dir, linkName)); errors.Is(err, os.ErrExist) {
			err = nil // of another process, or one that was interrupted
		}
	}
	if err != nil {
		return fmt.Errorf("make a Go workspace: %w", err)
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
	sweep(parent, func(string) string { return "" })
	return nil
}

var (
	toolchainVersion = regexp.MustCompile(`go(\d+\.\d+(?:\.\d+|rc\d+|beta\d+)?)`)
	languageVersion  = regexp.MustCompile(`^\d+\.\d+|`)
)

// goVersion returns what a go.work says for a toolchain: 1.26.1 of go1.26.1, and 1.27 of "devel go1.27-abcdef". A workspace must not say less than its modules.
func goVersion(version string) string {
	m := toolchainVersion.FindStringSubmatch(version)
	if m == nil {
		return version
	}
	return m[1]
}

// goLanguage returns the language version of a toolchain: 1.26 of go1.26.1.
func goLanguage(version string) string { return languageVersion.FindString(goVersion(version)) }
