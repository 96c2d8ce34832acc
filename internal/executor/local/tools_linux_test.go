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

// TestLinksOfPrograms holds that a program is run by the link that was named or is in PATH, every link on the way being there and what belongs to it.
func TestLinksOfPrograms(t *testing.T) {
	nobody.Run(t)
	for _, dir := range toolFolders(t) {
		install(t, dir, map[string]string{
			"venv/bin/python":          "->" + dir + "/base/bin/python3",
			"venv/lib/data":            "of the environment",
			"venv/pyvenv.cfg":          "home = " + dir + "/alias/bin\n",
			"alias":                    "->base",
			"base/bin/python3":         "->python3.12",
			"base/bin/python3.12":      "#!/bin/sh\ncat \"$(dirname \"$0\")/../lib/data\" \"$(dirname \"$(readlink \"$0\")\")/python3.12\" " + dir + "/alias/lib/python3.12/data | grep of",
			"base/lib/data":            "of the base",
			"base/lib/python3.12/data": "of the base's home",
			"moved":                    "->venv",
			"chain/l1":                 "->l2",
			"chain/l2":                 "->" + dir + "/chain/l3",
			"chain/l3":                 "->../single/real",
			"single/real":              "#!/bin/sh\nreadlink " + dir + "/chain/l1; echo of the chain",
			"single/other":             "not declared",
		})
		python := filepath.Join(dir, "base/bin/python3.12")
		for name, test := range map[string]struct {
			real string
			says []string
		}{
			dir + "/venv/bin/python":  {python, []string{"of the environment", "of the base's home"}},
			dir + "/moved/bin/python": {python, []string{"of the environment", "of the base's home"}},
			dir + "/chain/l1":         {dir + "/single/real", []string{"/single/real", "of the chain"}},
		} {
			for _, args := range [][]string{{name}, {filepath.Base(name)}} {
				f := newSandboxFixture(t)
				c := executor.Command{Args: args, Tools: []executor.Tool{{Name: args[0], Path: test.real, Digest: digest.OfBytes([]byte("tool"))}}}
				c.Env = []executor.EnvVar{{Name: "PATH", Value: filepath.Dir(name) + ":/usr/bin:/bin"}}
				var out, stderr strings.Builder
				result, err := f.Execute(t.Context(), f.action(t, c), executor.Options{Stdout: &out, Stderr: &stderr})
				if err != nil || !result.Accepted {
					t.Errorf("%s: %+v, %s, %v", args, result, stderr.String(), err)
				}
				for _, want := range test.says {
					if !strings.Contains(out.String(), want) {
						t.Errorf("%s: it prints %q, want %q in it", args, out.String(), want)
					}
				}
			}
		}
	}
}

// TestMissingInterpreter holds that a script is refused with what is missing where its interpreter is.
func TestMissingInterpreter(t *testing.T) {
	nobody.Run(t)
	dir := toolFolders(t)[0]
	install(t, dir, map[string]string{"bin/script": "#! /nonexistent/interp -x\n"})
	path := filepath.Join(dir, "bin/script")
	f := newSandboxFixture(t)
	c := executor.Command{Args: []string{path}, Tools: []executor.Tool{{Name: path, Path: path, Digest: digest.OfBytes([]byte("tool"))}}}
	_, err := f.Execute(t.Context(), f.action(t, c), executor.Options{})
	if notFound, ok := errors.AsType[*executor.CommandNotFoundError](err); !ok || notFound.Interpreter != "/nonexistent/interp" || notFound.Name != path {
		t.Errorf("as a tool: the error is %v", err)
	}
	w := newFixture(t)
	_, err = w.Execute(t.Context(), w.action(t, executor.Command{Args: []string{"./script"}}, map[string]string{"script": "#!/nonexistent/interp\r\n"}), executor.Options{})
	if notFound, ok := errors.AsType[*executor.CommandNotFoundError](err); !ok || notFound.Interpreter != "/nonexistent/interp\r" {
		t.Errorf("in a workspace: the error is %v", err)
	}
}
