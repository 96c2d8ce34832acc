package sandbox_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/towpath/towpath/internal/nobody"
	"github.com/towpath/towpath/internal/sandbox"
)

func TestMain(m *testing.M) {
	sandbox.MainIfHelper()
	os.Exit(m.Run())
}

// slot has the folders of a command.
func slot(tb testing.TB) *sandbox.Spec {
	tb.Helper()
	dir := tb.TempDir()
	s := &sandbox.Spec{Env: []string{"PATH=/usr/bin:/bin", "HOME=/home/step"}}
	for name, to := range map[string]*string{"lower": &s.Lower, "upper": &s.Upper, "work": &s.Work, "home": &s.Home, "tmp": &s.Tmp} {
		*to = filepath.Join(dir, name)
		if err := os.Mkdir(*to, 0o755); err != nil {
			tb.Fatal(err)
		}
		if owner := sandbox.Owner(); owner >= 0 {
			if err := os.Chown(*to, owner, owner); err != nil {
				tb.Fatal(err)
			}
		}
	}
	// The folders that an overlay makes there can be entered by root alone.
	tb.Cleanup(func() {
		for _, name := range []string{"work", "work/incompat", "work/incompat/volatile"} {
			_ = os.Chmod(filepath.Join(s.Work, name), 0o700)
		}
	})
	return s
}

func run(tb testing.TB, s *sandbox.Sandbox, spec *sandbox.Spec) (*sandbox.Outcome, string, error) {
	tb.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		tb.Fatal(err)
	}
	defer r.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		tb.Fatal(err)
	}
	defer null.Close()
	p, err := s.Start(spec, [3]*os.File{null, w, w}, nil)
	w.Close()
	if err != nil {
		return nil, "", err
	}
	out, err := io.ReadAll(r)
	if err != nil {
		tb.Fatal(err)
	}
	o, err := p.Wait()
	if o != nil {
		o.Workspace.Close()
	}
	return o, string(out), err
}

func sh(tb testing.TB, s *sandbox.Sandbox, script string) string {
	tb.Helper()
	spec := slot(tb)
	spec.Programs, spec.Args = []string{"/bin/sh"}, []string{"sh", "-c", script}
	_, out, err := run(tb, s, spec)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

// TestWhoItIs holds that a command has no rights and cannot get any, as root's and as an ordinary user's, and that neither has the first process.
func TestWhoItIs(t *testing.T) {
	nobody.Run(t)
	s := sandbox.New()
	defer s.Close()
	// These are nothing to the command.
	defer syscall.Umask(syscall.Umask(0o077))
	if os.Getuid() == 0 {
		groups, err := syscall.Getgroups()
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Setgroups([]int{4, 27}); err != nil {
			t.Fatal(err)
		}
		defer syscall.Setgroups(groups)
	}
	out := sh(t, s, "id -u; id -g; id -G; hostname; umask; pwd; cat /proc/1/environ 2>&1; ls /proc/1/fd 2>&1; ls /proc/self/fd; "+
		"grep -E '^(Cap|NoNew)' /proc/self/status; ulimit -n; ulimit -Hc; echo session $(ps -o sid= -p $$) $$")
	for _, want := range []string{
		"towpath\n0022\n/workspace\n", "/proc/1/environ: Permission denied", "/proc/1/fd': Permission denied\n0\n1\n2\n3\n", "NoNewPrivs:\t1",
		"CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "CapAmb:\t0000000000000000", "\n1024\n0\n",
		"session 2 2\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("it prints %q, want %q", out, want)
		}
	}
	// The system tells an ordinary user's groups as nobody's.
	if who, _, _ := strings.Cut(out, "\ntowpath"); who != "1000\n1000\n1000" && (os.Getuid() == 0 || !strings.HasPrefix(who, "1000\n1000\n1000 65534")) {
		t.Errorf("it is %q", who)
	}
	if first := sh(t, s, "grep -E '^(Cap(Prm|Eff|Inh|Bnd|Amb)|NoNew)' /proc/1/status | cut -f 2 | sort -u"); first != "0000000000000000\n0000000800000000\n1\n" {
		t.Errorf("the first process has %q, want one capability that keeps the command from its memory", first)
	}
}

// TestNamespacesAreItsOwn holds that none but those of users and control groups are shared, where the network is not asked for.
func TestNamespacesAreItsOwn(t *testing.T) {
	nobody.Run(t)
	s := sandbox.New()
	defer s.Close()
	look := func(network bool) map[string]string {
		spec := slot(t)
		spec.Network, spec.Programs, spec.Args = network, []string{"/bin/sh"}, []string{"sh", "-c", "cd /proc/self/ns && for n in ipc mnt net pid user uts; do readlink $n; done"}
		_, out, err := run(t, s, spec)
		if err != nil {
			t.Fatal(err)
		}
		links := map[string]string{}
		for link := range strings.FieldsSeq(out) {
			name, _, _ := strings.Cut(link, ":")
			links[name] = link
		}
		return links
	}
	one, other := look(false), look(true)
	for _, name := range []string{"ipc", "mnt", "net", "pid", "user", "uts"} {
		ours, err := os.Readlink("/proc/self/ns/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if one[name] == "" || one[name] == ours || (other[name] == ours) != (name == "net") {
			t.Errorf("ours is %s, that of a command %s, and that of another with the network %s", ours, one[name], other[name])
		}
	}
}

// TestRootHasNothingElse holds that a command finds no more of the machine than it is to.
func TestRootHasNothingElse(t *testing.T) {
	nobody.Run(t)
	s := sandbox.New()
	defer s.Close()
	allowed := strings.Fields("bin dev etc home lib lib32 lib64 libx32 proc sbin tmp usr workspace")
	for name := range strings.FieldsSeq(sh(t, s, "ls -A / /home | grep -v :")) {
		if name != "step" && !slices.Contains(allowed, name) {
			t.Errorf("there is /%s", name)
		}
	}
}

// TestInitCannotBeSignalled holds that a command that signals the first process of its sandbox does not harm it.
func TestInitCannotBeSignalled(t *testing.T) {
	nobody.Run(t)
	s := sandbox.New()
	defer s.Close()
	out := sh(t, s, `trap "echo ended" TERM; for i in 1 2 3 9 11 15 17 23; do kill -$i 1; done; echo still there`)
	if out != "still there\n" {
		t.Errorf("it prints %q", out)
	}
}

// TestDaemonsDie holds that what leaves the session of a command is gone with it: this waits for all who hold the pipe.
func TestDaemonsDie(t *testing.T) {
	nobody.Run(t)
	s := sandbox.New()
	defer s.Close()
	out := sh(t, s, `(trap "" TERM HUP; setsid sh -c "trap '' TERM HUP; sleep 100000 & sleep 100000" &) ; echo started`)
	if out != "started\n" {
		t.Errorf("it prints %q", out)
	}
}

// TestLowerIsNotChanged holds that inputs stay as they are, and that the workspace that is handed over has what was changed.
func TestLowerIsNotChanged(t *testing.T) {
	nobody.Run(t)
	s := sandbox.New()
	defer s.Close()
	spec := slot(t)
	path := filepath.Join(spec.Lower, "f")
	if err := os.WriteFile(path, []byte("input"), 0o644); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 {
		if err := os.Chown(path, sandbox.Nobody, sandbox.Nobody); err != nil {
			t.Fatal(err)
		}
	}
	spec.Programs, spec.Args = []string{"/no/such", "/bin/sh"}, []string{"sh", "-c", "cat f; echo changed >f; rm -f /usr/bin/true; ls /usr/bin/true; cat f"}
	_, out, err := run(t, s, spec)
	if err != nil || out != "inputrm: cannot remove '/usr/bin/true': Read-only file system\n/usr/bin/true\nchanged\n" {
		t.Errorf("it prints %q, %v", out, err)
	}
	if content, err := os.ReadFile(path); err != nil || string(content) != "input" {
		t.Errorf("the input is %q, %v", content, err)
	}
}

// TestErrors holds that what cannot be run is told apart.
func TestErrors(t *testing.T) {
	s := sandbox.New()
	defer s.Close()
	try := func(change func(*sandbox.Spec)) error {
		spec := slot(t)
		spec.Programs, spec.Args = []string{"/bin/true"}, []string{"true"}
		change(spec)
		_, _, err := run(t, s, spec)
		return err
	}
	if err := try(func(*sandbox.Spec) {}); err != nil {
		t.Error(err)
	}
	err := try(func(spec *sandbox.Spec) { spec.Programs = []string{"/no/such"} })
	if exec, ok := errors.AsType[*sandbox.ExecError](err); !ok || exec.Err != syscall.ENOENT {
		t.Errorf("no program: %v", err)
	}
	err = try(func(spec *sandbox.Spec) { spec.Cwd = "../../usr" })
	if _, ok := errors.AsType[*sandbox.CwdError](err); !ok {
		t.Errorf("a folder that is elsewhere: %v", err)
	}
	err = try(func(spec *sandbox.Spec) { spec.Lower = "/no/such" })
	if _, ok := errors.AsType[*sandbox.SetupError](err); !ok {
		t.Errorf("no inputs: %v", err)
	}
	// A message that is longer than one can be.
	if err := try(func(spec *sandbox.Spec) { spec.Args = append(spec.Args, strings.Repeat("x", 100_000)) }); err != nil {
		t.Error(err)
	}
}

func BenchmarkTrue(b *testing.B) {
	s := sandbox.New()
	defer s.Close()
	spec := slot(b)
	spec.Programs, spec.Args = []string{"/bin/true"}, []string{"true"}
	for b.Loop() {
		if _, _, err := run(b, s, spec); err != nil {
			b.Fatal(err)
		}
	}
}

// TestKilledIsMeasured holds that what a command has used is known where it did not end by itself.
func TestKilledIsMeasured(t *testing.T) {
	nobody.Run(t)
	s := sandbox.New()
	defer s.Close()
	spec := slot(t)
	spec.Programs, spec.Args = []string{"/bin/sh"}, []string{"sh", "-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo started; sleep 100000"}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p, err := s.Start(spec, [3]*os.File{r, w, w}, nil)
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	p.Kill()
	o, err := p.Wait()
	if err != nil {
		t.Fatal(err)
	}
	defer o.Workspace.Close()
	if o.Status.Signal() != syscall.SIGKILL || o.Duration <= 0 || o.UserTime+o.SystemTime <= 0 || o.MaxRSSBytes <= 0 || o.UserTime+o.SystemTime > 2*o.Duration {
		t.Errorf("it has status %v, and took %v, %v, %v, %d bytes", o.Status, o.Duration, o.UserTime, o.SystemTime, o.MaxRSSBytes)
	}
}

// TestRootIsTriedAgain holds that a root that could not be made once can be made later.
func TestRootIsTriedAgain(t *testing.T) {
	nobody.Run(t)
	s := sandbox.New()
	defer s.Close()
	spec := slot(t)
	spec.Root = filepath.Join(t.TempDir(), "image")
	if err := s.Check(spec); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("without the image the error is %v", err)
	}
	if err := os.Mkdir(spec.Root, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := s.Check(spec); err != nil {
		t.Errorf("with the image the error is %v", err)
	}
}
