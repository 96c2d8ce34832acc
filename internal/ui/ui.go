// Package ui shows a run to whoever asked for it: events in, bytes out. It chooses one of its rooms, plain for pipes, tty for terminals and jsonl
// for programs, by what the user asked for and by where the output goes.
//
// The rooms for people say the same things in the same words, which they have from report.
package ui

import (
	"errors"
	"os"
	"strings"
	"time"

	"charm.land/lipgloss/v2"
	"golang.org/x/term"

	"github.com/towpath/towpath/internal/event"
	"github.com/towpath/towpath/internal/ui/jsonl"
	"github.com/towpath/towpath/internal/ui/plain"
	"github.com/towpath/towpath/internal/ui/report"
	"github.com/towpath/towpath/internal/ui/tty"
)

// UI shows one run. Emit must not be called after Close, which writes what is left, gives the terminal back and returns the first error that
// writing met. It has to be called however the run ends.
type UI interface {
	event.Sink
	Close() error
}

// Options say what the user asked for and where the output goes.
type Options struct {
	// JSON, Plain and ForceTTY ask for a certain UI. At most one may be set; without one it is chosen by the environment.
	JSON, Plain, ForceTTY bool
	// Verbose and Quiet ask for more and for less. At most one may be set.
	Verbose, Quiet bool
	// Command is how tow was called, for hints: `tow --file X`; without it `tow`.
	Command string
	// LookupEnv is os.LookupEnv or stands for it.
	LookupEnv func(string) (string, bool)
	// Stdout is where the output goes.
	Stdout *os.File
}

// Choose returns the UI that suits the options. The error is one of usage.
func Choose(o Options) (UI, error) {
	terminal := term.IsTerminal(int(o.Stdout.Fd()))
	kind, err := o.kind(terminal)
	if err != nil {
		return nil, err
	}
	if kind == kindJSON {
		return jsonl.New(o.Stdout), nil
	}
	color := Color(o.LookupEnv, terminal || o.ForceTTY)
	if terminal && (color || kind == kindTTY) {
		lipgloss.EnableLegacyWindowsANSI(o.Stdout)
	}
	if kind == kindPlain {
		return plain.New(o.Stdout, plain.Options{Color: color, Verbose: o.Verbose, Quiet: o.Quiet, Command: o.Command}), nil
	}
	size := func() (width, height int) {
		width, height, err := term.GetSize(int(o.Stdout.Fd()))
		if err != nil {
			return 0, 0
		}
		return width, height
	}
	return tty.New(o.Stdout, tty.Options{
		Width:   func() int { w, _ := size(); return w },
		Height:  func() int { _, h := size(); return h },
		Color:   color,
		ASCII:   ascii(o.LookupEnv),
		Verbose: o.Verbose,
		Quiet:   o.Quiet,
		Command: o.Command,
	}), nil
}

type kind int

const (
	kindPlain kind = iota
	kindTTY
	kindJSON
)

func (o Options) kind(terminal bool) (kind, error) {
	asked := 0
	for _, set := range []bool{o.JSON, o.Plain, o.ForceTTY} {
		if set {
			asked++
		}
	}
	switch {
	case asked > 1:
		return 0, errors.New("only one of JSON, plain and terminal output can be asked for")
	case o.Verbose && o.Quiet:
		return 0, errors.New("verbose and quiet exclude each other")
	case o.JSON:
		return kindJSON, nil
	case o.ForceTTY:
		return kindTTY, nil
	case o.Plain, !terminal, dumb(o.LookupEnv), truth(o.LookupEnv, "CI"):
		return kindPlain, nil
	}
	return kindTTY, nil
}

// Color decides whether to use colours on a stream that is a terminal or is not. NO_COLOR forbids them, FORCE_COLOR and CLICOLOR_FORCE demand
// them; otherwise it takes a terminal that is not dumb.
func Color(lookup func(string) (string, bool), terminal bool) bool {
	if v, _ := lookup("NO_COLOR"); v != "" {
		return false
	}
	if v, _ := lookup("FORCE_COLOR"); v != "" {
		return truth(lookup, "FORCE_COLOR")
	}
	if truth(lookup, "CLICOLOR_FORCE") {
		return true
	}
	if v, ok := lookup("CLICOLOR"); ok && v == "0" {
		return false
	}
	return terminal && !dumb(lookup)
}

// ColorFor decides whether to use colours on a file, for commands that show no run.
func ColorFor(f *os.File, lookup func(string) (string, bool)) bool {
	terminal := term.IsTerminal(int(f.Fd()))
	color := Color(lookup, terminal)
	if color && terminal {
		lipgloss.EnableLegacyWindowsANSI(f)
	}
	return color
}

// Duration writes a duration as all of Towpath does: `380 ms`, `4.2 s`, `1 m 03 s`.
func Duration(d time.Duration) string { return report.Duration(d) }

// Command writes a command so that it can be pasted into a shell.
func Command(args ...string) string { return report.Command(args) }

// Clean makes text of unknown origin safe to show: it has no control characters except newlines and tabs.
func Clean(s string) string { return report.Clean(s) }

// truth tells whether a variable is set to something that does not mean no.
func truth(lookup func(string) (string, bool), name string) bool {
	switch v, _ := lookup(name); strings.ToLower(v) {
	case "", "0", "false", "no", "off":
		return false
	}
	return true
}

func dumb(lookup func(string) (string, bool)) bool {
	v, _ := lookup("TERM")
	return v == "dumb"
}

// ascii tells whether the terminal is one that is known not to show more than ASCII: the Linux console, or any in a locale that is not UTF-8. A
// locale that is not set says nothing; containers have none.
func ascii(lookup func(string) (string, bool)) bool {
	if v, _ := lookup("TERM"); v == "linux" {
		return true
	}
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v, _ := lookup(name); v != "" {
			v = strings.ToLower(v)
			return !strings.Contains(v, "utf-8") && !strings.Contains(v, "utf8")
		}
	}
	return false
}
