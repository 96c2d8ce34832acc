package tty

import (
	"bytes"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/towpath/towpath/internal/event"
	"github.com/towpath/towpath/internal/ui/report"
)

const (
	// maxName is where the column of names ends.
	maxName = 28
	// listed is how many cached stages are named.
	listed = 6
	// newline ends a row also where the terminal does not add the return.
	newline = "\r\n"
	// eraseLine and eraseBelow erase from the cursor on.
	eraseLine, eraseBelow = "\x1b[K", "\x1b[J"
)

// screen is the picture of a run. It turns events into frames, and knows no goroutines and no clock.
type screen struct {
	opts  Options
	theme *report.Theme
	run   *report.Run
	name  int // the width of the column of names

	begun  time.Time // when the first event came
	left   estimate
	above  []byte   // the lines that have become permanent since the last frame
	live   []string // the live lines of the last frame
	closed bool
	out    bytes.Buffer

	skipped, cancelled report.Limit
}

// estimate is how long the run still takes. It is not made anew for every frame, since a plan may have 200,000 stages.
type estimate struct {
	at   time.Time
	left time.Duration
	sure bool
}

func newScreen(opts Options) *screen {
	return &screen{
		opts:      opts,
		theme:     report.NewTheme(opts.Color, opts.ASCII),
		run:       report.NewRun(opts.Color, opts.Command),
		skipped:   report.Limit{What: "skipped"},
		cancelled: report.Limit{What: "cancelled"},
	}
}

// apply takes an event.
func (s *screen) apply(e event.Event, now time.Time) {
	if s.begun.IsZero() {
		s.begun = now
	}
	s.run.Apply(e, now, s.output)
	switch e := e.(type) {
	case event.PlanMade, event.StageExpanded:
		s.name = s.run.NameWidth(maxName)
	case event.StageCached:
		s.stageCached(e)
	case event.StageFinished:
		s.stageFinished(e)
	case event.StepStarted:
		if s.opts.Verbose {
			s.prefixed(e.Stage, s.theme.Dim("$ "+report.Command(e.Args)))
			if len(e.Reasons) > 0 {
				s.prefixed(e.Stage, s.theme.Dim("because: "+report.Reasons(e.Reasons, 0)))
			}
		}
	case event.StepFinished:
		if s.opts.Verbose {
			s.prefixed(e.Stage, s.theme.Dim(report.StepLine(e)))
		}
	case event.StageLog:
		s.stageLog(e)
	case event.ProgramOutput:
		s.programOutput(e)
	case event.Warning:
		s.lines(report.Warning(s.theme, e))
	case event.RunFinished:
		s.rest()
		s.lines(s.run.End(s.theme))
	case event.StageStarted:
		if s.opts.Verbose {
			s.prefixed(e.Stage, s.theme.Dim("runs: "+report.Reasons(e.Reasons, 0)))
		}
	case event.StepOutput:
		// The run hands the lines on to output, and the live lines show the last one.
	case event.RunRefused:
		// The command says it on standard error.
	case event.RunStarted, event.SourcesSnapshot:
		// These go by too fast for anyone to read.
	}
}

// close ends a run that may have broken off.
func (s *screen) close() {
	s.run.Flush(s.output)
	s.closed = true
}

func (s *screen) stageCached(e event.StageCached) {
	if !s.opts.Verbose {
		return // the last lines name some of them, and the live lines count them
	}
	details := ""
	if e.Saved > 0 {
		details = "saved " + report.Duration(e.Saved)
	}
	s.stage(s.theme.Dim(s.theme.Cached), e.Stage, "cached", s.theme.Dim(details))
}

func (s *screen) stageFinished(e event.StageFinished) {
	if s.opts.Quiet {
		return
	}
	why := report.Details(e)
	switch e.Outcome {
	case event.Cached: // StageCached has told it
	case event.Failed:
		s.stage(s.theme.Bad(s.theme.Failure), e.Stage, report.Duration(e.Duration), why)
	case event.Skipped:
		if s.opts.Verbose || s.skipped.Show() {
			s.stage(s.theme.Warn(s.theme.Skipped), e.Stage, "skipped", s.theme.Dim(why))
		}
	case event.Cancelled:
		if s.opts.Verbose || s.cancelled.Show() {
			s.stage(s.theme.Warn(s.theme.Skipped), e.Stage, "cancelled", s.theme.Dim(why))
		}
	default:
		s.stage(s.theme.Good(s.theme.Success), e.Stage, report.Duration(e.Duration), s.theme.Dim(why))
	}
}

// stage adds a line on a stage that ended.
func (s *screen) stage(sign, name, what, details string) {
	line := sign + " " + report.Pad(report.OneLine(name), s.name) + "  " + s.theme.Dim(report.Pad(what, timeWidth))
	if details != "" {
		line += "  " + details
	}
	s.line(line)
}

func (s *screen) stageLog(e event.StageLog) {
	paint := s.theme.Bold
	switch e.Level {
	case "debug":
		if !s.opts.Verbose {
			return
		}
		paint = s.theme.Dim
	case "warning":
		paint = s.theme.Warn
	case "error":
		paint = s.theme.Bad
	}
	if !s.opts.Quiet {
		s.prefixed(e.Stage, paint(report.OneLine(e.Level)+":")+" "+report.StageLog(e))
	}
}

func (s *screen) programOutput(e event.ProgramOutput) {
	if s.opts.Quiet {
		return
	}
	name := "program"
	if s.run.Program != "" {
		name = filepath.Base(s.run.Program)
	}
	l := report.Lines{Color: s.opts.Color}
	show := func(line []byte) { s.prefixed(name, string(line)) }
	l.Write(e.Text, show)
	l.Flush(show)
}

// rest tells of the stages that were not told one by one.
func (s *screen) rest() {
	if s.opts.Quiet {
		return
	}
	if cached := s.run.Ended(event.Cached); len(cached) > 0 && len(cached) < s.run.Total() && !s.opts.Verbose {
		names := make([]string, len(cached))
		for i, st := range cached {
			names[i] = st.Name
		}
		s.line(s.theme.Dim(s.theme.Cached + " " + strconv.Itoa(len(cached)) + " cached: " + report.List(names, listed)))
	}
	for _, l := range []*report.Limit{&s.cancelled, &s.skipped} {
		if rest := l.Rest(); rest != "" {
			s.line(s.theme.Dim(rest))
		}
	}
}

// output takes a line that a step printed.
func (s *screen) output(stage string, line []byte) {
	if s.opts.Verbose {
		s.prefixed(stage, string(line))
	}
}

func (s *screen) prefixed(name, line string) {
	s.line(s.theme.Dim("  "+report.Pad(report.OneLine(name), s.name)+" │") + " " + line)
}

func (s *screen) lines(lines []string) {
	for _, l := range lines {
		s.line(l)
	}
}

// line makes a line permanent.
func (s *screen) line(line string) {
	s.above = append(s.above, s.theme.Signs(line)...)
	s.above = append(s.above, newline...)
}

// rows is how many rows a line takes once the terminal has wrapped it to a width.
func rows(line string, width int) int {
	if report.Width(line) <= width {
		return 1
	}
	return 1 + strings.Count(ansi.Hardwrap(line, width, true), "\n")
}

// frame returns the bytes that bring the terminal from the last frame to this one; there are none if nothing has changed.
func (s *screen) frame(width, height int, now time.Time) []byte {
	var live []string
	if !s.closed && s.run.Finished == nil && !s.begun.IsZero() {
		live = s.draw(width, height, now)
	}
	if len(s.above) == 0 && slices.Equal(live, s.live) {
		return nil
	}
	up := 0
	for _, l := range s.live {
		up += rows(l, width)
	}
	b := &s.out
	b.Reset()
	b.WriteString(ansi.SetModeSynchronizedOutput + ansi.HideCursor + "\r")
	if up > 0 {
		b.WriteString(ansi.CursorUp(up))
		if len(s.above) > 0 || up > len(s.live) {
			// Row by row: erasing all below at the top of the screen makes tmux keep what is erased in its history.
			b.WriteString(strings.Repeat(eraseLine+ansi.CUD1, up) + ansi.CursorUp(up))
		}
	}
	b.Write(s.above)
	b.WriteString(ansi.ResetModeAutoWrap)
	for _, l := range live {
		b.WriteString(eraseLine)
		b.WriteString(l)
		b.WriteString(newline)
	}
	b.WriteString(ansi.SetModeAutoWrap + eraseBelow + ansi.ShowCursor + ansi.ResetModeSynchronizedOutput)
	s.live = live
	s.above = s.above[:0]
	return b.Bytes()
}
