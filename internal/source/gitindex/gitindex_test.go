package gitindex

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

type repo struct {
	t   *testing.T
	top string
}

func newRepo(t *testing.T, args ...string) *repo {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed")
	}
	r := &repo{t: t, top: t.TempDir()}
	r.git(append([]string{"init", "-q"}, args...)...)
	return r
}

func (r *repo) git(args ...string) string {
	r.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = r.top
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_SYSTEM="+os.DevNull,
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com")
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return string(out)
}

func (r *repo) write(names ...string) {
	r.t.Helper()
	for _, name := range names {
		full := filepath.Join(r.top, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			r.t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(name), 0o644); err != nil {
			r.t.Fatal(err)
		}
	}
}

func (r *repo) read(name string) []byte {
	r.t.Helper()
	data, err := os.ReadFile(filepath.Join(r.top, ".git", name))
	if err != nil {
		r.t.Fatal(err)
	}
	return data
}

func (r *repo) check() *Paths {
	r.t.Helper()
	p, err := Parse(r.read("index"))
	if err != nil {
		r.t.Fatal(err)
	}
	if shared := p.SharedIndex(); shared != "" {
		s, err := Parse(r.read(shared))
		if err != nil {
			r.t.Fatal(err)
		}
		p.Merge(s)
	}
	want := strings.Split(strings.TrimSuffix(r.git("ls-files", "-z"), "\x00"), "\x00")
	want = slices.Compact(want)
	if !slices.Equal(p.sorted, want) {
		r.t.Errorf("paths %q, git has %q", p.sorted, want)
	}
	return p
}

func names() []string {
	all := []string{"a", "a.b", "a-b/c", "b/c/d/e", "é", strings.Repeat("long", 50) + "/" + strings.Repeat("name", 50)}
	for i := range 50 {
		all = append(all, fmt.Sprintf("dir%d/%s", i%7, strings.Repeat("x", i)+"f"))
	}
	return all
}

func TestParse(t *testing.T) {
	for _, format := range []string{"sha1", "sha256"} {
		for _, version := range []string{"2", "3", "4"} {
			t.Run(format+" version "+version, func(t *testing.T) {
				r := newRepo(t, "--object-format="+format)
				r.write(names()...)
				r.git("add", ".")
				if version == "3" {
					r.write("later")
					r.git("add", "-N", "later") // intent to add needs extended flags, and so version 3
				} else {
					r.git("update-index", "--index-version", version)
				}
				if got := r.read("index")[7]; fmt.Sprint(got) != version {
					t.Fatalf("git wrote version %d", got)
				}
				p := r.check()
				if !p.Has("b/c/d/e") || p.Has("b/c/d") || p.Has("nope") || !p.HasBelow("b/c") || p.HasBelow("a") || p.HasBelow("b/c/d/e") {
					t.Error("wrong answers")
				}
			})
		}
	}
}

func TestParseSplitIndex(t *testing.T) {
	r := newRepo(t)
	r.write(names()...)
	r.git("add", ".")
	r.git("update-index", "--split-index")
	r.write("new/one", "a")
	r.git("add", ".")
	p := r.check()
	if !p.Has("new/one") || !p.Has("b/c/d/e") {
		t.Error("paths of one of the two are missing")
	}
}

func TestParseConflict(t *testing.T) {
	r := newRepo(t)
	r.write("a", "b")
	r.git("add", ".")
	blob := strings.TrimSpace(r.git("hash-object", "a"))
	cmd := exec.Command("git", "update-index", "--index-info")
	cmd.Dir = r.top
	cmd.Stdin = strings.NewReader(fmt.Sprintf("0 %040d\ta\n100644 %s 1\ta\n100644 %s 2\ta\n", 0, blob, blob))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	r.check()
}

func TestParseDamaged(t *testing.T) {
	r := newRepo(t)
	r.write("a", "b/c")
	r.git("add", ".")
	for _, version := range []string{"2", "4"} {
		r.git("update-index", "--index-version", version)
		good := r.read("index")
		for i := range good {
			if _, err := Parse(good[:i]); err == nil && i < len(good)-40 {
				t.Errorf("version %s, cut at %d of %d: accepted", version, i, len(good))
			}
			for bit := range 8 {
				bad := slices.Clone(good)
				bad[i] ^= 1 << bit
				_, _ = Parse(bad) // must not panic
			}
		}
	}
	for _, data := range []string{"", "DIRC", "DIRC\x00\x00\x00\x05\x00\x00\x00\x00", strings.Repeat("x", 100)} {
		if _, err := Parse([]byte(data)); err == nil {
			t.Errorf("%q: accepted", data)
		}
	}
}

func TestNoIndex(t *testing.T) {
	var p *Paths
	if p.Has("a") || p.HasBelow("a") || p.Len() != 0 {
		t.Error("no index has paths")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("DIRC\x00\x00\x00\x02\x00\x00\x00\x00" + strings.Repeat("\x00", 20)))
	f.Fuzz(func(t *testing.T, data []byte) {
		if p, err := Parse(data); err == nil && !slices.IsSorted(p.sorted) {
			t.Error("paths are not sorted")
		}
	})
}
