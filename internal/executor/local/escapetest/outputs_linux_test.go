package escapetest

import (
	"io"
	"net"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/towpath/towpath/internal/tree"
)

// content reads the file of an entry from the store.
func (m *machine) content(t *testing.T, e tree.Entry) string {
	t.Helper()
	r, err := m.store.Open(t.Context(), e.Digest)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// next runs a script in a step whose inputs are what the attempt has left, and compares what it prints.
func next(script, want string) func(*testing.T, *machine, outcome) {
	return func(t *testing.T, m *machine, o outcome) {
		if !o.Accepted {
			t.Fatalf("nothing was captured: %+v", o)
		}
		if got := m.shell(t, o.Root, script); got != want {
			t.Errorf("the next step has %q, want %q", got, want)
		}
	}
}

// outputs are attempts to hand on what an output must not be.
func outputs() []attempt {
	out := []string{"out"}
	outAndBelow := []string{"out", "out/**"}
	all := []attempt{
		{name: "hand on a link to an absolute path", sh: `ln -s /etc/passwd out`, fails: `is an absolute path`},
		{name: "hand on a link that leads up", sh: `ln -s ../../etc/passwd out`, fails: `outside of the workspace`},
		{name: "hand on a folder with a link that leads out", sh: `mkdir -p out/a; ln -s ../../.. out/a/b`, fails: `outside of the workspace`},
		{name: "hand on a chain of links that leads out", sh: `mkdir -p out/d; ln -s / away; ln -s ../away/etc/passwd out/l`, fails: `outside of the workspace`},
		{name: "hand on what is behind a link", sh: `ln -s /etc out`, outputs: []string{"out/passwd"}, outside: func(t *testing.T, _ *machine, o outcome) {
			if len(o.Entries) != 0 || len(o.Missing) != 1 {
				t.Errorf("captured was %+v", o.Entries)
			}
		}},
		{name: "put a link into the place of an output folder", outputs: outAndBelow, sh: `mkdir out; echo x >out/f
(setsid sh -c 'exec >/dev/null 2>&1 </dev/null; while :; do mv out kept; ln -s /etc out; rm out; mv kept out; done' &)
while ! test -L out; do :; done; exit 0`, fails: "^$|is an absolute path|outside of the workspace|replaced"},
		{name: "change an output while it is captured", outputs: out, sh: `head -c 5000000 /dev/zero >out
(setsid sh -c 'exec >/dev/null 2>&1 </dev/null; while :; do echo x >>out; done' &) ; exit 0`, outside: func(t *testing.T, m *machine, o outcome) {
			if len(o.Entries) != 1 || int64(len(m.content(t, o.Entries[0]))) != o.Entries[0].Digest.Size {
				t.Errorf("captured was %v", o.Entries)
			}
		}},
		{name: "hand on a pipe", sh: `mkfifo out`, fails: "named pipe"},
		{name: "hand on a pipe in a folder", sh: `mkdir out; mkfifo out/p`, fails: "named pipe"},
		{name: "hand on a socket", probe: func([]string) error {
			_, err := net.Listen("unix", "/workspace/out") //nolint:noctx // it ends with the step
			if err == nil {
				os.Exit(0) // before it is removed
			}
			return err
		}, fails: "a socket"},
		{name: "hand on a device", sh: `mknod out c 1 3`, says: "not permitted"},
		{name: "hand on a set-user-ID program", sh: `cp /usr/bin/env out; chmod 6755 out`, outside: next("stat -c %a out", "755\n")},
		{name: "hand on a set-group-ID folder", sh: `mkdir out; touch out/f; chmod 7777 out; chmod 666 out/f`, outside: next("stat -c %a out out/f", "755\n644\n")},
		{name: "hand on attributes", probe: func([]string) error {
			if err := os.WriteFile("out", []byte("x"), 0o644); err != nil {
				return err
			}
			_ = unix.Setxattr("out", "user.overlay.metacopy", nil, 0)
			_ = unix.Setxattr("out", "user.overlay.redirect", []byte("/in/data"), 0)
			return nil
		}, outside: next("cat out", "x")},
		{name: "hand on what an overlay would take for something else", probe: func([]string) error {
			if err := os.Mkdir("out", 0o755); err != nil {
				return err
			}
			for _, name := range []string{"user.overlay.opaque", "user.overlay.redirect", "user.overlay.whiteouts", "trusted.overlay.redirect"} {
				_ = unix.Setxattr("out", name, []byte("y"), 0)
				_ = unix.Setxattr("in", name, []byte("y"), 0)
			}
			return os.WriteFile("out/.wh.in", []byte("x"), 0o644)
		}, outside: next("ls -A out; ls in 2>/dev/null; true", ".wh.in\n")},
		{name: "hand on a folder with removed files", sh: `rm in/data; mv in out`, outside: next("cd out; find . | sort", ".\n./sub\n./sub/more\n")},
		{name: "hand on a folder that was made anew", sh: `rm -r in; mkdir in; touch in/new; mv in out`, outside: next("cd out; find . | sort", ".\n./new\n")},
		{name: "hand on a whiteout", sh: `mknod out c 0 0`, says: "not permitted"},
		{name: "hand on a name that is not UTF-8", sh: `mkdir out; touch "$(printf 'out/\377')"`, fails: `UTF-8`},
		{name: "hand on a name with a newline", sh: `mkdir out; touch "$(printf 'out/a\nb')"`, outside: next(`ls -b out`, "a\\nb\n")},
		{name: "hand on a very deep folder", sh: `mkdir out; cd out; i=0; while [ $i -lt 2000 ]; do mkdir d && cd d || exit 1; i=$((i+1)); done`, fails: "deeper than"},
		{name: "hand on what it may not read", sh: `mkdir out; echo x >out/f; chmod 0 out/f out`, outside: next("cat out/f", "x\n")},
		{name: "hand on an output by a long name", sh: `n=$(printf %0255d 0); echo x >$n; mv $n out; ls`, outside: next("cat out", "x\n")},
		{name: "hand on a hole", sh: `truncate -s 64M out`, outside: func(t *testing.T, _ *machine, o outcome) {
			if len(o.Entries) != 1 || o.Entries[0].Digest.Size != 64<<20 {
				t.Errorf("captured was %v", o.Entries)
			}
		}},
		{name: "hand on a file of the toolchain by a link", sh: `ln -s /usr/bin/env out`, fails: "which is an absolute path"},
		{name: "name an output above the workspace", sh: `mkdir out; ln -s .. out/up`, outputs: []string{"out/up/etc/passwd"}, outside: func(t *testing.T, _ *machine, o outcome) {
			if len(o.Entries) != 0 || strings.Join(o.Missing, " ") != "out/up/etc/passwd" {
				t.Errorf("captured was %+v", o.Entries)
			}
		}},
	}
	for i := range all {
		if all[i].outputs == nil {
			all[i].outputs = out
		}
	}
	return all
}
