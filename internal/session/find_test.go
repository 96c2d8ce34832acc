package session

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	mainFile    = "package main\n\nfunc main() {}\n"
	libraryFile = "// Package pipeline is a library.\npackage pipeline\n"
	generator   = "//go:build ignore\n\npackage main\n"
)

func TestFind(t *testing.T) {
	for _, tt := range []struct {
		name     string
		files    []string // with what is in them after a colon
		from     string   // a folder of the repository
		file     string
		language Language
		path     string
		root     string
		err      string
	}{
		{name: "a file", files: []string{"pipeline.py"}, language: Python, path: "pipeline.py", root: "."},
		{name: "a Python package", files: []string{"pipeline/__init__.py"}, language: Python, path: "pipeline", root: "."},
		{name: "a Go program", files: []string{"pipeline/main.go:" + mainFile}, language: Go, path: "pipeline", root: "."},
		{name: "one above", files: []string{"pipeline.py", "a/b/c"}, from: "a/b", language: Python, path: "pipeline.py", root: "."},
		{name: "the nearest", files: []string{"pipeline.py", "a/pipeline.py"}, from: "a", language: Python, path: "a/pipeline.py", root: "a"},
		{name: "none above the top of the repository", files: []string{"pipeline.py", "sub/.git", "sub/a/x"}, from: "sub/a", err: "there is no pipeline in"},
		{name: "a folder that is called pipeline.py", files: []string{"pipeline.py/x"}, err: "there is no pipeline in"},
		{name: "two", files: []string{"pipeline.py", "pipeline/__init__.py"}, err: "has two pipelines, pipeline.py and the folder pipeline"},
		{name: "a library called pipeline", files: []string{"pipeline/a.go:" + libraryFile, "pipeline/gen.go:" + generator}, err: "there is no pipeline in"},
		{name: "a library called pipeline beside a file", files: []string{"pipeline.py", "pipeline/a.go:" + libraryFile}, language: Python, path: "pipeline.py", root: "."},
		{name: "tests alone", files: []string{"pipeline/a_test.go:" + mainFile}, err: "there is no pipeline in"},
		{name: "a program with a build constraint", files: []string{"pipeline/a.go://go:build linux\n\n" + mainFile}, language: Go, path: "pipeline", root: "."},
		{name: "a file that is no Go", files: []string{"pipeline/a.go:hello"}, err: "there is no pipeline in"},

		{name: "a named file", files: []string{"ci/build.py", "pipeline.py"}, file: "ci/build.py", language: Python, path: "ci/build.py", root: "ci"},
		{name: "a named file, from below", files: []string{"ci/build.py", "a/x"}, from: "a", file: "../ci/build.py", language: Python, path: "ci/build.py", root: "ci"},
		{name: "a named Go file", files: []string{"ci/build/main.go:" + mainFile}, file: "ci/build/main.go", language: Go, path: "ci/build", root: "ci"},
		{name: "a named Go package", files: []string{"ci/build/main.go:" + mainFile}, file: "ci/build/", language: Go, path: "ci/build", root: "ci"},
		{name: "a named Python package", files: []string{"ci/__init__.py"}, file: "ci", language: Python, path: "ci", root: "."},
		{name: "a named folder with a pipeline", files: []string{"a/pipeline.py"}, file: "a", language: Python, path: "a/pipeline.py", root: "a"},
		{name: "a named folder with two", files: []string{"a/pipeline.py", "a/pipeline/__init__.py"}, file: "a", err: "has two pipelines"},
		{name: "a named folder with none", files: []string{"a/x"}, file: "a", err: "there is no pipeline in a"},
		{name: "a named file that is not there", file: "none.py", err: "the pipeline none.py cannot be read: no such file or directory"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPlace(t, nil)
			for _, f := range tt.files {
				name, text, _ := strings.Cut(f, ":")
				p.write(name, text)
			}
			got, err := Find(p.path(tt.from), tt.file)
			if tt.err != "" {
				var wrong *Error
				if !errors.As(err, &wrong) || !strings.Contains(wrong.Error(), tt.err) || wrong.Hint == "" {
					t.Fatalf("Find = %+v, %v, want %q and a hint", got, err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := Program{Language: tt.language, Path: p.path(tt.path), Root: p.path(tt.root), Repository: p.dir}
			if got != want {
				t.Errorf("Find = %+v, want %+v", got, want)
			}
			if got.Name() != tt.path {
				t.Errorf("its name is %s, want %s", got.Name(), tt.path)
			}
		})
	}
}

func TestFindGoesThroughLinkedFoldersAndStopsAtALinkedProgram(t *testing.T) {
	p := newPlace(t, map[string]string{"real/pipeline.py": "", "shared/ci.py": ""})
	for link, target := range map[string]string{"linked": "real", "app/pipeline.py": "../shared/ci.py"} {
		if err := os.MkdirAll(filepath.Dir(p.path(link)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, p.path(link)); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := Find(p.path("linked"), ""); err != nil || got.Path != p.path("real/pipeline.py") {
		t.Errorf("through a linked folder: %+v, %v", got, err)
	}
	found, err := Find(p.path("app"), "")
	if err != nil || found.Root != p.path("app") {
		t.Errorf("a linked program: %+v, %v", found, err)
	}
	if named, err := Find(p.dir, "app/pipeline.py"); err != nil || named != found {
		t.Errorf("a linked program that is named is %+v, %v, one that is found %+v", named, err, found)
	}
}

func TestProgramOutsideOfARepositoryHasItsRootForOne(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "ci.py"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := Find(dir, "ci.py"); err != nil || got.Repository != dir || got.Name() != "ci.py" {
		t.Errorf("Find = %+v, %v", got, err)
	}
}
