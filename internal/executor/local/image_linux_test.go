package local_test

import (
	"errors"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/executor"
	"github.com/towpath/towpath/internal/executor/local"
	"github.com/towpath/towpath/internal/nobody"
	"github.com/towpath/towpath/internal/tree"
)

// image stores the root of a machine that has a few programs of this one, with what they need, and nothing else.
func image(tb testing.TB, store cas.Store, programs ...string) digest.Digest {
	tb.Helper()
	return imageWith(tb, store, map[string]string{"etc/hosts": "/nowhere"}, programs...)
}

// imageWith is an image with links, which are given with what they lead to.
func imageWith(tb testing.TB, store cas.Store, links map[string]string, programs ...string) digest.Digest {
	tb.Helper()
	b := tree.NewBuilder(store)
	added := map[string]bool{}
	add := func(from, to string) {
		if added[to] {
			return
		}
		added[to] = true
		f, err := os.Open(from)
		if err != nil {
			tb.Fatal(err)
		}
		defer f.Close()
		d, err := store.Put(tb.Context(), f)
		if err != nil {
			tb.Fatal(err)
		}
		if err := b.File(strings.TrimPrefix(to, "/"), d, true); err != nil {
			tb.Fatal(err)
		}
	}
	for _, name := range programs {
		from, err := exec.LookPath(name)
		if err != nil {
			tb.Fatal(err)
		}
		add(from, path.Join("/bin", name))
		out, err := exec.CommandContext(tb.Context(), "ldd", from).Output()
		if err != nil {
			tb.Fatal(err)
		}
		for field := range strings.FieldsSeq(string(out)) {
			if filepath.IsAbs(field) {
				add(field, field)
			}
		}
	}
	for at, to := range links {
		if err := b.Symlink(at, to); err != nil {
			tb.Fatal(err)
		}
	}
	root, err := b.Build(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return root
}

// TestRoot holds that an image takes the place of the machine's programs, that what is missing in it is there, and that it is not changed.
func TestRoot(t *testing.T) {
	nobody.Run(t)
	f := newSandboxFixture(t)
	root := image(t, f.store, "sh", "cat", "ls", "touch", "id")
	for _, script := range []string{
		"ls /; cat /etc/hosts; id -un; ls -d /usr; :",
		"touch /bin/new; touch /etc/new; touch /workspace/w /tmp/t $HOME/h /dev/shm/s && ls /workspace; :",
	} {
		var out strings.Builder
		c := executor.Command{Args: []string{"sh", "-c", script}, Root: root}
		result, err := f.Execute(t.Context(), f.action(t, c), executor.Options{Stdout: &out})
		if err != nil || !result.Accepted {
			t.Fatalf("%s: %+v, %v", script, result, err)
		}
		for line, there := range map[string]bool{"workspace": true, "step": true, "usr": false, "new": false, "127.0.0.1 localhost towpath": true, "w": true} {
			if first := strings.HasPrefix(script, "ls /;"); first == (line == "w") || !first && line != "w" && line != "new" {
				continue
			}
			if strings.Contains("\n"+out.String(), "\n"+line+"\n") != there {
				t.Errorf("%s prints %q: is %q there? want %v", script, out.String(), line, there)
			}
		}
	}
	_, err := f.Execute(t.Context(), f.action(t, executor.Command{Args: []string{"head"}, Root: root}), executor.Options{})
	if err == nil {
		t.Error("a program of the machine is there")
	}
}

// TestRootInWorkspace holds that an image is not passed over where it cannot take the place of anything.
func TestRootInWorkspace(t *testing.T) {
	f := newFixture(t)
	a := f.action(t, executor.Command{Args: []string{"true"}, Root: digest.Empty()}, nil)
	_, err := f.Execute(t.Context(), a, executor.Options{})
	if invalid, ok := errors.AsType[*executor.InvalidError](err); !ok || invalid.Field != "root" {
		t.Errorf("the error is %v, want an InvalidError of the root", err)
	}
	if f.Isolation() != local.Workspace {
		t.Errorf("the isolation is %q", f.Isolation())
	}
}

// TestLinksOfAnImage holds that no link of an image leads a sandbox that is being made to the machine, where that may do what tow may.
func TestLinksOfAnImage(t *testing.T) {
	nobody.Run(t)
	f := newSandboxFixture(t)
	machine := t.TempDir()
	secret := filepath.Join(machine, "passwd")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, way := range []string{".tow-machine", "proc/1/root", "proc/thread-self/root", "proc/self/cwd", "../../../..", "dev/../../../.."} {
		links := []map[string]string{
			{"etc": way + machine},
			{"etc/passwd": "../" + way + secret},
			{"etc/group": "../" + way + secret, "home": way + machine},
			{"workspace": way + machine, "tmp": way + machine, "dev": way + machine, "proc": way + machine},
		}
		for i, link := range links {
			root := imageWith(t, f.store, link, "sh", "cat", "ls")
			var out strings.Builder
			c := executor.Command{Args: []string{"sh", "-c", "cat /etc/passwd /etc/group; ls / /home /workspace /tmp /dev/; :"}, Root: root}
			result, err := f.Execute(t.Context(), f.action(t, c), executor.Options{Stdout: &out, Stderr: &out})
			if whole := i == 1 || i == 3; whole && (err != nil || !result.Accepted) {
				t.Errorf("%v: %+v, %v", link, result, err)
			}
			if strings.Contains(out.String(), "secret") {
				t.Errorf("%v: a command sees %q", link, out.String())
			}
		}
	}
	entries, err := os.ReadDir(machine)
	content, readErr := os.ReadFile(secret)
	if err != nil || readErr != nil || len(entries) != 1 || string(content) != "secret" {
		t.Errorf("%s has %v, and the file holds %q (%v, %v)", machine, entries, content, err, readErr)
	}
}

// TestToolsInAnImage holds that a tool that was asked for is there where the image has nothing, and does not take the place of what it has.
func TestToolsInAnImage(t *testing.T) {
	nobody.Run(t)
	f := newSandboxFixture(t)
	for _, dir := range toolFolders(t) {
		script := "#!/bin/sh\necho the machine"
		install(t, dir, map[string]string{"one": script, "two": script})
		links := map[string]string{strings.TrimPrefix(dir, "/") + "/one": "/bin/pwd"}
		root := imageWith(t, f.store, links, "sh", "pwd")
		for name, want := range map[string]string{"one": "/workspace\n", "two": "the machine\n"} {
			if name == "one" && strings.HasPrefix(dir, "/tmp/") {
				continue // the command has a folder of its own there, and the image has nothing in it
			}
			path := filepath.Join(dir, name)
			var out strings.Builder
			c := executor.Command{Args: []string{path}, Root: root, Tools: []executor.Tool{{Name: name, Path: path, Digest: digest.OfBytes([]byte(script))}}}
			_, err := f.Execute(t.Context(), f.action(t, c), executor.Options{Stdout: &out})
			if err != nil || out.String() != want {
				t.Errorf("%s prints %q, %v, want %q", path, out.String(), err, want)
			}
		}
	}
}
