package executortest

import (
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/executor"
	"github.com/towpath/towpath/internal/tree"
)

func testInputs(t *testing.T, s *suite) {
	s.inputs["a/b.txt"] = input{content: []byte("hello")}
	s.inputs["c"] = input{}
	want(t, "list", s.succeed(t, program("list .")).stdout, "a\na/b.txt\nc\n"+ProgramName+"\n")
	want(t, "cat", s.succeed(t, program("cat a/b.txt")).stdout, "hello")

	delete(s.inputs, "a/b.txt")
	want(t, "list", s.succeed(t, program("list .")).stdout, "c\n"+ProgramName+"\n")
}

func testFresh(t *testing.T, s *suite) {
	for range 2 {
		got := s.succeed(t, program("list . ; list $HOME ; list $TMPDIR ; mkdir d ; write d/f x ; write $HOME/f x ; write $TMPDIR/f x ; chmod 0555 d"))
		want(t, "what is there at first", got.stdout, ProgramName+"\n")
	}
}

func testChangedInputs(t *testing.T, s *suite) {
	s.inputs["f"] = input{content: []byte("original")}
	got := s.succeed(t, program("write f changed ; cat f ; write "+ProgramName+".new x", "f"))
	want(t, "in the step", got.stdout, "changed")
	want(t, "captured", s.blob(t, got.Entries[0].Digest), "changed")
	want(t, "in the store", s.blob(t, digest.OfBytes([]byte("original"))), "original")
	want(t, "in the next step", s.succeed(t, program("cat f")).stdout, "original")
}

func testEnv(t *testing.T, s *suite) {
	t.Setenv("TOWPATH_OF_THE_ENGINE", "leaks")
	t.Setenv("CI", "true")
	c := program("env")
	c.Env = []executor.EnvVar{{Name: "TZ", Value: "CET"}, {Name: "EMPTY"}, {Name: "A_B", Value: "x = y"}}
	var got []string
	for line := range strings.SplitSeq(s.succeed(t, c).stdout, "\n") {
		name, _, _ := strings.Cut(line, "=")
		switch {
		case name == "HOME" || name == "TMPDIR":
			line = name
		case windows && strings.EqualFold(name, "SYSTEMROOT"):
			continue
		}
		got = append(got, line)
	}
	expected := []string{
		"A_B=x = y", "EMPTY=", "HOME", "LANG=C.UTF-8", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"SOURCE_DATE_EPOCH=315532800", "TMPDIR", "TZ=CET",
	}
	want(t, "environment", strings.Join(got, "\n"), strings.Join(expected, "\n"))
}

func testPrivateFolders(t *testing.T, s *suite) {
	got := s.succeed(t, program("write $HOME/h 1 ; write $TMPDIR/t 2 ; cat $HOME/h ; cat $TMPDIR/t ; list .", "**/[ht]"))
	want(t, "folders", got.stdout, "12"+ProgramName+"\n")
	if len(got.Entries) > 0 {
		t.Errorf("the outputs are %v, want nothing of the private folders", got.Entries)
	}

	// Two executions at the same time do not share them.
	folders := make(chan string, 2)
	t.Run("group", func(t *testing.T) {
		for i := range 2 {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				folders <- s.succeed(t, program(fmt.Sprintf("write $HOME/only-%d x ; list $HOME", i))).stdout
			})
		}
	})
	both := []string{<-folders, <-folders}
	slices.Sort(both)
	want(t, "folders of two", strings.Join(both, ""), "only-0\nonly-1\n")
}

func testCwd(t *testing.T, s *suite) {
	s.inputs["src/f"] = input{content: []byte("in src")}
	c := program("pwd ; write out.txt made", "src/deep/out.txt")
	c.Args[0] = "../../" + ProgramName
	c.Cwd = "src/deep"
	got := s.succeed(t, c)
	if !strings.HasSuffix(filepath.ToSlash(got.stdout), "/src/deep") {
		t.Errorf("it starts in %q", got.stdout)
	}
	if len(got.Entries) != 1 || got.Entries[0].Path != "src/deep/out.txt" {
		t.Errorf("the outputs are %v: their paths are relative to the workspace", got.Entries)
	}

	c = program("cat f")
	c.Args[0] = "../" + ProgramName
	c.Cwd = "src"
	want(t, "in a folder that is there", s.succeed(t, c).stdout, "in src")
}

func testBadCwd(t *testing.T, s *suite) {
	s.inputs["file"] = input{}
	c := program("pwd")
	c.Cwd = "file/below"
	got := s.try(t.Context(), s.action(t, c), nil)
	var invalid *executor.InvalidError
	if !errors.As(got.err, &invalid) || invalid.Field != "cwd" {
		t.Errorf("the error is %v, want an InvalidError of cwd", got.err)
	}
}

func testStdin(t *testing.T, s *suite) {
	want(t, "bytes", s.succeed(t, program("stdin")).stdout, "0")
}

func testOutputs(t *testing.T, s *suite) {
	s.inputs["in"] = input{}
	got := s.succeed(t, program(
		"mkdir dist/sub ; mkdir dist/empty ; write dist/b 1 ; write dist/sub/c 2 ; write-big big 100000 ; chmod 0755 dist/b ; write not-declared x ; "+
			"write r1.xml 3 ; write r2.xml 4 ; symlink sub/c dist/link ; symlink nowhere dangling",
		"r*.xml", "dist", "big", "dangling", "dist/**/c", "in"))
	var paths []string
	for _, e := range got.Entries {
		paths = append(paths, e.Path)
	}
	want(t, "entries", strings.Join(paths, " "), "big dangling dist dist/sub/c in r1.xml r2.xml")
	if len(got.Missing) > 0 {
		t.Errorf("missing: %v", got.Missing)
	}

	var all []string
	err := tree.Walk(t.Context(), s.Store, got.Root, func(e tree.Entry) error {
		switch {
		case e.Kind == tree.KindSymlink:
			all = append(all, e.Path+" -> "+e.Target)
		case e.Kind == tree.KindFile && e.Executable && !windows:
			all = append(all, e.Path+"*")
		default:
			all = append(all, e.Path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	executable := "*"
	if windows {
		executable = ""
	}
	want(t, "tree", strings.Join(all, "\n"), strings.Join([]string{
		"big", "dangling -> nowhere", "dist", "dist/b" + executable, "dist/empty", "dist/link -> sub/c", "dist/sub", "dist/sub/c", "in", "r1.xml", "r2.xml",
	}, "\n"))
	for _, e := range got.Entries {
		found, err := tree.Lookup(t.Context(), s.Store, got.Root, e.Path)
		if err != nil || found != e {
			t.Errorf("entry %v is %v in the tree: %v", e, found, err)
		}
	}
	want(t, "big", s.blob(t, got.Entries[0].Digest), string(Big(100_000)))
	want(t, "r2.xml", s.blob(t, got.Entries[6].Digest), "4")
}

func testMissingOutputs(t *testing.T, s *suite) {
	got := s.succeed(t, program("mkdir d ; write d/there x ; symlink d link", "d/there", "d/not", "*.none", "link/there"))
	want(t, "missing", strings.Join(got.Missing, " "), "*.none d/not link/there")
	if len(got.Entries) != 1 || got.Entries[0].Path != "d/there" {
		t.Errorf("the outputs are %v", got.Entries)
	}
	got = s.succeed(t, program("write f x"))
	if len(got.Entries)+len(got.Missing) > 0 {
		t.Errorf("without outputs there are %v, missing %v", got.Entries, got.Missing)
	}
	if got.Root.IsZero() {
		t.Error("without outputs there is no root, want the empty one")
	}
}

func testOutputsThatLeadOut(t *testing.T, s *suite) {
	for _, target := range []string{"/etc", "../../outside", "../d/../../outside", "../../work", "up"} {
		got := s.try(t.Context(), s.action(t, program("mkdir d ; symlink $HOME up ; symlink "+target+" d/link", "d")), nil)
		if target == "up" { // from d this leads to nothing in the workspace
			if got.err != nil {
				t.Errorf("a link to %s is refused: %v", target, got.err)
			}
			continue
		}
		var refused *executor.OutputError
		if !errors.As(got.err, &refused) || refused.Path != path.Join("d", "link") {
			t.Errorf("a link to %s: the error is %v, want an OutputError of d/link", target, got.err)
		}
		if got.Accepted {
			t.Errorf("a link to %s: the result counts as accepted", target)
		}
	}
	got := s.try(t.Context(), s.action(t, program("symlink $HOME up ; symlink up/x two", "two")), nil)
	if _, ok := errors.AsType[*executor.OutputError](got.err); !ok {
		t.Errorf("a link through a link that leads out: the error is %v, want an OutputError", got.err)
	}
}
