package executortest

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/towpath/towpath/internal/executor"
)

// sandboxed tells whether what the contract promises of sandboxes is to be looked at.
func (s *suite) sandboxed() bool { return s.Executor.Isolation() == "sandbox" }

func testPlaces(t *testing.T, s *suite) {
	if !s.sandboxed() {
		return
	}
	c := program("pwd ; print @ ; print $HOME ; print @ ; print $TMPDIR ; print @ ; cat /proc/sys/kernel/hostname")
	c.Args[0], c.Cwd = "../"+ProgramName, "d"
	for range 2 {
		want(t, "places", s.succeed(t, c).stdout, "/workspace/d@/home/step@/tmp@towpath\n")
	}
}

func testNothingOfTheMachine(t *testing.T, s *suite) {
	if !s.sandboxed() {
		return
	}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{secret, filepath.Join(home, ".profile"), "/etc/shadow", "/var/lib", "/run", "/sys"} {
		got := s.execute(t, program("list "+path+" ; print there"))
		if got.ExitCode == 0 || !strings.Contains(got.stderr, "no such file") {
			t.Errorf("%s: exit code %d, %s%s, want that there is no such file", path, got.ExitCode, got.stdout, got.stderr)
		}
	}
	for _, path := range []string{"/f", "/usr/f", "/etc/f", "/dev/f", "/proc/sys/kernel/hostname", "/proc/sysrq-trigger", "/home/f"} {
		if got := s.execute(t, program("write "+path+" x")); got.ExitCode == 0 {
			t.Errorf("%s can be written", path)
		}
	}
	got := s.execute(t, program("list /proc/1/root"))
	if got.ExitCode == 0 {
		t.Errorf("the root of the first process can be seen: %s", got.stdout)
	}
}

func testNetwork(t *testing.T, s *suite) {
	if !s.sandboxed() {
		return
	}
	here, err := os.ReadFile("/proc/net/dev")
	if err != nil {
		t.Fatal(err)
	}
	c := program("cat /proc/net/dev")
	want(t, "interfaces without the network", strings.Join(interfaces(s.succeed(t, c).stdout), " "), "lo")
	c.Network = true
	want(t, "interfaces with the network", strings.Join(interfaces(s.succeed(t, c).stdout), " "), strings.Join(interfaces(string(here)), " "))
}

// interfaces returns the names in /proc/net/dev.
func interfaces(dev string) []string {
	var out []string
	for line := range strings.Lines(dev) {
		if name, _, ok := strings.Cut(line, ":"); ok {
			out = append(out, strings.TrimSpace(name))
		}
	}
	slices.Sort(out)
	return out
}

func testOutputLimit(t *testing.T, s *suite) {
	if !s.sandboxed() {
		return
	}
	limited := func(operations string, outputs ...string) (executor.Result, string) {
		var out bytes.Buffer
		c := program(operations, outputs...)
		c.Limits.OutputBytes = 100_000
		o := executor.Options{Stdout: &out, Accept: func(int) bool { return true }}
		result, err := s.Executor.Execute(t.Context(), s.action(t, c), o)
		if err != nil {
			t.Fatalf("%s: %v", operations, err)
		}
		return result, out.String()
	}
	for _, test := range []struct {
		operations string
		exceeded   string
	}{
		{"big 100000", ""},
		{"big 100001", "output"},
		{"big 100001 ; block", "output"},
		{"write-big f 100001", "output"},
		{"write-big f 60000 ; write-big g 60000", "output"},
		{"write-big f 60000 ; big 60000", "output"},
		{"write-big f 50000 ; big 50000", ""},
		{"write-big not-declared 200000 ; big 90000", ""},
	} {
		result, out := limited(test.operations, "f", "g")
		if result.Exceeded != test.exceeded || result.Accepted != (test.exceeded == "") {
			t.Errorf("%s: %+v, want %q exceeded", test.operations, result, test.exceeded)
		}
		if len(out) > 100_000 {
			t.Errorf("%s: %d bytes were passed on", test.operations, len(out))
		}
	}
}

func testShell(t *testing.T, s *suite) {
	sheller, ok := s.Executor.(executor.Sheller)
	if !ok {
		return
	}
	s.inputs["f"] = input{content: []byte("in f")}
	a := s.action(t, program("exit 1"))
	var out, stderr bytes.Buffer
	code, err := sheller.Shell(t.Context(), a, program("cat f ; eprint complaint ; stdin ; write f changed ; exit 7").Args,
		executor.Terminal{In: strings.NewReader("typed"), Out: &out, Err: &stderr})
	if err != nil || code != 7 {
		t.Errorf("exit code %d, %v", code, err)
	}
	want(t, "out", out.String(), "in f5")
	want(t, "err", stderr.String(), "complaint")
	if windows {
		return
	}
	out.Reset()
	code, err = sheller.Shell(t.Context(), a, nil, executor.Terminal{In: strings.NewReader("cat f; exit 3\n"), Out: &out})
	if err != nil || code != 3 {
		t.Errorf("of a shell: exit code %d, %v", code, err)
	}
	want(t, "out of a shell", out.String(), "in f")
	_, err = sheller.Shell(t.Context(), a, []string{"no-such-command-anywhere"}, executor.Terminal{})
	if _, ok := errors.AsType[*executor.CommandNotFoundError](err); !ok {
		t.Errorf("the error is %v, want a CommandNotFoundError", err)
	}
}
