package local

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/towpath/towpath/internal/executor"
	"github.com/towpath/towpath/internal/sandbox"
)

const (
	// interpretersMax bounds how many scripts may be the interpreter of one another, as the system does.
	interpretersMax = 4
	// linksMax bounds how many links are followed, as the system does.
	linksMax = 40
)

// view is what a sandbox has to show so that tools can be run.
type view struct {
	private []string
	paths   []string
}

// visible returns the files and folders of the machine that a sandbox has to show so that the tools can be run: what they are installed
// in, where that is known to be theirs alone and does not hold a private folder, or else the program. Links come with what they lead to, and scripts
// with their interpreters. The first of programs that leads to a tool can be run as well: a link may mean something by where it is.
func visible(tools []executor.Tool, programs, private []string) []string {
	v := view{private: private}
	var reals []string
	for _, t := range tools {
		v.add(t.Path, interpretersMax)
		if real, err := filepath.EvalSymlinks(t.Path); err == nil {
			reals = append(reals, real)
		}
	}
	for _, program := range programs {
		if real, err := filepath.EvalSymlinks(program); err == nil && filepath.IsAbs(program) && slices.Contains(reals, real) {
			v.add(program, interpretersMax)
			break
		}
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
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return // the command says that it is not there
	}
	for range linksMax {
		v.show(path)
		if scripts > 0 {
			v.add(basePython(path), scripts-1)
		}
		if path = next(path); path == "" {
			break
		}
	}
	if scripts > 0 {
		v.add(interpreter(real), scripts-1)
	}
}

// next returns where a path leads that is a link or goes through one, a link further, or nothing.
func next(path string) string {
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return ""
	}
	if dir != filepath.Dir(path) {
		return filepath.Join(dir, filepath.Base(path))
	}
	target, err := os.Readlink(path)
	if err != nil {
		return "" // it is none
	}
	if filepath.IsAbs(target) {
		return filepath.Clean(target)
	}
	return filepath.Join(dir, target)
}

// basePython returns the program that an environment of Python, whose program is at path, says that it was made from, or nothing.
func basePython(path string) string {
	content, err := os.ReadFile(filepath.Join(filepath.Dir(filepath.Dir(path)), pythonEnvironment))
	if err != nil {
		return "" // it is in none
	}
	for line := range strings.Lines(string(content)) {
		if key, value, _ := strings.Cut(line, "="); strings.TrimSpace(key) == "home" {
			return filepath.Join(strings.TrimSpace(value), "python3")
		}
	}
	return ""
}

func (v *view) show(path string) {
	if isToolchain(path) {
		return
	}
	if prefix := v.installation(path); prefix != "" {
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
	return interpreterOf(f)
}

// interpreterIn is interpreter of a file in the folder dir, out of which no link leads.
func interpreterIn(dir, path string) string {
	f, err := os.OpenInRoot(dir, path)
	if err != nil {
		return ""
	}
	defer f.Close()
	return interpreterOf(f)
}

func interpreterOf(f *os.File) string {
	var buf [256]byte // the system looks at no more
	n, _ := io.ReadFull(f, buf[:])
	line, ok := strings.CutPrefix(string(buf[:n]), "#!")
	if !ok {
		return ""
	}
	line, _, _ = strings.Cut(line, "\n")
	path, _, _ := strings.Cut(strings.ReplaceAll(strings.Trim(line, " \t"), "\t", " "), " ")
	return path
}

func isToolchain(path string) bool {
	for _, dir := range []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"} {
		if path == dir || strings.HasPrefix(path, dir+"/") {
			return true
		}
	}
	return false
}

// installation returns PREFIX where path is PREFIX/bin/NAME and the program needs what is in PREFIX, which is nobody's home and holds neither a private
// folder nor a place that is a command's own. In a private folder only an environment of Python is one.
func (v *view) installation(path string) string {
	bin := filepath.Dir(path)
	prefix := filepath.Dir(bin)
	if filepath.Base(bin) != "bin" || prefix == "/" || !isInstalled(prefix) {
		return ""
	}
	for _, own := range append([]string{sandbox.Workspace, sandbox.Home, sandbox.Tmp}, v.private...) {
		if isAbove(prefix, own) {
			return ""
		}
	}
	for _, dir := range v.private {
		if dir != "" && isAbove(dir, prefix) && !isThere(prefix, pythonEnvironment) {
			return ""
		}
	}
	for _, home := range homes() {
		if isAbove(prefix, home) || prefix == filepath.Join(home, ".local") {
			return ""
		}
	}
	return prefix
}

const pythonEnvironment = "pyvenv.cfg"

// isInstalled tells whether a folder is laid out like one of those installations that programs need as a whole, and that hold nothing else.
func isInstalled(prefix string) bool {
	for _, all := range [][]string{
		{pythonEnvironment},
		{"lib/python[0-9]*"},
		{"VERSION", "pkg/tool"}, // Go
		{"lib/node_modules"},
		{"release", "lib/modules"},    // Java
		{"release", "jre/lib/rt.jar"}, // Java 8
		{"lib/rustlib"},
		{"lib/ruby"},
		{"lib/perl5"},
		{"lib/gcc"},
		{"lib/clang"},
		{"lib/gradle-launcher-*.jar"},
		{"boot/plexus-classworlds-*.jar"}, // Maven
	} {
		if isThere(prefix, all...) {
			return true
		}
	}
	// This is what the folder is for.
	return isAbove("/opt", prefix) && prefix != "/opt" && (isThere(prefix, "lib") || isThere(prefix, "lib64") || isThere(prefix, "libexec"))
}

// isThere tells whether a folder has something for each of the patterns.
func isThere(dir string, patterns ...string) bool {
	for _, pattern := range patterns {
		// Only what is found counts: the folder's own name may look like a pattern.
		entries, err := fs.Glob(os.DirFS(dir), pattern)
		if err != nil || len(entries) == 0 {
			return false
		}
	}
	return true
}

// homes returns the home folders of all users that the machine knows, and of this one.
func homes() []string {
	var out []string
	if home, err := os.UserHomeDir(); err == nil {
		out = append(out, filepath.Clean(home))
	}
	content, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return out // a system that has none
	}
	for line := range strings.Lines(string(content)) {
		if fields := strings.Split(line, ":"); len(fields) >= 6 && filepath.IsAbs(fields[5]) {
			out = append(out, filepath.Clean(fields[5]))
		}
	}
	return out
}

// isAbove tells whether the folder above is path or one that it is in.
func isAbove(above, path string) bool {
	return above == path || strings.HasPrefix(path, strings.TrimSuffix(above, "/")+"/")
}
