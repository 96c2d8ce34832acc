// Package session finds the pipeline program, asks it for its plan, and hosts the process that its functions run in.
//
// It knows the languages of programs: how an interpreter is found, how a Go program is built, what a plan was made from. It remembers every
// plan together with that, as ninja remembers depfiles, so that a program that has not changed is not asked again and nothing is
// started for it. It speaks the protocol but does not answer it: what a running stage asks for goes to the handler that the engine passes in.
// It must not know caches of results, executors or terminals.
package session

import (
	"errors"
	"fmt"
	"go/scanner"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Language is what a pipeline program is written in.
type Language string

// The languages of pipeline programs.
const (
	Python Language = "python"
	Go     Language = "go"
)

// Program is a pipeline program that was found. All paths are absolute; the folder that holds the program is named without symbolic links.
type Program struct {
	Language Language
	// Path is the Python file, the folder of the Python package, or the folder of the Go package.
	Path string
	// Root is the folder that holds the program; globs are relative to it.
	Root string
	// Repository is the top of the repository around it, or Root where there is none.
	Repository string
}

// Name is the program's path relative to the top of the repository, for people.
func (p Program) Name() string {
	rel, err := filepath.Rel(p.Repository, p.Path)
	if err != nil {
		return p.Path
	}
	return filepath.ToSlash(rel)
}

// Error is a program that cannot be found, loaded or described. It is the user's to mend: exit code 2.
type Error struct {
	Text string
	Hint string
	// File and Line are where; File may be empty.
	File string
	Line int
	// Trace is what the language had to say; it may be empty.
	Trace string
}

func (e *Error) Error() string {
	if e.File != "" {
		return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Text)
	}
	return e.Text
}

// Find returns the program that file names, or, when file is empty, the one in dir or the nearest folder above it up to the top of the
// repository: `pipeline.py`, or a folder `pipeline` with a Python package or a Go main package. A relative file is one of dir.
func Find(dir, file string) (Program, error) {
	if file != "" {
		return named(dir, file)
	}
	start, err := real(dir)
	if err != nil {
		return Program{}, err
	}
	for at := start; ; at = filepath.Dir(at) {
		p, err := in(at)
		if err != nil || p.Path != "" {
			return p, err
		}
		if exists(filepath.Join(at, ".git")) || filepath.Dir(at) == at {
			return Program{}, &Error{
				Text: fmt.Sprintf("there is no pipeline in %s or above it", start),
				Hint: "`tow init python` or `tow init go` makes one; `--file` names one elsewhere",
			}
		}
	}
}

func named(dir, file string) (Program, error) {
	path := filepath.Clean(file)
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	info, err := os.Stat(path)
	if err == nil && info.IsDir() {
		path, err = real(path)
	} else if err == nil {
		// The folder of a link counts, not that of its target: globs are relative to it, as when the link is found.
		var folder string
		folder, err = real(filepath.Dir(path))
		path = filepath.Join(folder, filepath.Base(path))
	}
	if err != nil {
		return Program{}, &Error{Text: fmt.Sprintf("the pipeline %s cannot be read: %v", file, reason(err)), Hint: "`--file` takes a Python file, or the folder of a package"}
	}
	if !info.IsDir() {
		if filepath.Ext(path) == ".go" {
			return at(Go, filepath.Dir(path)), nil
		}
		return at(Python, path), nil
	}
	if p, err := in(path); err != nil || p.Path != "" {
		return p, err
	}
	if language := packageIn(path); language != "" {
		return at(language, path), nil
	}
	return Program{}, &Error{Text: fmt.Sprintf("there is no pipeline in %s", file), Hint: "`--file` takes a Python file, or the folder of a package"}
}

// in returns the program in a folder; its Path is empty when there is none.
func in(folder string) (Program, error) {
	var found []Program
	if info, err := os.Stat(filepath.Join(folder, "pipeline.py")); err == nil && info.Mode().IsRegular() {
		found = append(found, at(Python, filepath.Join(folder, "pipeline.py")))
	}
	if language := packageIn(filepath.Join(folder, "pipeline")); language == Python || language == Go && isMain(filepath.Join(folder, "pipeline")) {
		found = append(found, at(language, filepath.Join(folder, "pipeline")))
	}
	switch len(found) {
	case 0:
		return Program{}, nil
	case 1:
		return found[0], nil
	}
	return Program{}, &Error{
		Text: fmt.Sprintf("%s has two pipelines, pipeline.py and the folder pipeline", folder),
		Hint: "name one with --file, or keep only one",
	}
}

// packageIn tells which language the package in a folder is of; it is empty when there is none.
func packageIn(folder string) Language {
	if exists(filepath.Join(folder, "__init__.py")) {
		return Python
	}
	list, err := os.ReadDir(folder)
	if err != nil {
		return ""
	}
	for _, e := range list {
		if strings.HasSuffix(e.Name(), ".go") && !strings.HasSuffix(e.Name(), "_test.go") {
			return Go
		}
	}
	return ""
}

// isMain tells whether the Go package in a folder is a program. A library may well be called pipeline, and may hold a generator that is not
// part of it: files with constraints count only where there are no others.
func isMain(folder string) bool {
	list, err := os.ReadDir(folder)
	if err != nil {
		return false
	}
	constrained := false
	for _, e := range list {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		name, constraint := packageClause(filepath.Join(folder, e.Name()))
		switch {
		case name == "":
		case constraint:
			constrained = constrained || name == "main"
		default:
			return name == "main"
		}
	}
	return constrained
}

// packageClause returns the name of the package that a Go file says it is of, and whether the file has a build constraint.
func packageClause(path string) (name string, constraint bool) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", false
	}
	var s scanner.Scanner
	set := token.NewFileSet()
	s.Init(set.AddFile(path, -1, len(b)), b, nil, scanner.ScanComments)
	for {
		_, tok, text := s.Scan()
		switch tok {
		case token.COMMENT:
			constraint = constraint || strings.HasPrefix(text, "//go:build ")
		case token.PACKAGE:
			_, _, name = s.Scan()
			return name, constraint
		default:
			return "", constraint
		}
	}
}

// at describes the program at a path.
func at(language Language, path string) Program {
	root := filepath.Dir(path)
	p := Program{Language: language, Path: path, Root: root, Repository: root}
	for top := root; ; top = filepath.Dir(top) {
		if exists(filepath.Join(top, ".git")) {
			p.Repository = top
			return p
		}
		if filepath.Dir(top) == top {
			return p
		}
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// real returns the absolute path without symbolic links.
func real(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(abs)
}

// reason is what went wrong with a path, without the path.
func reason(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}
