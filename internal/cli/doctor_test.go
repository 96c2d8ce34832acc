package cli

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/towpath/towpath/internal/config"
	"github.com/towpath/towpath/internal/executor"
)

func TestDoctorTellsHowStepsAreIsolated(t *testing.T) {
	weak := executor.Gap{What: "steps see the machine", Why: "it refuses namespaces", Remedy: "allow them", Weak: true}
	limits := executor.Gap{What: "memory is counted for each process", Why: "there are no cgroups"}
	for name, c := range map[string]struct {
		isolation, setting string
		gaps               []executor.Gap
		want               string
	}{
		"all":        {"sandbox", "auto", nil, "isolation ok, limits ok"},
		"no limits":  {"sandbox", "sandbox", []executor.Gap{limits}, "isolation ok, limits warning"},
		"weaker":     {"sandbox", "auto", []executor.Gap{weak}, "limits ok, isolation warning"},
		"workspace":  {"workspace", "auto", []executor.Gap{weak, limits}, "isolation warning, limits warning"},
		"on purpose": {"workspace", "workspace", nil, "isolation warning"},
		"refused":    {"workspace", "sandbox", []executor.Gap{weak}, "isolation error"},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, f := range checkSteps(config.Settings{Isolation: c.setting}, &sheller{isolation: c.isolation, gaps: c.gaps}) {
				got = append(got, f.Check+" "+f.Status)
				if f.Status != findingOK && len(c.gaps) > 0 && !strings.Contains(f.Text, ", because ") {
					t.Errorf("%s does not say why: %s", f.Check, f.Text)
				}
			}
			if s := strings.Join(got, ", "); s != c.want {
				t.Errorf("found %s, want %s", s, c.want)
			}
		})
	}
}

func TestDoctorJudgesDisks(t *testing.T) {
	for want, d := range map[string]disk{
		"ok c, 10.0 GiB free on ext4":     {free: 10 << 30, kind: "ext4"},
		"ok c":                            {free: -1},
		"warning c, 1.0 GiB free on ext4": {free: 1 << 30, kind: "ext4"},
		"error c, 1.0 MiB free on nfs":    {free: 1 << 20, kind: "nfs", remote: true},
		"warning c, 10.0 GiB free on nfs, which is not a local disk: every file costs more, and locks may not hold": {free: 10 << 30, kind: "nfs", remote: true},
		"warning c, 10.0 GiB free on tmpfs, which takes memory and is empty after a restart":                        {free: 10 << 30, kind: "tmpfs", fleeting: true},
	} {
		f := d.judge(finding{Status: findingOK, Text: "c"}, "cache_dir")
		if got := f.Status + " " + f.Text; got != want || (f.Remedy == "") != (f.Status == findingOK) {
			t.Errorf("%+v is judged %q (remedy %q), want %q", d, got, f.Remedy, want)
		}
	}
}

func TestDoctorSeesWhatCannotBeWrittenTo(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if f := checkFolder("cache folder", filepath.Join(file, "x"), "cache_dir"); f.Status != findingError || !strings.Contains(f.Remedy, "`cache_dir`") {
		t.Errorf("a folder in a file is %+v", f)
	}
	if f := checkFolder("cache folder", filepath.Join(dir, "a", "b"), "cache_dir"); f.Status == findingError {
		t.Errorf("a folder that can be made is %+v", f)
	}
	if list, err := os.ReadDir(filepath.Join(dir, "a", "b")); err != nil || len(list) != 0 {
		t.Errorf("it leaves %v, %v", list, err)
	}
}

// Without colours the report is lines that begin with the status; for programs it is a document.
func TestDoctorPrints(t *testing.T) {
	out := tempFile(t)
	a := &App{Stdout: out, Lookup: func(string) (string, bool) { return "", false }}
	a.printFindings([]finding{{"git", findingOK, "2.39", ""}, {"isolation", findingWarning, "weak, because\x1b[31m of x\nmore", "do y"}, failed("python", errors.New("none"))})
	want := "ok       git        2.39\n" +
		"warning  isolation  weak, because of x\n" +
		"                    hint: do y\n" +
		"error    python     none\n" +
		"\nfailed: pipelines cannot be run here, 1 error, 1 warning\n"
	if got := read(t, out); got != want {
		t.Errorf("printed\n%s\nwant\n%s", got, want)
	}
}

func TestDoctorReportsSettingsThatAreWrong(t *testing.T) {
	dir, out := t.TempDir(), tempFile(t)
	lookup := func(name string) (string, bool) {
		v, ok := map[string]string{"HOME": dir, "TOW_ISOLATION": "docker"}[name]
		return v, ok
	}
	a := &App{Stdout: out, Stderr: out, Dir: dir, Lookup: lookup}
	if code := a.Main(t.Context(), []string{"doctor", "--json"}); code != 1 {
		t.Errorf("the exit code is %d", code)
	}
	var doc struct {
		OK     bool
		Checks []finding
	}
	if err := json.Unmarshal([]byte(read(t, out)), &doc); err != nil || doc.OK || len(doc.Checks) != 1 || doc.Checks[0].Check != "settings" {
		t.Errorf("printed %s, %v", read(t, out), err)
	}
}
