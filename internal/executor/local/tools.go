package local

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/towpath/towpath/internal/executor"
	"github.com/towpath/towpath/internal/sandbox"
)

// interpretersMax bounds how many scripts may be the interpreter of one another, as the system does.
const interpretersMax = 4

// view is what a sandbox has to show so that tools can be run.
type view struct {
	cache string
	paths []string
}

// visible returns the files and folders of the machine that a sandbox has to show so that the tools can be run: what they are installed
// in, where that is theirs alone and does not hold the folder cache, or else the program. Links come with what they lead to, and scripts with
// their interpreters.
func visible(tools []executor.Tool, cache string) []string {
	v := view{cache: cache}
	for _, t := range tools {
		v.add(t.Path, interpretersMax)
	}
	slices.Sort(v.paths)
	var out []string
	for _, path := range v.paths {
		if len(out) == 0 || !isAbove(out[len(out)-1], path) {
			out = append(out, path)
		}
	}
	return out
}

func (v *view) add(path string, scripts int) {
	if !filepath.IsAbs(path) {
		return
	}
	v.show(path)
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return // the command says that it is not there
	}
	if real != path {
		v.show(real)
	}
	if scripts > 0 {
		v.add(interpreter(real), scripts-1)
	}
}

func (v *view) show(path string) {
	if isToolchain(path) {
		return
	}
	if prefix := installation(path); prefix != "" && !isAbove(prefix, v.cache) {
		path = prefix
	}
	if !isToolchain(path) {
		v.paths = append(v.paths, path)
	}
}

// interpreter returns the path of the program that executes the script at path, or nothing where it is none.
func interpreter(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	var buf [256]byte // the system looks at no more
	n, _ := io.ReadFull(f, buf[:])
	line, ok := strings.CutPrefix(string(buf[:n]), "#!")
	if !ok {
		return ""
	}
	line, _, _ = strings.Cut(line, "\n")
	fields := strings.Fields(line)
	if len(fields) == 0 {
		return ""
	}
	return fields[0]
}

func isToolchain(path string) bool {
	for _, dir := range []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"} {
		if path == dir || strings.HasPrefix(path, dir+"/") {
			return true
		}
	}
	return false
}

// installation returns PREFIX where path is PREFIX/bin/NAME and the program needs what is in PREFIX, which is nobody's home and has no place that is a
// command's own.
func installation(path string) string {
	bin := filepath.Dir(path)
	prefix := filepath.Dir(bin)
	if filepath.Base(bin) != "bin" || prefix == "/" {
		return ""
	}
	home, err := os.UserHomeDir()
	if err != nil {
		home = "/root"
	}
	if isAbove(prefix, home) || prefix == filepath.Join(home, ".local") {
		return ""
	}
	for _, own := range []string{sandbox.Workspace, sandbox.Home, sandbox.Tmp} {
		if isAbove(prefix, own) {
			return ""
		}
	}
	for _, name := range []string{"lib", "lib64", "libexec", "pkg"} {
		if info, err := os.Stat(filepath.Join(prefix, name)); err == nil && info.IsDir() {
			return prefix
		}
	}
	return ""
}

// isAbove tells whether the folder above is path or one that it is in.
func isAbove(above, path string) bool {
	return above == path || strings.HasPrefix(path, strings.TrimSuffix(above, "/")+"/")
}
