package local_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/executor"
	"github.com/towpath/towpath/internal/nobody"
)

// install makes files below dir, which everybody can execute. What begins with "->" is a link.
func install(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if target, ok := strings.CutPrefix(content, "->"); ok {
			err = errors.Join(err, os.Symlink(target, path))
		} else {
			err = errors.Join(err, os.WriteFile(path, []byte(content), 0o755))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// toolFolders returns folders in which programs of the machine may be.
func toolFolders(t *testing.T) []string {
	t.Helper()
	dirs := []string{t.TempDir()} // which is where a command has another
	if os.Getuid() != 0 {
		return dirs // nobody has a folder that is neither temporary nor the system's
	}
	dir, err := os.MkdirTemp("/opt", "tow-test-") //nolint:usetesting // it is not to be temporary
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return append(dirs, dir)
}

// TestTools holds that a program outside of the toolchain is there where it is declared, with what is installed with it, what it leads to and what executes
// it; that nothing else is; and that nothing is left of that.
func TestTools(t *testing.T) {
	nobody.Run(t)
	for _, dir := range toolFolders(t) {
		install(t, dir, map[string]string{
			"a/bin/tool":     "#!/bin/sh\ncat \"$(dirname \"$0\")/../lib/data\"",
			"a/lib/data":     "installed",
			"a/pyvenv.cfg":   "",
			"links/absolute": "->" + dir + "/b/single",
			"b/single":       "#!/bin/sh\ncat \"$0\" | tail -n 1; ls \"$(dirname \"$0\")\"\n#single\n",
			"b/other":        "not declared",
			"c/bin/shell":    "->/bin/sh",
			"c/lib/data":     "of the interpreter",
			"c/lib/rustlib":  "",
			"d/script":       "#!" + dir + "/c/bin/shell\ncat " + dir + "/c/lib/data",
			"d/second":       "#!" + dir + "/d/script\n",
		})
		for name, want := range map[string]string{
			"a/bin/tool":     "installed",
			"links/absolute": "#single\nabsolute\n",
			"b/single":       "#single\nsingle\n",
			"d/script":       "of the interpreter",
			"d/second":       "of the interpreter",
		} {
			f := newSandboxFixture(t)
			path := filepath.Join(dir, name)
			c := executor.Command{Args: []string{path}, Outputs: []string{"**"}}
			_, err := f.Execute(t.Context(), f.action(t, c), executor.Options{})
			if _, ok := errors.AsType[*executor.CommandNotFoundError](err); !ok {
				t.Errorf("%s, undeclared: the error is %v, want a CommandNotFoundError", path, err)
			}
			c.Tools = []executor.Tool{{Name: "tool", Path: path, Digest: digest.OfBytes([]byte("tool"))}}
			for range 2 {
				var out, stderr strings.Builder
				result, err := f.Execute(t.Context(), f.action(t, c), executor.Options{Stdout: &out, Stderr: &stderr})
				if err != nil || out.String() != want || len(result.Entries) > 0 {
					t.Errorf("%s: it prints %q, %s and makes %v, %v, want %q", path, out.String(), stderr.String(), result.Entries, err, want)
				}
				if left := workspaces(t, filepath.Join(f.dir, "work")); len(left) > 0 {
					t.Errorf("%s: left are %v", path, left)
				}
			}
		}
	}
}
