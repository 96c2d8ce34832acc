package conformance_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	quoted = regexp.MustCompile("`[^`]+`")
	member = regexp.MustCompile(`[^.(]+$`)
)

// TestNamesOfTheSDKs holds docs/sdk-names.md against what the SDKs export: every
// name is in it once, no other is, and names in one row are the same unless the row
// says why they are not.
func TestNamesOfTheSDKs(t *testing.T) {
	text, err := os.ReadFile("../docs/sdk-names.md")
	if err != nil {
		t.Fatal(err)
	}
	var python, golang []string
	for line := range strings.Lines(string(text)) {
		// A type such as `T | None` has the mark that separates the cells.
		cells := strings.SplitN(strings.Trim(strings.TrimSpace(line), "|"), "|", 3)
		if !strings.HasPrefix(line, "|") || len(cells) != 3 || strings.HasPrefix(cells[0], "---") || cells[0] == " Python " {
			continue
		}
		here, there := quotedNames(cells[0]), quotedNames(cells[1])
		python, golang = append(python, here...), append(golang, there...)
		if strings.TrimSpace(cells[2]) == "" && !slices.EqualFunc(here, there, sameName) {
			t.Errorf("these names differ, and nothing says why: %s", strings.TrimSpace(line))
		}
	}
	compare(t, "Python", python, exportedByPython(t))
	compare(t, "Go", golang, append(exportedByGo(t, "..", ""), exportedByGo(t, "../towpathtest", "towpathtest.")...))
}

func quotedNames(cell string) []string {
	found := quoted.FindAllString(cell, -1)
	for i, name := range found {
		found[i] = strings.Trim(name, "`")
	}
	return found
}

// sameName compares the last parts of two names: `run(exit_code=)` and
// `Step.ExitCode` are the same.
func sameName(python, golang string) bool {
	python = member.FindString(strings.TrimSuffix(python, "=)"))
	return strings.EqualFold(strings.ReplaceAll(python, "_", ""), member.FindString(golang))
}

func compare(t *testing.T, language string, listed, exported []string) {
	t.Helper()
	if len(exported) < 50 {
		t.Fatalf("%s exports no more than %q", language, exported)
	}
	slices.Sort(listed)
	for i, name := range listed {
		if i > 0 && listed[i-1] == name {
			t.Errorf("%s: %s is in docs/sdk-names.md twice", language, name)
		}
		if !slices.Contains(exported, name) {
			t.Errorf("%s: docs/sdk-names.md has %s, which the SDK has not", language, name)
		}
	}
	for _, name := range exported {
		if !slices.Contains(listed, name) {
			t.Errorf("%s: the SDK has %s, which docs/sdk-names.md has not", language, name)
		}
	}
}

func exportedByPython(t *testing.T) []string {
	t.Helper()
	sdk, err := filepath.Abs("../sdk/python/src")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(python(t), "names_of_python.py")
	cmd.Env = append(os.Environ(), "PYTHONPATH="+sdk, "PYTHONDONTWRITEBYTECODE=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(out))
}

func exportedByGo(t *testing.T, folder, prefix string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]bool)
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			for _, name := range declared(decl) {
				found[prefix+name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// declared returns the exported names of a declaration, and those of its members.
func declared(decl ast.Decl) []string {
	switch decl := decl.(type) {
	case *ast.FuncDecl:
		name := decl.Name.Name
		if decl.Recv == nil {
			return exported("", decl.Name)
		}
		if of := receiver(decl.Recv.List[0].Type); ast.IsExported(of) && !slices.Contains([]string{"Error", "Unwrap", "Is", "String"}, name) {
			return exported(of+".", decl.Name)
		}
	case *ast.GenDecl:
		var out []string
		for _, spec := range decl.Specs {
			switch spec := spec.(type) {
			case *ast.ValueSpec:
				out = append(out, exported("", spec.Names...)...)
			case *ast.TypeSpec:
				out = append(out, exported("", spec.Name)...)
				if fields, ok := spec.Type.(*ast.StructType); ok && spec.Name.IsExported() {
					for _, field := range fields.Fields.List {
						out = append(out, exported(spec.Name.Name+".", field.Names...)...)
					}
				}
			}
		}
		return out
	}
	return nil
}

func exported(prefix string, names ...*ast.Ident) []string {
	var out []string
	for _, name := range names {
		if name.IsExported() {
			out = append(out, prefix+name.Name)
		}
	}
	return out
}

func receiver(of ast.Expr) string {
	switch of := of.(type) {
	case *ast.StarExpr:
		return receiver(of.X)
	case *ast.IndexExpr:
		return receiver(of.X)
	case *ast.Ident:
		return of.Name
	}
	return fmt.Sprint(of)
}
