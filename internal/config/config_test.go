package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func write(t *testing.T, folder, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func env(pairs ...string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1], true
			}
		}
		return "", false
	}
}

func TestFlagsWinOverVariablesOverFilesOverDefaults(t *testing.T) {
	program, top := t.TempDir(), t.TempDir()
	write(t, program, "pyproject.toml", "[tool.towpath]\njobs = 3\ncache_dir = \"c\"\ntargets = [\"lint\", \"test\"]\nisolation = \"workspace\"\n")
	write(t, top, "towpath.toml", "jobs = 9\npython = \"python3.12\"\n")
	s, err := Load([]string{program, top}, env("HOME", "/home/x", "TOW_JOBS", "5", "TOW_CACHE", "false", "TOW_PYTHON", "v"), map[string]string{"python": "f"})
	if err != nil {
		t.Fatal(err)
	}
	want := Settings{Jobs: 5, Python: "f", CacheDir: filepath.Join(program, "c"), StateDir: "/home/x/.local/state/towpath", Targets: []string{"lint", "test"}, Isolation: IsolationWorkspace}
	s.places = nil
	if !reflect.DeepEqual(s, want) {
		t.Errorf("Load = %+v, want %+v", s, want)
	}
}

func TestTheNextFolderIsAskedWhenTheFirstHasNothing(t *testing.T) {
	program, top := t.TempDir(), t.TempDir()
	write(t, program, "pyproject.toml", "[project]\nname = \"towpath-user\"\n")
	write(t, top, "towpath.toml", "jobs = 9\n")
	s, err := Load([]string{program, top}, env("HOME", "/home/x", "XDG_CACHE_HOME", "/c"), nil)
	if err != nil || s.Jobs != 9 || s.CacheDir != "/c/towpath" || !s.Cache || s.Isolation != IsolationAuto {
		t.Errorf("Load = %+v, %v", s, err)
	}
}

func TestWrongSettingsAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		own, py string
		env     []string
		want    string
	}{
		"syntax":        {own: "jobs = = 3", want: "towpath.toml:1:8"},
		"unknown":       {own: "jbos = 3", want: `no setting "jbos"`},
		"not a number":  {own: `jobs = "many"`, want: "jobs:"},
		"zero":          {own: `jobs = 0`, want: "jobs:"},
		"a table":       {own: "[python]\nx = 1", want: "python:"},
		"both files":    {own: "jobs = 1", py: "[tool.towpath]\njobs = 2", want: "as well"},
		"variable":      {env: []string{"TOW_JOBS", "x"}, want: "TOW_JOBS"},
		"bool variable": {env: []string{"TOW_CACHE", "maybe"}, want: "TOW_CACHE"},
		"isolation":     {own: `isolation = "docker"`, want: "none of auto, sandbox and workspace"},
		"list":          {own: "targets = [1]", want: "targets:"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if c.own != "" {
				write(t, dir, "towpath.toml", c.own)
			}
			if c.py != "" {
				write(t, dir, "pyproject.toml", c.py)
			}
			_, err := Load([]string{dir}, env(append(c.env, "HOME", "/h")...), nil)
			var ce *Error
			if !errors.As(err, &ce) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Load = %v, want %q", err, c.want)
			}
		})
	}
}

// Every setting is described in docs/settings.md.
func TestSettingsAreDocumented(t *testing.T) {
	b, err := os.ReadFile("../../docs/settings.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range All() {
		for _, want := range []string{"`" + s.Key + "`", "`" + s.Variable() + "`"} {
			if !strings.Contains(string(b), want) {
				t.Errorf("docs/settings.md does not mention %s", want)
			}
		}
	}
}
