package local

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/towpath/towpath/internal/executor"
)

// TestVisible holds that a whole folder is shown for a tool only where that is an installation, and never a home or a project.
func TestVisible(t *testing.T) {
	home, project := t.TempDir(), t.TempDir()
	t.Setenv("HOME", home)
	for _, name := range []string{
		home + "/bin/x", home + "/lib/python3.12/data", home + "/.local/bin/x", home + "/.local/lib/python3.12/data",
		home + "/py/bin/x", home + "/py/lib/python3.12/data", home + "/go/bin/x", home + "/go/VERSION", home + "/go/pkg/tool/data",
		home + "/mine/bin/x", home + "/mine/lib/data", home + "/half/bin/x", home + "/half/VERSION",
		project + "/repo/bin/x", project + "/repo/lib/python3.12/data", project + "/repo/vendored/bin/x", project + "/repo/vendored/lib/node_modules/data",
		project + "/repo/.venv/bin/x", project + "/repo/.venv/pyvenv.cfg", project + "/bin/x", project + "/lib/perl5/data",
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for tool, want := range map[string]string{
		home + "/bin/x":                  home + "/bin/x",
		home + "/.local/bin/x":           home + "/.local/bin/x",
		home + "/py/bin/x":               home + "/py",
		home + "/go/bin/x":               home + "/go",
		home + "/mine/bin/x":             home + "/mine/bin/x",
		home + "/half/bin/x":             home + "/half/bin/x",
		project + "/repo/bin/x":          project + "/repo/bin/x",
		project + "/repo/vendored/bin/x": project + "/repo/vendored/bin/x",
		project + "/repo/.venv/bin/x":    project + "/repo/.venv",
		project + "/bin/x":               project + "/bin/x",
		"/usr/bin/env":                   "",
	} {
		var all []string
		if want != "" {
			all = []string{want}
		}
		if got := visible([]executor.Tool{{Path: tool}}, nil, []string{"", project + "/repo"}); !slices.Equal(got, all) {
			t.Errorf("for %s %q are shown, want %q", tool, got, all)
		}
	}
	if !slices.Contains(homes(), "/root") {
		t.Errorf("the homes are %q", homes())
	}
}
