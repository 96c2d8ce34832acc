package config

import (
	"strings"
	"testing"
)

// A variable that was typed wrong is told with the one that was meant, and nothing else is.
func TestUnknown(t *testing.T) {
	found := Unknown([]string{"TOW_JOBS=2", "PATH=/bin", "TOWER=1", "TOW_NEWER=x", "TOW_ISOLTAION=sandbox=1", "TOW_CACHEDIR="})
	var got []string
	for _, e := range found {
		got = append(got, e.Where+" "+e.Hint)
	}
	want := []string{
		"TOW_CACHEDIR did you mean TOW_CACHE_DIR?", "TOW_ISOLTAION did you mean TOW_ISOLATION?",
		"TOW_NEWER the variables are TOW_JOBS, TOW_CACHE_DIR, TOW_STATE_DIR, TOW_PYTHON, TOW_TARGETS, TOW_CACHE, TOW_ISOLATION",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Whoever finds out later that a setting cannot be used can say where it was given.
func TestWrongNamesThePlace(t *testing.T) {
	folder := t.TempDir()
	write(t, folder, "towpath.toml", `targets = ["nah"]`+"\n"+`python = "py"`)
	vars := map[string]string{"HOME": folder, "TOW_PYTHON": "x"}
	lookup := func(name string) (string, bool) { v, ok := vars[name]; return v, ok }
	s, err := Load([]string{folder}, lookup, map[string]string{"state_dir": folder})
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"targets": "/towpath.toml: targets: bad", "python": "TOW_PYTHON: bad", "state_dir": "--state-dir: bad", "cache_dir": "the setting cache_dir: bad",
	} {
		if got := s.Wrong(key, "bad").Error(); !strings.HasSuffix(got, want) {
			t.Errorf("%s: got %q, want it to end with %q", key, got, want)
		}
		if given := key != "cache_dir"; s.Given(key) != given {
			t.Errorf("%s: Given is %v", key, !given)
		}
	}
}
