package cli

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"go/version"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
)

//go:embed templates
var templates embed.FS

func (a *App) initCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "init python|go",
		Short: "Start a pipeline in this folder",
		Long: `Write a small pipeline that runs as it is, to be changed. A Go pipeline gets a go.mod where there is none, and a go.work
(not to be committed) that lets editors find the SDK inside this tow. Nothing that exists is overwritten.`,
		Example:   "  tow init python\n  tow init go",
		Args:      args(1, 1, "a language: python or go"),
		ValidArgs: []string{"python", "go"},
		RunE: func(_ *cobra.Command, words []string) error {
			switch words[0] {
			case "python":
				return a.initPython()
			case "go":
				return a.initGo()
			}
			return &usageError{text: fmt.Sprintf("there is no SDK for %q", words[0]), hint: "there are python and go"}
		},
	}
}

// write makes a file that must not be there yet.
func (a *App) write(name string, content []byte) error {
	path := filepath.Join(a.Dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return &usageError{text: name + " is there already", hint: "`tow check` checks it; `tow init` overwrites nothing"}
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	_, err = f.Write(content)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	fmt.Fprintf(a.Stdout, "wrote %s\n", name)
	return nil
}

func (a *App) exists(name string) bool {
	_, err := os.Lstat(filepath.Join(a.Dir, filepath.FromSlash(name)))
	return err == nil
}

// refuseSecond keeps a folder from getting two pipelines, which tow would then refuse to choose from.
func (a *App) refuseSecond(names ...string) error {
	for _, name := range names {
		if a.exists(name) {
			return &usageError{text: "this folder has a pipeline already: " + name, hint: "`tow check` checks it; `tow init` overwrites nothing"}
		}
	}
	return nil
}

func (a *App) initPython() error {
	if err := a.refuseSecond("pipeline.py", "pipeline"); err != nil {
		return err
	}
	text, err := templates.ReadFile("templates/pipeline.py")
	if err != nil {
		return err
	}
	if err := a.write("pipeline.py", text); err != nil {
		return err
	}
	fmt.Fprint(a.Stdout, `
Run it:    tow run
Check it:  MYPYPATH=$(tow sdk path python) mypy --strict pipeline.py
`)
	return nil
}

func (a *App) initGo() error {
	if err := a.refuseSecond("pipeline.py", "pipeline"); err != nil {
		return err
	}
	sdk, err := a.sdkPath("go")
	if err != nil {
		return err
	}
	text, err := templates.ReadFile("templates/main.go.txt")
	if err != nil {
		return err
	}
	if err := a.write("pipeline/main.go", text); err != nil {
		return err
	}
	if !a.exists("go.mod") {
		mod, err := templates.ReadFile("templates/go.mod.txt")
		if err != nil {
			return err
		}
		if err := a.write("go.mod", bytes.ReplaceAll(mod, []byte("MODULE"), []byte(moduleName(a.Dir)))); err != nil {
			return err
		}
	}
	if !a.exists("go.work") {
		if err := a.write("go.work", fmt.Appendf(nil, "// Lets editors find the SDK inside tow. Not to be committed: the path is this machine's.\ngo %s\n\nuse .\n\nuse %q\n", a.goVersion(), sdk)); err != nil {
			return err
		}
		if err := a.ignore("go.work", "go.work.sum"); err != nil {
			return err
		}
	}
	fmt.Fprint(a.Stdout, `
Run it:  tow run
`)
	return nil
}

// goVersion is the version of Go for go.work, which must not be below that of any module in it: the SDK's, or that of go.mod if it is later.
func (a *App) goVersion() string {
	const sdk = "1.26"
	b, err := os.ReadFile(filepath.Join(a.Dir, "go.mod"))
	if err != nil {
		return sdk
	}
	m := regexp.MustCompile(`(?m)^go (\d+(?:\.\d+)*)`).FindSubmatch(b)
	if m == nil || version.Compare("go"+string(m[1]), "go"+sdk) < 0 {
		return sdk
	}
	return string(m[1])
}

// moduleName makes a module path of the folder's name.
func moduleName(dir string) string {
	name := strings.Trim(regexp.MustCompile(`[^a-z0-9._-]+`).ReplaceAllString(strings.ToLower(filepath.Base(dir)), "-"), "-.")
	if name == "" {
		return "example.com/pipeline"
	}
	return "example.com/" + name
}

// ignore adds lines to .gitignore that it does not have.
func (a *App) ignore(lines ...string) error {
	path := filepath.Join(a.Dir, ".gitignore")
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read .gitignore: %w", err)
	}
	have := map[string]bool{}
	for l := range strings.SplitSeq(string(b), "\n") {
		have[strings.TrimPrefix(strings.TrimSpace(l), "/")] = true
	}
	out := string(b)
	if out != "" && !strings.HasSuffix(out, "\n") {
		out += "\n"
	}
	for _, l := range lines {
		if !have[l] {
			out += "/" + l + "\n"
		}
	}
	if out == string(b) {
		return nil
	}
	if err := os.WriteFile(path, []byte(out), 0o644); err != nil {
		return fmt.Errorf("write .gitignore: %w", err)
	}
	fmt.Fprintln(a.Stdout, "added go.work to .gitignore")
	return nil
}
