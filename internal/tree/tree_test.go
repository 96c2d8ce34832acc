package tree_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/cas/mem"
	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/tree"
)

// spec describes a tree: path to content. A path that ends with "/" is an empty folder; content that starts with "->" is a
// symlink, with "#!" an executable file.
type spec map[string]string

func file(tb testing.TB, store cas.Store, content string) digest.Digest {
	tb.Helper()
	d, err := cas.PutBytes(tb.Context(), store, []byte(content))
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

func add(tb testing.TB, store cas.Store, b *tree.Builder, path, content string) error {
	tb.Helper()
	if dir, ok := strings.CutSuffix(path, "/"); ok {
		return b.EmptyDirectory(dir)
	}
	if target, ok := strings.CutPrefix(content, "->"); ok {
		return b.Symlink(path, target)
	}
	return b.File(path, file(tb, store, content), strings.HasPrefix(content, "#!"))
}

func build(tb testing.TB, store cas.Store, s spec) digest.Digest {
	tb.Helper()
	b := tree.NewBuilder(store)
	for path, content := range s { // in any order
		if err := add(tb, store, b, path, content); err != nil {
			tb.Fatalf("add %q: %v", path, err)
		}
	}
	d, err := b.Build(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

// describe is the inverse of build.
func describe(tb testing.TB, store cas.Store, d digest.Digest) spec {
	tb.Helper()
	s := spec{}
	err := tree.Walk(tb.Context(), store, d, func(e tree.Entry) error {
		if i := strings.LastIndexByte(e.Path, '/'); i > 0 {
			delete(s, e.Path[:i]+"/")
		}
		switch e.Kind {
		case tree.KindDirectory:
			s[e.Path+"/"] = ""
		case tree.KindSymlink:
			s[e.Path] = "->" + e.Target
		case tree.KindFile:
			b, err := cas.ReadAll(tb.Context(), store, e.Digest, 1<<20)
			if err != nil {
				return err
			}
			if e.Executable != strings.HasPrefix(string(b), "#!") {
				tb.Errorf("%q: executable is %v", e.Path, e.Executable)
			}
			s[e.Path] = string(b)
		}
		return nil
	})
	if err != nil {
		tb.Fatalf("Walk: %v", err)
	}
	return s
}

func wantTree(t *testing.T, store cas.Store, d digest.Digest, want spec) {
	t.Helper()
	if diff := cmp.Diff(want, describe(t, store, d)); diff != "" {
		t.Errorf("the tree differs (-want +got):\n%s", diff)
	}
}

// The bytes of a message are in keys and in other people's caches: they must never change.
func TestCanonicalBytes(t *testing.T) {
	store := mem.New()
	d := build(t, store, spec{"b": "", "a": "#!x", "link": "->a", "dir/": ""})
	got, err := cas.ReadAll(t.Context(), store, d, 1000)
	if err != nil {
		t.Fatal(err)
	}
	node := func(d digest.Digest, size string) string { return "\n\x40" + d.Hex() + size }
	x, empty := digest.OfBytes([]byte("#!x")), digest.Empty()
	want := "\n\x4b" + "\n\x01a\x12\x44" + node(x, "\x10\x03") + "\x20\x01" + // file a, executable
		"\n\x47" + "\n\x01b\x12\x42" + node(empty, "") + // file b
		"\x12\x49" + "\n\x03dir\x12\x42" + node(empty, "") + // folder dir
		"\x1a\x09" + "\n\x04link\x12\x01a" // symlink link
	if string(got) != want {
		t.Errorf("the message is\n%s\nwant\n%s", hex.Dump(got), hex.Dump([]byte(want)))
	}
	if d := build(t, store, spec{}); d != digest.Empty() {
		t.Errorf("the empty tree is %v", d)
	}
}

func TestBuildRoundTrip(t *testing.T) {
	store := mem.New()
	s := spec{
		"a": "1", "a.txt": "2", "a-dir/x": "#!3", "b/c/d/e": "4", "b/c/empty/": "", "b/l": "->../a", "b/out": "->/usr/bin/env",
		"ü/日本": "5", "z/": "",
	}
	wantTree(t, store, build(t, store, s), s)
	if a, b := build(t, store, s), build(t, store, s); a != b {
		t.Errorf("the same tree is %v and %v", a, b)
	}
}

func TestBuilderRefusesPaths(t *testing.T) {
	store := mem.New()
	for _, p := range []string{
		"/", "/a", "a/", "a//b", ".", "..", "./a", "a/.", "a/../b", "a\x00b", "a/\xff/b", strings.Repeat("n", 256),
		strings.Repeat("a/", 1001) + "a",
	} {
		b := tree.NewBuilder(store)
		for what, err := range map[string]error{
			"File": b.File(p, digest.Empty(), false), "Symlink": b.Symlink(p, "x"),
			"Directory": b.Directory(p, digest.Empty()), "EmptyDirectory": b.EmptyDirectory(p),
		} {
			var pathErr *tree.PathError
			if !errors.As(err, &pathErr) || pathErr.Path != p {
				t.Errorf("%s(%q) = %v, want a *PathError", what, p, err)
			}
		}
	}
	b := tree.NewBuilder(store)
	for _, err := range []error{
		b.File("", digest.Empty(), false), b.Symlink("", "x"), b.Symlink("a", ""), b.Symlink("a", "\xff"), b.Symlink("a", "b\x00"),
		b.Add(tree.Mount{Path: "a"}),
	} {
		if _, ok := errors.AsType[*tree.PathError](err); !ok {
			t.Errorf("%v, want a *PathError", err)
		}
	}
	if err := b.File("\xff", digest.Empty(), false); err == nil || !strings.Contains(err.Error(), `"\xff" is not UTF-8`) {
		t.Errorf("the error of a name that is not UTF-8 is %v", err)
	}
	if d, err := b.Build(t.Context()); err != nil || d != digest.Empty() {
		t.Errorf("what was refused left something: %v, %v", d, err)
	}
}

func TestConflicts(t *testing.T) {
	store := mem.New()
	for _, c := range []struct{ path1, content1, path2, content2, at string }{
		{"a", "1", "a", "2", "a"},
		{"a", "1", "a", "->x", "a"},
		{"a", "->x", "a", "->y", "a"},
		{"a", "1", "a/", "", "a"},
		{"a", "1", "a/b", "2", "a"},
		{"a", "->x", "a/b/c", "2", "a"},
		{"a/b", "1", "a/b/c/d", "2", "a/b"},
	} {
		for range 2 {
			direct := tree.NewBuilder(store)
			_ = add(t, store, direct, c.path1, c.content1)
			_, mergeErr := tree.Merge(t.Context(), store, []tree.Mount{
				{Entry: tree.Entry{Kind: tree.KindDirectory, Digest: build(t, store, spec{c.path1: c.content1})}},
				{Entry: tree.Entry{Kind: tree.KindDirectory, Digest: build(t, store, spec{c.path2: c.content2})}},
			})
			for what, err := range map[string]error{"direct": add(t, store, direct, c.path2, c.content2), "merged": mergeErr} {
				var conflict *tree.ConflictError
				if !errors.As(err, &conflict) || conflict.Path != c.at {
					t.Errorf("%s: %q and %q: %v, want a conflict at %q", what, c.path1, c.path2, err, c.at)
				}
			}
			c.path1, c.content1, c.path2, c.content2 = c.path2, c.content2, c.path1, c.content1
		}
	}
	b := tree.NewBuilder(store)
	if err := errors.Join(b.File("x", digest.Empty(), true), b.File("x", digest.Empty(), true), b.EmptyDirectory("d"), b.EmptyDirectory("d")); err != nil {
		t.Errorf("saying the same twice: %v", err)
	}
	if err := b.File("x", digest.Empty(), false); err == nil {
		t.Error("executable and not: no conflict")
	}
}

func TestMerge(t *testing.T) {
	store := mem.New()
	dir := func(path string, s spec) tree.Mount {
		return tree.Mount{Path: path, Entry: tree.Entry{Kind: tree.KindDirectory, Digest: build(t, store, s)}}
	}
	mounts := []tree.Mount{
		dir("", spec{"src/a": "1", "src/deep/x": "2", "only/here": "3"}),
		dir("src", spec{"b": "4", "deep/y": "5", "deep/x": "2"}),
		dir("src/deep", spec{"z/": ""}),
		{Path: "src/f", Entry: tree.Entry{Path: "ignored", Kind: tree.KindFile, Digest: file(t, store, "6")}},
		{Path: "l", Entry: tree.Entry{Kind: tree.KindSymlink, Target: "src"}},
	}
	want := spec{
		"src/a": "1", "src/b": "4", "src/deep/x": "2", "src/deep/y": "5", "src/deep/z/": "", "src/f": "6", "only/here": "3", "l": "->src",
	}
	for range 4 { // any order
		d, err := tree.Merge(t.Context(), store, mounts)
		if err != nil {
			t.Fatal(err)
		}
		wantTree(t, store, d, want)
		if d != build(t, store, want) {
			t.Error("the merged tree is not the one that is built directly")
		}
		mounts = append(mounts[1:], mounts[0])
	}
	if d, err := tree.Merge(t.Context(), store, nil); err != nil || d != digest.Empty() {
		t.Errorf("Merge of nothing = %v, %v", d, err)
	}
	_, err := tree.Merge(t.Context(), store, []tree.Mount{{Entry: tree.Entry{Kind: tree.KindFile, Digest: digest.Empty()}}})
	if _, ok := errors.AsType[*tree.PathError](err); !ok {
		t.Errorf("a file at the root: %v, want a *PathError", err)
	}
	gone := digest.OfBytes([]byte("not there"))
	_, err = tree.Merge(t.Context(), store, []tree.Mount{dir("x", spec{"a": "1"}), {Path: "x", Entry: tree.Entry{Kind: tree.KindDirectory, Digest: gone}}})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("merging a tree that is not there: %v", err)
	}
}

func putMessage(t *testing.T, store cas.Store, m proto.Message) digest.Digest {
	t.Helper()
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return file(t, store, string(b))
}

func TestLoadRefuses(t *testing.T) {
	store := mem.New()
	good := &repb.Digest{Hash: digest.Empty().Hex()}
	fileNode := func(name string) *repb.FileNode { return &repb.FileNode{Name: name, Digest: good} }
	for what, m := range map[string]*repb.Directory{
		"unsorted":          {Files: []*repb.FileNode{fileNode("b"), fileNode("a")}},
		"twice":             {Files: []*repb.FileNode{fileNode("a"), fileNode("a")}},
		"file and folder":   {Files: []*repb.FileNode{fileNode("a")}, Directories: []*repb.DirectoryNode{{Name: "a", Digest: good}}},
		"file and symlink":  {Files: []*repb.FileNode{fileNode("a")}, Symlinks: []*repb.SymlinkNode{{Name: "a", Target: "b"}}},
		"empty name":        {Files: []*repb.FileNode{fileNode("")}},
		"slash":             {Files: []*repb.FileNode{fileNode("a/b")}},
		"dot":               {Directories: []*repb.DirectoryNode{{Name: ".", Digest: good}}},
		"dot dot":           {Symlinks: []*repb.SymlinkNode{{Name: "..", Target: "a"}}},
		"zero byte":         {Files: []*repb.FileNode{fileNode("a\x00")}},
		"no digest":         {Files: []*repb.FileNode{{Name: "a"}}},
		"bad hash":          {Files: []*repb.FileNode{{Name: "a", Digest: &repb.Digest{Hash: "abc"}}}},
		"upper-case hash":   {Files: []*repb.FileNode{{Name: "a", Digest: &repb.Digest{Hash: strings.ToUpper(good.Hash)}}}},
		"negative size":     {Files: []*repb.FileNode{{Name: "a", Digest: &repb.Digest{Hash: good.Hash, SizeBytes: -1}}}},
		"folder, no digest": {Directories: []*repb.DirectoryNode{{Name: "a"}}},
		"no target":         {Symlinks: []*repb.SymlinkNode{{Name: "a"}}},
		"properties":        {NodeProperties: &repb.NodeProperties{}},
		"file properties":   {Files: []*repb.FileNode{{Name: "a", Digest: good, NodeProperties: &repb.NodeProperties{}}}},
	} {
		var invalid *tree.InvalidError
		if _, err := tree.Load(t.Context(), store, putMessage(t, store, m)); !errors.As(err, &invalid) {
			t.Errorf("%s: %v, want an *InvalidError", what, err)
		}
	}
	ok, err := proto.Marshal(&repb.Directory{Files: []*repb.FileNode{fileNode("a")}, Symlinks: []*repb.SymlinkNode{{Name: "b", Target: "c"}}})
	if err != nil {
		t.Fatal(err)
	}
	split := bytes.Index(ok, []byte("\x1a\x06"))
	for what, b := range map[string]string{
		"no message":      "hello",
		"unknown field":   string(ok) + "\xfa\x01\x00",
		"lists swapped":   string(ok[split:]) + string(ok[:split]),
		"cut":             string(ok[:len(ok)-1]),
		"name not UTF-8":  strings.Replace(string(ok), "\x01a", "\x01\xff", 1),
		"explicit zero":   string(ok[:1]) + string(ok[1]+2) + string(ok[2:split]) + "\x20\x00" + string(ok[split:]),
		"overlong varint": string(ok[:1]) + string([]byte{ok[1] | 0x80, 0}) + string(ok[2:]),
	} {
		var invalid *tree.InvalidError
		if _, err := tree.Load(t.Context(), store, file(t, store, b)); !errors.As(err, &invalid) {
			t.Errorf("%s: %v, want an *InvalidError", what, err)
		}
	}
	if _, err := tree.Load(t.Context(), store, file(t, store, string(ok))); err != nil {
		t.Errorf("the good one: %v", err)
	}
	var tooLarge *cas.TooLargeError
	huge := digest.Digest{Hash: digest.Empty().Hash, Size: tree.MaxDirectoryBytes + 1}
	if _, err := tree.Load(t.Context(), store, huge); !errors.As(err, &tooLarge) {
		t.Errorf("a huge message: %v", err)
	}
}

func walked(t *testing.T, store cas.Store, d digest.Digest, fn func(tree.Entry) error) []string {
	t.Helper()
	var paths []string
	err := tree.Walk(t.Context(), store, d, func(e tree.Entry) error {
		paths = append(paths, e.Path)
		return fn(e)
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

func TestWalk(t *testing.T) {
	store := mem.New()
	d := build(t, store, spec{"a/x": "", "a/y/z": "", "a.txt": "", "a0": "", "a-/b": "", "a!": "", "b": "", "é": ""})
	at := func(path string, err error) func(tree.Entry) error {
		return func(e tree.Entry) error {
			if e.Path == path {
				return err
			}
			return nil
		}
	}
	all := walked(t, store, d, at("", nil))
	want := []string{"a", "a!", "a-", "a-/b", "a.txt", "a/x", "a/y", "a/y/z", "a0", "b", "é"}
	if !slices.Equal(all, want) || !slices.IsSorted(all) {
		t.Errorf("Walk = %q, want %q", all, want)
	}
	for path, want := range map[string]string{
		"a":     "a a! a- a-/b a.txt a0 b é",
		"a/x":   "a a! a- a-/b a.txt a/x a0 b é",
		"a.txt": "a a! a- a-/b a.txt",
	} {
		if got := strings.Join(walked(t, store, d, at(path, fs.SkipDir)), " "); got != want {
			t.Errorf("SkipDir at %q: %s, want %s", path, got, want)
		}
	}
	if got := walked(t, store, d, at("a/x", fs.SkipAll)); len(got) != 6 {
		t.Errorf("SkipAll: %q", got)
	}
	broken := errors.New("broken")
	if err := tree.Walk(t.Context(), store, d, at("a/y/z", broken)); !errors.Is(err, broken) {
		t.Errorf("Walk = %v, want the function's error", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := tree.Walk(ctx, store, d, at("", nil)); !errors.Is(err, context.Canceled) {
		t.Errorf("Walk with a cancelled context = %v", err)
	}
}

// A tree of few messages with more paths than there are atoms: what reads each message once is fast, what walks it ends.
func TestBomb(t *testing.T) {
	store := mem.New()
	d := build(t, store, spec{})
	for range 100 {
		node := &repb.Digest{Hash: d.Hex(), SizeBytes: d.Size}
		d = putMessage(t, store, &repb.Directory{Directories: []*repb.DirectoryNode{{Name: "a", Digest: node}, {Name: "b", Digest: node}}})
	}
	if all, err := tree.Closure(t.Context(), store, d); err != nil || len(all) != 101 {
		t.Errorf("Closure = %d blobs, %v", len(all), err)
	}
	other := build(t, store, spec{"x": "1"})
	if changes, err := tree.Diff(t.Context(), store, other, d, 10); err != nil || len(changes) != 10 {
		t.Errorf("Diff = %d changes, %v", len(changes), err)
	}
	for range tree.MaxDepth {
		d = putMessage(t, store, &repb.Directory{Directories: []*repb.DirectoryNode{{Name: "a", Digest: &repb.Digest{Hash: d.Hex(), SizeBytes: d.Size}}}})
	}
	var invalid *tree.InvalidError
	if err := tree.Walk(t.Context(), store, d, func(tree.Entry) error { return nil }); !errors.As(err, &invalid) {
		t.Errorf("Walk of a tree that is too deep = %v", err)
	}
}

func TestLookup(t *testing.T) {
	store := mem.New()
	d := build(t, store, spec{"a/b/c": "#!1", "a/l": "->b", "f": "2"})
	for path, want := range map[string]tree.Entry{
		"":      {Kind: tree.KindDirectory, Digest: d},
		"a/b/c": {Path: "a/b/c", Kind: tree.KindFile, Digest: digest.OfBytes([]byte("#!1")), Executable: true},
		"a/l":   {Path: "a/l", Kind: tree.KindSymlink, Target: "b"},
		"a/b":   {Path: "a/b", Kind: tree.KindDirectory, Digest: build(t, store, spec{"c": "#!1"})},
	} {
		if got, err := tree.Lookup(t.Context(), store, d, path); err != nil || got != want {
			t.Errorf("Lookup(%q) = %+v, %v, want %+v", path, got, err, want)
		}
	}
	for path, parent := range map[string]string{"x": "", "x/y/z": "", "a/x": "a", "a/b/x/y": "a/b", "f/x": "", "a/b/c/x": "a/b", "a/l/c": "a"} {
		var notFound *tree.NotFoundError
		_, err := tree.Lookup(t.Context(), store, d, path)
		if !errors.As(err, &notFound) || !errors.Is(err, fs.ErrNotExist) || notFound.Path != path || notFound.Parent != parent {
			t.Errorf("Lookup(%q) = %v, want it not to be in %q", path, err, parent)
		}
	}
	for _, path := range []string{"/", "a/", "../a", "a/./b"} {
		var pathErr *tree.PathError
		if _, err := tree.Lookup(t.Context(), store, d, path); !errors.As(err, &pathErr) {
			t.Errorf("Lookup(%q) = %v, want a *PathError", path, err)
		}
	}
}

func TestClosure(t *testing.T) {
	store := mem.New()
	d := build(t, store, spec{"a/x": "1", "b/x": "1", "c/x": "1", "c/y": "2", "l": "->a"})
	got, err := tree.Closure(t.Context(), store, d)
	want := []digest.Digest{
		d, build(t, store, spec{"x": "1"}), build(t, store, spec{"x": "1", "y": "2"}),
		digest.OfBytes([]byte("1")), digest.OfBytes([]byte("2")),
	}
	byHex := func(a, b digest.Digest) int { return strings.Compare(a.Hex(), b.Hex()) }
	if err != nil || got[0] != d {
		t.Fatalf("Closure = %v, %v", got, err)
	}
	slices.SortFunc(got, byHex)
	slices.SortFunc(want, byHex)
	if !slices.Equal(got, want) {
		t.Errorf("Closure = %v, want %v", got, want)
	}
	// The content of a file may be that of a folder, too.
	empty := build(t, store, spec{"f": "", "dir/": ""})
	if got, err := tree.Closure(t.Context(), store, empty); err != nil || len(got) != 2 {
		t.Errorf("Closure = %v, %v", got, err)
	}
	if err := store.Delete(t.Context(), build(t, store, spec{"x": "1"})); err != nil {
		t.Fatal(err)
	}
	if _, err := tree.Closure(t.Context(), store, d); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Closure of a tree with a folder missing = %v", err)
	}
}

func TestDiff(t *testing.T) {
	store := mem.New()
	a := spec{"same/deep/x": "1", "mod": "1", "gone": "1", "gonedir/x": "1", "mode": "x", "was/": "", "filetodir": "1", "dirtofile/a": "1", "l": "->a", "ltof": "->x", "k.txt": "1", "k/a": "1"}
	b := spec{"same/deep/x": "1", "mod": "2", "new": "1", "newdir/x": "1", "newdir/y/z": "1", "mode": "x", "is/": "", "filetodir/a": "1", "dirtofile": "1", "l": "->b", "ltof": "1", "k.txt": "2", "k/a": "2"}
	da, db := build(t, store, a), build(t, store, b)
	changes, err := tree.Diff(t.Context(), store, da, db, 0)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range changes {
		got = append(got, c.Kind.String()+" "+c.Path)
		if zero := (tree.Entry{}); (c.Old == zero) != (c.Kind == tree.Added) || (c.New == zero) != (c.Kind == tree.Removed) {
			t.Errorf("%v: old %v, new %v", c.Path, c.Old, c.New)
		}
	}
	want := []string{
		"added dirtofile", "removed dirtofile/a", "removed filetodir", "added filetodir/a", "removed gone", "removed gonedir/x", "added is",
		"modified k.txt", "modified k/a", "modified l", "modified ltof", "modified mod", "added new", "added newdir/x", "added newdir/y/z", "removed was",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Diff (-want +got):\n%s", diff)
	}
	if changes, err := tree.Diff(t.Context(), store, da, db, 3); err != nil || len(changes) != 3 {
		t.Errorf("Diff with a limit = %d changes, %v", len(changes), err)
	}
	gone := digest.OfBytes([]byte("not there"))
	if changes, err := tree.Diff(t.Context(), store, gone, gone, 0); err != nil || len(changes) != 0 {
		t.Errorf("Diff of equal digests reads them: %v, %v", changes, err)
	}
}

func TestDirectoriesAreAllThatBuildPuts(t *testing.T) {
	store := mem.New()
	b := tree.NewBuilder(store)
	absent := digest.OfBytes([]byte("not there"))
	if err := errors.Join(b.File("d/f", absent, false), b.Directory("g", absent)); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Build(t.Context()); err != nil {
		t.Errorf("Build reads what it does not need: %v", err)
	}
	if missing, err := store.Missing(t.Context(), []digest.Digest{absent}); err != nil || len(missing) != 1 {
		t.Errorf("Missing = %v, %v", missing, err)
	}
}

func BenchmarkBuild50000(b *testing.B) {
	paths := make([]string, 50_000)
	for i := range paths {
		paths[i] = fmt.Sprintf("src/pkg%d/sub%d/file%d.go", i/500, i/25, i)
	}
	d := digest.Empty()
	for b.Loop() {
		store := mem.New()
		builder := tree.NewBuilder(store)
		for _, p := range paths {
			if err := builder.File(p, d, false); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := builder.Build(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
