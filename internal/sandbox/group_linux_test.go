package sandbox

import (
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// hierarchy makes folders with files like those of control groups of version 2: above, and own in it, which has processes.
func hierarchy(t *testing.T, files map[string]string) (above, own string) {
	t.Helper()
	above = filepath.Join(t.TempDir(), "above")
	own = filepath.Join(above, "own")
	all := map[string]string{"own/cgroup.type": "domain\n"}
	for _, dir := range []string{"", "own/"} {
		all[dir+"cgroup.controllers"], all[dir+"cgroup.subtree_control"], all[dir+"cgroup.procs"] = "cpu memory pids io\n", "", ""
	}
	maps.Copy(all, files)
	for name, content := range all {
		path := filepath.Join(above, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return above, own
}

// TestUnifiedGroups holds where groups are made: below this process's own, and elsewhere only where no limit is left with that.
func TestUnifiedGroups(t *testing.T) {
	us, other := strconv.Itoa(os.Getpid())+"\n", strconv.Itoa(os.Getppid())+"\n"
	on := map[string]string{"cgroup.subtree_control": "memory pids"}
	for name, c := range map[string]struct {
		files map[string]string
		own   string // controllers that groups below own have
		above string
	}{
		"alone":                 {map[string]string{"own/cgroup.procs": us}, "cpu memory pids", ""},
		"with some controllers": {map[string]string{"own/cgroup.procs": us, "own/cgroup.controllers": "memory"}, "memory", ""},
		"with others":           {map[string]string{"own/cgroup.procs": us + other, "cgroup.subtree_control": on["cgroup.subtree_control"], "own/memory.max": "100\n", "own/pids.max": "50\n"}, "", ""},
		"with others, no limit": {map[string]string{"own/cgroup.procs": us + other, "cgroup.subtree_control": on["cgroup.subtree_control"], "own/memory.max": "max\n", "own/pids.max": "50\n", "own/cpu.max": "max 100000\n"}, "", "memory"},
		"of elsewhere":          {map[string]string{"own/cgroup.procs": us + "0\n"}, "", ""},
	} {
		above, own := hierarchy(t, c.files)
		out := map[string]parent{}
		findUnified(own, "leaf", out)
		got := map[string][]string{}
		for _, name := range controllers() {
			if p, ok := out[name]; ok {
				got[p.dir] = append(got[p.dir], name)
				if p.leave != (p.dir == own) {
					t.Errorf("%s: %+v", name, p)
				}
			}
		}
		if strings.Join(got[own], " ") != c.own || strings.Join(got[above], " ") != c.above {
			t.Errorf("%s: they are made in %v", name, got)
		}
		if content, err := os.ReadFile(own + "/cgroup.subtree_control"); err != nil || len(content) > 0 {
			t.Errorf("%s: looking has changed it to %q, %v", name, content, err)
		}
	}
}

// TestLeavingAGroup holds that this process is moved before the controllers are asked for, and finds its groups where they were afterwards.
func TestLeavingAGroup(t *testing.T) {
	_, own := hierarchy(t, map[string]string{"own/cgroup.procs": strconv.Itoa(os.Getpid())})
	g := &Groups{prefix: "tow-1-", parents: map[string]parent{memoryController: {own, true, true}}}
	if err := g.leaveParents(); err != nil {
		t.Fatal(err)
	}
	leaf := filepath.Join(own, g.leaf())
	for path, want := range map[string]string{leaf + "/cgroup.procs": strconv.Itoa(os.Getpid()), own + "/cgroup.subtree_control": "+memory"} {
		if content, err := os.ReadFile(path); err != nil || string(content) != want {
			t.Errorf("%s holds %q, %v, want %q", path, content, err, want)
		}
	}
	out := map[string]parent{}
	findUnified(leaf, g.leaf(), out)
	if len(out) != 3 || out[memoryController].dir != own {
		t.Errorf("groups are made in %v afterwards", out)
	}
}
