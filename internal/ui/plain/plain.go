// Package plain writes a run as lines of text: for pipes, files and CI systems, and for people who want to see all of it.
//
// Every line begins with the stage that it is about. What did not come from Towpath itself stands behind a bar, so that neither a person
// nor a machine that reads commands from logs takes it for something that Towpath said. Steps that run in parallel share the stream by
// whole lines. Each event is one write at most.
package plain

import (
	"bytes"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/towpath/towpath/internal/event"
	"github.com/towpath/towpath/internal/ui/report"
)

const (
	// maxName is where the column of names ends; a longer name moves what is behind it.
	maxName = 28
	// stateWidth is the width of the column of states; `succeeded` and `cancelled` fill it.
	stateWidth = 9
	// reasons is how many reasons of a stage are told without Verbose.
	reasons = 3
)

// Options say what to write.
type Options struct {
	// Color uses colours, and keeps those of steps.
	Color bool
	// Verbose adds commands, their cost, every reason, every cached stage and messages of level debug.
	Verbose bool
	// Quiet leaves only warnings, failures and the summary.
	Quiet bool
	// Command is how tow was called, for hints; without it "tow".
	Command string
}

// UI writes a run as lines of text.
type UI struct {
	w     io.Writer
	opts  Options
	theme *report.Theme
	run   *report.Run
	buf   bytes.Buffer
	name  int // the width of the column of names
	err   error

	program map[string]*report.Lines // by stream

	cached, skipped, cancelled report.Limit
}

// New returns a UI that writes to w.
func New(w io.Writer, opts Options) *UI {
	return &UI{
		w:         w,
		opts:      opts,
		theme:     report.NewTheme(opts.Color, false),
		run:       report.NewRun(opts.Color, opts.Command),
		program:   map[string]*report.Lines{},
		cached:    report.Limit{What: "cached"},
		skipped:   report.Limit{What: "skipped"},
		cancelled: report.Limit{What: "cancelled"},
	}
}

// Emit implements event.Sink.
func (u *UI) Emit(r event.Record) {
	u.run.Apply(r.Event, time.Time{}, u.output)
	if u.opts.Quiet {
		u.quiet(r.Event)
	} else {
		u.tell(r.Event)
	}
	u.write()
}

// Close writes what is left and returns the first error that writing met.
func (u *UI) Close() error {
	u.run.Flush(u.output)
	u.rest()
	u.write()
	return u.err
}

// write writes what was collected. After an error nothing is written any more.
func (u *UI) write() {
	if u.buf.Len() == 0 {
		return
	}
	if u.err == nil {
		_, u.err = u.w.Write(u.buf.Bytes())
	}
	u.buf.Reset()
}

// quiet tells only what has to be told.
func (u *UI) quiet(e event.Event) {
	switch e := e.(type) {
	case event.Warning:
		u.lines(report.Warning(u.theme, e))
	case event.RunFinished:
		u.lines(u.run.End(u.theme))
	}
}

func (u *UI) tell(e event.Event) {
	switch e := e.(type) {
	case event.RunStarted:
		if u.opts.Verbose {
			u.started(e)
		}
	case event.PlanMade:
		u.plan(e)
	case event.SourcesSnapshot:
		if u.opts.Verbose {
			u.line(fmt.Sprintf("sources: %s, %s, %s", report.Count(e.Sources, "source"), report.Count(e.Files, "file"), report.Duration(e.Duration)))
		}
	case event.StageExpanded:
		u.name = u.run.NameWidth(maxName)
		u.state(e.Stage, "expanded", u.theme.Dim, report.Count(len(e.Elements), "stage")+": "+report.List(e.Elements, reasons))
	case event.StageCached:
		u.stageCached(e)
	case event.StageStarted:
		u.stageStarted(e)
	case event.StageFinished:
		u.stageFinished(e)
	case event.StepStarted:
		if u.opts.Verbose {
			u.prefixed(e.Stage, u.theme.Dim("$ "+report.Command(e.Args)))
			if len(e.Reasons) > 0 {
				u.prefixed(e.Stage, u.theme.Dim("because: "+report.Reasons(e.Reasons, 0)))
			}
		}
	case event.StepOutput:
		// The run hands the lines on to output.
	case event.RunRefused:
		// The command says it on standard error.
	case event.StepFinished:
		if u.opts.Verbose {
			u.prefixed(e.Stage, u.theme.Dim(report.StepLine(e)))
		}
	case event.StageLog:
		u.stageLog(e)
	case event.ProgramOutput:
		u.programOutput(e)
	case event.Warning:
		u.lines(report.Warning(u.theme, e))
	case event.RunFinished:
		u.rest()
		u.lines(u.run.End(u.theme))
	}
}

func (u *UI) started(e event.RunStarted) {
	line := "tow " + report.OneLine(e.Version) + ": " + report.OneLine(e.Program)
	if len(e.Targets) > 0 {
		line += ", targets " + report.List(e.Targets, reasons)
	}
	u.line(line + ", " + report.Count(e.Jobs, "job"))
}

func (u *UI) plan(e event.PlanMade) {
	u.name = u.run.NameWidth(maxName)
	line := "plan: " + report.Count(len(e.Stages), "stage")
	if u.run.Program != "" {
		line += " from " + report.OneLine(u.run.Program)
	}
	if e.FromCache {
		line += ", unchanged"
	}
	u.line(line + u.theme.Dim(", "+report.Duration(e.Duration)))
}

func (u *UI) stageCached(e event.StageCached) {
	if !u.opts.Verbose && !u.cached.Show() {
		return
	}
	details := ""
	if e.Saved > 0 {
		details = "saved " + report.Duration(e.Saved)
	}
	if u.opts.Verbose && e.From != "" {
		details = strings.TrimPrefix(details+", from run "+report.OneLine(e.From), ", ")
	}
	u.state(e.Stage, "cached", u.theme.Dim, u.theme.Dim(details))
}

func (u *UI) stageStarted(e event.StageStarted) {
	if rest := u.cached.Rest(); rest != "" {
		u.line(u.theme.Dim(rest))
	}
	limit := reasons
	if u.opts.Verbose {
		limit = 0
	}
	u.state(e.Stage, "running", u.theme.Bold, report.Reasons(e.Reasons, limit))
}

func (u *UI) stageFinished(e event.StageFinished) {
	details, why := report.Duration(e.Duration), report.Details(e)
	paint := u.theme.Good
	switch e.Outcome {
	case event.Cached:
		return // StageCached has told it
	case event.Failed:
		paint = u.theme.Bad
	case event.Skipped, event.Cancelled:
		limit := &u.skipped
		if e.Outcome == event.Cancelled {
			limit = &u.cancelled
		}
		if !u.opts.Verbose && !limit.Show() {
			return
		}
		paint, details = u.theme.Warn, ""
	}
	if why != "" && details != "" {
		details += "   "
	}
	u.state(e.Stage, string(e.Outcome), paint, details+why)
}

func (u *UI) stageLog(e event.StageLog) {
	paint := u.theme.Bold
	switch e.Level {
	case "debug":
		if !u.opts.Verbose {
			return
		}
		paint = u.theme.Dim
	case "warning":
		paint = u.theme.Warn
	case "error":
		paint = u.theme.Bad
	}
	u.state(e.Stage, report.OneLine(e.Level), paint, report.StageLog(e))
}

// programOutput tells what the program printed. One event is at least one line.
func (u *UI) programOutput(e event.ProgramOutput) {
	l := u.program[e.Stream]
	if l == nil {
		l = &report.Lines{Color: u.opts.Color}
		u.program[e.Stream] = l
	}
	name := "program"
	if u.run.Program != "" {
		name = filepath.Base(u.run.Program)
	}
	show := func(line []byte) { u.prefixed(name, string(line)) }
	l.Write(e.Text, show)
	l.Flush(show)
}

// rest counts the stages that were not told one by one.
func (u *UI) rest() {
	for _, l := range []*report.Limit{&u.cached, &u.cancelled, &u.skipped} {
		if rest := l.Rest(); rest != "" {
			u.line(u.theme.Dim(rest))
		}
	}
}

// output writes a line that a step printed.
func (u *UI) output(stage string, line []byte) {
	if u.opts.Quiet {
		return
	}
	u.bar(stage)
	u.buf.Write(line)
	u.buf.WriteByte('\n')
}

// prefixed writes a line behind the name and the bar.
func (u *UI) prefixed(name, line string) {
	u.bar(name)
	u.line(line)
}

func (u *UI) bar(name string) {
	u.buf.WriteString(u.theme.Dim(report.Pad(report.OneLine(name), u.name) + " │ "))
}

// state writes what became of a stage: its name, the state and details.
func (u *UI) state(stage, state string, paint func(string) string, details string) {
	u.buf.WriteString(report.Pad(report.OneLine(stage), u.name) + "   ")
	if details == "" {
		u.line(paint(state))
		return
	}
	u.line(paint(report.Pad(state, stateWidth)) + "  " + details)
}

func (u *UI) lines(lines []string) {
	for _, l := range lines {
		u.line(l)
	}
}

func (u *UI) line(s string) {
	u.buf.WriteString(s)
	u.buf.WriteByte('\n')
}
