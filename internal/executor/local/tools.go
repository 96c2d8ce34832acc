package local

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/towpath/towpath/internal/executor"
)

// visible returns the files and folders of the machine that a sandbox has to show so that the tools can be run: what they are installed
// in, where that is theirs alone and does not hold the folder cache, or else the program.
func visible(tools []executor.Tool, cache string) []string {
	var out []string
	for _, t := range tools {
		path := t.Path
		if !filepath.IsAbs(path) || isToolchain(path) {
			continue
		}
		if prefix := installation(path); prefix != "" && !isAbove(prefix, cache) {
			path = prefix
		}
		if !isToolchain(path) {
			out = append(out, path)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func isToolchain(path string) bool {
	for _, dir := range []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"} {
		if path == dir || strings.HasPrefix(path, dir+"/") {
			return true
		}
	}
	return false
}

// installation returns PREFIX where path is PREFIX/bin/NAME and the program needs what is in PREFIX, which is nobody's home.
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
