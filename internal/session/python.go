package session

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// minimumPython is the oldest Python that the SDK runs on.
const minimumPython = 11

// textBusyTries bounds how often an interpreter is started that is "busy": one that was written a moment ago, and that a process between fork and
// exec holds open for writing, which takes less time than any of the tries.
const textBusyTries = 100

// askPython is run by a candidate to tell what it really is.
const askPython = `import json, os, sys
print(json.dumps([os.path.realpath(sys.executable), sys.implementation.name, list(sys.version_info[:3])]))`

// findPython finds the interpreter of a Python program and resolves it to the real file. What is found first may be the shim of a
// version manager: a program that chooses by variables and by files in the folders above, and that is slow. So the candidate is asked once, and
// the answer is kept with all that a shim may have looked at.
func (c Config) findPython(ctx context.Context, p Program) (runtimeInfo, error) {
	name := c.Python
	if name == "" {
		name = "python3"
	}
	candidate, err := c.lookPath(name)
	if err != nil {
		return runtimeInfo{}, &Error{
			Text: fmt.Sprintf("the interpreter %s of %s was not found in PATH", name, p.Name()),
			Hint: "install Python 3.11 or later, or name an interpreter with TOW_PYTHON or `python` in towpath.toml",
		}
	}
	stdout, stderr, runErr := ask(ctx, candidate, p.Root)
	var real, implementation string
	var version [3]int
	answer := []any{&real, &implementation, &version}
	if runErr == nil {
		runErr = json.Unmarshal(stdout, &answer)
	}
	if runErr != nil {
		if ctx.Err() != nil {
			return runtimeInfo{}, context.Cause(ctx)
		}
		return runtimeInfo{}, &Error{
			Text: fmt.Sprintf("%s, the interpreter of %s, does not work: %v", candidate, p.Name(), runErr), Trace: strings.TrimSpace(string(stderr)),
			Hint: "name another one with TOW_PYTHON or `python` in towpath.toml",
		}
	}
	if version[0] != 3 || version[1] < minimumPython {
		return runtimeInfo{}, &Error{
			Text: fmt.Sprintf("%s is Python %d.%d.%d; pipelines need 3.%d or later", candidate, version[0], version[1], version[2], minimumPython),
			Hint: "name another interpreter with TOW_PYTHON or `python` in towpath.toml",
		}
	}
	r := runtimeInfo{
		Asked: c.asked(Python), Executable: real, Version: fmt.Sprintf("%s %d.%d", implementation, version[0], version[1]),
		Stamps: []stamp{stampOf(candidate), stampOf(real)},
	}
	for _, v := range []string{"PATH", "HOME", "PYENV_ROOT", "PYENV_VERSION", "ASDF_PYTHON_VERSION", "MISE_PYTHON_VERSION", "UV_PYTHON"} {
		r.Env = append(r.Env, variable(c.Lookup, v))
	}
	home, _ := c.Lookup("HOME")
	pyenv, ok := c.Lookup("PYENV_ROOT")
	if !ok {
		pyenv = filepath.Join(home, ".pyenv")
	}
	for _, path := range []string{
		filepath.Join(pyenv, "version"), filepath.Join(home, ".tool-versions"), filepath.Join(home, ".config", "mise", "config.toml"),
	} {
		r.Stamps = append(r.Stamps, stampOf(path))
	}
	for at := p.Root; ; at = filepath.Dir(at) {
		for _, name := range []string{".python-version", ".tool-versions", "mise.toml"} {
			r.Stamps = append(r.Stamps, stampOf(filepath.Join(at, name)))
		}
		if filepath.Dir(at) == at {
			return r, nil
		}
	}
}

// ask has a candidate tell what it is, and returns what it prints.
func ask(ctx context.Context, candidate, dir string) (stdout, stderr []byte, err error) {
	for try := 1; ; try++ {
		var out, errs bytes.Buffer
		cmd := exec.CommandContext(ctx, candidate, "-I", "-S", "-c", askPython)
		cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &errs
		cmd.WaitDelay = time.Second // what it started may hold its output open
		if err := cmd.Run(); try == textBusyTries || !errors.Is(err, syscall.ETXTBSY) {
			return out.Bytes(), errs.Bytes(), err
		}
	}
}

// lookPath finds a program in the PATH that Lookup gives.
func (c Config) lookPath(name string) (string, error) {
	if strings.ContainsRune(name, filepath.Separator) {
		return filepath.Abs(name)
	}
	path, _ := c.Lookup("PATH")
	for _, dir := range filepath.SplitList(path) {
		if !filepath.IsAbs(dir) {
			continue // a relative folder means another program in every folder
		}
		file := filepath.Join(dir, name)
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return file, nil
		}
	}
	return "", exec.ErrNotFound
}

// pythonCommand starts the worker of a Python program: isolated from the user's and the system's packages, with the SDK on its path.
func pythonCommand(python, sdk string) []string {
	return []string{python, "-I", "-S", "-X", "utf8", filepath.Join(sdk, "towpath", "_boot.py")}
}
