package towpath

import (
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/towpath/towpath/protocol"
)

// locator finds what the compiler called a file in the work tree.
type locator struct {
	program string // absolute folder of the program's main package
	root    string // absolute folder that sites are relative to
}

// site returns a site relative to the root, with "/"; one outside of the root
// stays as it is.
func (l locator) site(at site) protocol.Site {
	file := at.file
	if !filepath.IsAbs(file) {
		if info, ok := debug.ReadBuildInfo(); ok {
			file = l.untrim(file, info.Path, info.Main.Path)
		}
	}
	out := protocol.Site{File: filepath.ToSlash(file), Line: at.line}
	if rel, err := filepath.Rel(l.root, file); err == nil && filepath.IsLocal(rel) && filepath.IsAbs(file) {
		out.File = filepath.ToSlash(rel)
	}
	return out
}

// untrim turns a name that -trimpath made back into a path. There, the files of a
// package are called by its import path: those of the main package mainPath are
// in the folder of the program, which tells where the rest of its module is.
func (l locator) untrim(file, mainPath, modulePath string) string {
	if rest, ok := strings.CutPrefix(file, mainPath+"/"); ok && !strings.Contains(rest, "/") {
		return filepath.Join(l.program, rest)
	}
	// A program that is built from a list of files has no import path.
	if rest, ok := strings.CutPrefix(file, "./"); ok {
		return filepath.Join(l.program, rest)
	}
	rest, inModule := strings.CutPrefix(file, modulePath+"/")
	below, known := strings.CutPrefix(mainPath, modulePath)
	if !inModule || !known || modulePath == "" {
		return file
	}
	module, ok := strings.CutSuffix(filepath.ToSlash(l.program), below)
	if !ok {
		return file
	}
	return filepath.Join(filepath.FromSlash(module), rest)
}
