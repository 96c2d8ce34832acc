package sandbox_test

import (
	"io"
	"os"
	"path/filepath"
	"testing"

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
	s := &sandbox.Spec{Env: []string{"PATH=/usr/bin:/bin"}}
	for name, to := range map[string]*string{"lower": &s.Lower, "upper": &s.Upper, "work": &s.Work, "home": &s.Home, "tmp": &s.Tmp} {
		*to = filepath.Join(dir, name)
		if err := os.Mkdir(*to, 0o755); err != nil {
			tb.Fatal(err)
		}
		if os.Getuid() == 0 {
			if err := os.Chown(*to, sandbox.Nobody, sandbox.Nobody); err != nil {
				tb.Fatal(err)
			}
		}
	}
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

func TestTry(t *testing.T) {
	s := sandbox.New()
	defer s.Close()
	t.Log(sh(t, s, "id; pwd; ls -la / /workspace /etc /proc/1 /dev; cat /proc/self/mountinfo /proc/self/status; hostname; echo $$; ps aux; ip a; kill -TERM 1; echo still; umask; env; ulimit -a; cat /proc/1/environ; touch /x; touch /workspace/y && ls /workspace"))
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
