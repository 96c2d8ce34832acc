package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/config"
	"github.com/towpath/towpath/internal/engine"
	"github.com/towpath/towpath/internal/executor"
	"github.com/towpath/towpath/internal/session"
	"github.com/towpath/towpath/internal/ui"
	"github.com/towpath/towpath/internal/ui/report"
)

func (a *App) doctorCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Check whether pipelines can be run here, and what is missing",
		Long: `Check this machine and the pipeline in this folder: how far steps are isolated, which limits hold,
the interpreter or compiler, git, the folders of tow, and whether the program can be loaded. What is
not as it should be is said with the reason and the remedy.

Exit codes: 0 when a pipeline can be run here, also with warnings, 1 when not.`,
		Example: "  tow doctor\n  tow doctor --json",
		Args:    args(0, 0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			found := a.doctor(c.Context())
			if err := c.Context().Err(); err != nil {
				return context.Cause(c.Context())
			}
			wrong := findingsOf(found, findingError) > 0
			if asJSON {
				if err := printJSON(a.Stdout, map[string]any{"ok": !wrong, "checks": found}); err != nil {
					return err
				}
			} else {
				a.printFindings(found)
			}
			if wrong {
				return &exitError{engine.ExitFailed}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// The states of a finding.
const (
	findingOK      = "ok"
	findingWarning = "warning"
	findingError   = "error"
)

// finding is what came out of one check.
type finding struct {
	Check  string `json:"check"`
	Status string `json:"status"`
	// Text says what is there, or what is not and why.
	Text   string `json:"text"`
	Remedy string `json:"remedy,omitempty"`
}

func findingsOf(all []finding, status string) int {
	n := 0
	for _, f := range all {
		if f.Status == status {
			n++
		}
	}
	return n
}

// failed is the finding of an error.
func failed(check string, err error) finding {
	return finding{check, findingError, err.Error(), hint(err)}
}

// doctor makes all checks. Those that make no sense after what another one has found are left out.
func (a *App) doctor(ctx context.Context) []finding {
	p, missing := session.Find(a.Dir, a.file)
	if missing != nil {
		p = session.Program{Path: a.Dir, Root: a.Dir, Repository: a.Dir}
	}
	settings, err := a.settings(p.Root, p.Repository)
	if err != nil {
		return []finding{failed("settings", err)}
	}
	out := []finding{
		checkFolder("cache folder", settings.CacheDir, "cache_dir"),
		checkFolder("state folder", settings.StateDir, "state_dir"),
		checkGit(ctx, p),
	}
	if findingsOf(out, findingError) > 0 {
		return out
	}
	stores, err := a.Open(settings, p)
	if err != nil {
		return append(out, failed("stores", err))
	}
	w := a.workplace(settings, p, stores)
	w.session.Output = nil
	out = append(checkSteps(settings, stores.Executor), out...)
	if p.Language != session.Go {
		out = append(out, a.checkPython(ctx, w, missing == nil))
	} else {
		out = append(out, checkGo(ctx, p))
	}
	if missing != nil {
		f := failed("program", missing)
		if a.file == "" && strings.HasPrefix(f.Text, "there is no pipeline") {
			f.Status = findingWarning // the machine may be all right
		}
		out = append(out, f)
	} else if findingsOf(out, findingError) == 0 {
		out = append(out, checkProgram(ctx, w))
	}
	if err := stores.Close(context.WithoutCancel(ctx)); err != nil {
		out = append(out, failed("stores", err))
	}
	return out
}

// checkSteps tells how far steps are isolated, and which limits hold.
func checkSteps(s config.Settings, e executor.Executor) []finding {
	isolation := finding{"isolation", findingOK, "steps run in a sandbox and see only what they declare", ""}
	limits := finding{"limits", findingOK, "steps are held to the CPUs, the memory and the processes that they may have", ""}
	weak := e.Isolation() != config.IsolationSandbox
	if weak {
		isolation = finding{"isolation", findingWarning, "steps run in a workspace of their own, and nothing keeps them from the rest of the machine", ""}
	}
	var all []finding
	for _, gap := range e.Gaps() {
		f := finding{limits.Check, findingWarning, gap.What, gap.Remedy}
		if gap.Weak {
			f.Check = isolation.Check
		}
		if gap.Why != "" {
			f.Text += ", because " + gap.Why
		}
		all = append(all, f)
	}
	named := func(check string) bool {
		for _, f := range all {
			if f.Check == check {
				return true
			}
		}
		return false
	}
	if !named(limits.Check) && !weak {
		all = append([]finding{limits}, all...)
	}
	if !named(isolation.Check) {
		all = append([]finding{isolation}, all...)
	}
	if weak && s.Isolation == config.IsolationSandbox {
		for i := range all {
			if all[i].Check == isolation.Check {
				all[i].Status = findingError
				all[i].Text += "; the setting isolation insists on the sandbox"
			}
		}
	}
	return all
}

// disk is the file system of a folder.
type disk struct {
	// free is negative where it is not known.
	free int64
	// kind is its name, empty where that is not known.
	kind string
	// remote tells that it may be another machine's, and fleeting that a restart empties it.
	remote, fleeting bool
}

const (
	tooLittle = 100 << 20 // bytes with which nothing can be run
	little    = 2 << 30   // bytes with which a large artifact may not fit
)

// checkFolder tells whether a folder of tow can be written to, and what it is on.
func checkFolder(check, folder, setting string) finding {
	remedy := fmt.Sprintf("make it writable, or set `%s` to another folder", setting)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return finding{check, findingError, fmt.Sprintf("%s cannot be made: %v", folder, err), remedy}
	}
	f, err := os.CreateTemp(folder, ".doctor-")
	if err != nil && cas.IsReadOnly(err) && isCache(folder) {
		return finding{check, findingWarning, folder + " may only be read: results in it are served, and a stage that has to run fails", remedy}
	}
	if err != nil {
		return finding{check, findingError, fmt.Sprintf("%s cannot be written to: %v", folder, err), remedy}
	}
	_, err = f.Write([]byte("x"))
	if err := errors.Join(err, f.Close(), os.Remove(f.Name())); err != nil {
		return finding{check, findingError, fmt.Sprintf("%s cannot be written to: %v", folder, err), remedy}
	}
	d, err := statDisk(folder)
	if err != nil {
		return finding{check, findingWarning, fmt.Sprintf("%s can be written to, but not how much: %v", folder, err), ""}
	}
	return d.judge(finding{Check: check, Status: findingOK, Text: folder}, setting)
}

// isCache tells whether a folder is a cache that somebody has filled.
func isCache(folder string) bool {
	_, err := os.Stat(filepath.Join(folder, "results"))
	return err == nil
}

// judge adds to a finding what the file system means for tow.
func (d disk) judge(f finding, setting string) finding {
	if d.free >= 0 {
		f.Text += ", " + size(d.free) + " free"
	}
	if d.kind != "" {
		f.Text += " on " + d.kind
	}
	elsewhere := fmt.Sprintf("set `%s` to a folder on a local disk", setting)
	switch {
	case d.free >= 0 && d.free < tooLittle:
		f.Status, f.Remedy = findingError, fmt.Sprintf("free some space (`tow cache` knows how), or set `%s` to a folder on another disk", setting)
	case d.remote:
		f.Status, f.Remedy = findingWarning, elsewhere
		f.Text += ", which is not a local disk: every file costs more, and locks may not hold"
	case d.fleeting:
		f.Status, f.Remedy = findingWarning, elsewhere
		f.Text += ", which takes memory and is empty after a restart"
	case d.free >= 0 && d.free < little:
		f.Status, f.Remedy = findingWarning, fmt.Sprintf("free some space, or set `%s` to a folder on another disk", setting)
	}
	return f
}

// checkGit tells of git. tow reads repositories itself, so that it is no more than a warning where git is not there.
func checkGit(ctx context.Context, p session.Program) finding {
	const check = "git"
	version, err := output(ctx, p.Root, "git", "--version")
	if errors.Is(err, exec.ErrNotFound) {
		return finding{check, findingWarning, "git is not in PATH; tow does without it, what calls it does not", "install git"}
	}
	if err != nil {
		return finding{check, findingWarning, fmt.Sprintf("git does not work: %v", err), "install git anew"}
	}
	text := strings.TrimPrefix(version, "git version ")
	if _, err := os.Lstat(filepath.Join(p.Repository, ".git")); err != nil {
		return finding{check, findingOK, text + "; " + p.Repository + " is in no repository", ""}
	}
	return finding{check, findingOK, text + ", repository " + p.Repository, ""}
}

// checkGo tells of the compiler of a Go pipeline.
func checkGo(ctx context.Context, p session.Program) finding {
	const check = "go"
	version, err := output(ctx, p.Root, "go", "version")
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return finding{check, findingError, "go is not in PATH, and the pipeline is written in Go", "install Go, https://go.dev/doc/install"}
	case err != nil:
		return finding{check, findingError, fmt.Sprintf("go does not work: %v", err), "`go version` in the folder of the pipeline tells more"}
	}
	return finding{check, findingOK, strings.TrimPrefix(version, "go version "), ""}
}

// output runs a program and returns the first line that it prints.
func output(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.WaitDelay = time.Second // what it started may hold its output open
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if line, _, _ := strings.Cut(strings.TrimSpace(stderr.String()), "\n"); err != nil && line != "" {
		err = fmt.Errorf("%w: %s", err, line)
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return line, err
}

// slowShim is how long a version manager may take to say which interpreter is meant before it is worth a warning.
const slowShim = time.Second

// checkPython tells of the interpreter. Only a Python pipeline needs one.
func (a *App) checkPython(ctx context.Context, w *workplace, needed bool) finding {
	const check = "python"
	began := a.Now()
	i, err := w.session.Interpreter(ctx, w.program)
	took := a.Now().Sub(began)
	if err != nil {
		f := failed(check, err)
		if !needed {
			f.Status = findingWarning
		}
		return f
	}
	f := finding{check, findingOK, fmt.Sprintf("%s, %s", i.Version, i.Executable), ""}
	if !isScript(i.Found) {
		return f
	}
	f.Text += fmt.Sprintf("; %s is the shim of a version manager and took %s, and tow asks it only once", i.Found, ui.Duration(took))
	if took > slowShim {
		f.Status, f.Remedy = findingWarning, fmt.Sprintf("set `python` to %s", i.Executable)
	}
	return f
}

// isScript tells whether a file is a script, as shims of version managers are.
func isScript(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	b := make([]byte, 2)
	n, _ := f.Read(b)
	return string(b[:n]) == "#!"
}

// checkProgram loads the program.
func checkProgram(ctx context.Context, w *workplace) finding {
	const check = "program"
	s, err := session.Open(ctx, w.program, w.session)
	if err != nil {
		f := failed(check, err)
		if f.Remedy == "" {
			f.Remedy = "`tow check` tells more"
		}
		return f
	}
	defer s.Close()
	if _, err := s.Graph.Select(w.settings.Targets); err != nil {
		return failed("settings", wrongTargets(w.settings, err))
	}
	return finding{check, findingOK, fmt.Sprintf("%s, %s, %s", w.program.Name(), count(len(s.Graph.Stages), "stage"), count(len(s.Graph.Params), "parameter")), ""}
}

// printFindings prints a line for each, with the remedy below it where there is one.
func (a *App) printFindings(all []finding) {
	t := report.NewTheme(ui.ColorFor(a.Stdout, a.Lookup), false)
	paint := map[string]func(string) string{findingOK: t.Good, findingWarning: t.Warn, findingError: t.Bad}
	width := 0
	for _, f := range all {
		width = max(width, len(f.Check))
	}
	for _, f := range all {
		text, _, _ := strings.Cut(ui.Clean(f.Text), "\n")
		fmt.Fprintf(a.Stdout, "%s  %s  %s\n", paint[f.Status](report.Pad(f.Status, len(findingWarning))), report.Pad(f.Check, width), text)
		if f.Remedy != "" {
			fmt.Fprintf(a.Stdout, "%s%s %s\n", strings.Repeat(" ", len(findingWarning)+width+4), t.Warn("hint:"), ui.Clean(f.Remedy))
		}
	}
	last := t.Good("ok:") + " pipelines can be run here"
	if n := findingsOf(all, findingError); n > 0 {
		last = t.Bad("failed:") + " pipelines cannot be run here, " + count(n, "error")
	}
	if n := findingsOf(all, findingWarning); n > 0 {
		last += ", " + count(n, "warning")
	}
	fmt.Fprintf(a.Stdout, "\n%s\n", last)
}
