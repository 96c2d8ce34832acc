package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// Every package says what it is for, what it decides, and what it must not know. Modules of their own, as examples are, are left out.
func TestEveryPackageHasAComment(t *testing.T) {
	root := filepath.Join("..", "..")
	has := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if path != root && (strings.HasPrefix(name, ".") || name == "testdata" || name == "build" || name == "examples" || name == "templates") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		dir := filepath.ToSlash(filepath.Dir(path))
		has[dir] = has[dir] || f.Doc != nil && strings.TrimSpace(f.Doc.Text()) != ""
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(has) < 20 {
		t.Fatalf("found %d packages only", len(has))
	}
	for dir, commented := range has {
		if !commented {
			t.Errorf("no file of %s has a package comment", strings.TrimPrefix(dir, "../../"))
		}
	}
}
