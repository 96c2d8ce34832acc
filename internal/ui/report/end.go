package report

import (
	"fmt"
	"strings"

	"github.com/towpath/towpath/internal/event"
)

const (
	// listed is how many stages are named in one line at the end.
	listed = 10
	// alsoFailed is how many of the other failures are told, one line each.
	alsoFailed = 10
	// traceHead and traceTail are the lines of a long stack trace that are shown: Go tells the innermost call first, Python last.
	traceHead, traceTail = 8, 12
	// bar stands before every line that Towpath did not write. None of them can so be taken for one that it wrote, by a person or by a machine
	// that reads commands from logs.
	bar = "  │ "
)

// End is the report at the end of a run, by lines: what failed first and how to go on, what else did not happen, and the summary. It is empty
// as long as the run goes on.
func (r *Run) End(t *Theme) []string {
	e := r.Finished
	if e == nil {
		return nil
	}
	var lines []string
	if e.Outcome == event.Failed || e.Failure != nil {
		lines = append(lines, "")
		lines = append(lines, r.failure(t)...)
	}
	if !e.Outcome.OK() {
		lines = append(lines, r.rest(t)...)
	}
	if len(lines) > 0 {
		lines = append(lines, "")
	}
	return append(lines, summary(t, e))
}

// failure tells the first failure.
func (r *Run) failure(t *Theme) []string {
	first := r.FirstFailed()
	what, f := "", r.Finished.Failure
	if first != nil {
		what = " in " + OneLine(first.Name)
		if len(r.ended[event.Failed]) > 1 {
			what = " in " + OneLine(first.Name) + ", which failed first"
		}
		if first.Failure != nil {
			f = first.Failure
		}
	}
	if f == nil {
		f = &event.Failure{Message: "the run failed"}
	}
	message := strings.Split(Clean(f.Message), "\n")
	lines := []string{t.Bad("error"+what+":") + " " + t.Bold(message[0])}
	lines = append(lines, quoted(t, message[1:])...)
	if f.File != "" {
		at := OneLine(f.File)
		if f.Line > 0 {
			at = fmt.Sprintf("%s:%d", at, f.Line)
		}
		lines = append(lines, "  at "+at)
	}
	lines = append(lines, trace(t, f.Trace)...)
	if first != nil {
		lines = append(lines, output(t, first)...)
	}
	if f.Hint != "" {
		hint := strings.Split(Clean(f.Hint), "\n")
		lines = append(lines, t.Warn("hint:")+" "+hint[0])
		lines = append(lines, quoted(t, hint[1:])...)
	}
	if first != nil {
		name := Command([]string{first.Name})
		lines = append(lines,
			t.Dim("  all of its output:  ")+r.command+" logs "+name,
			t.Dim("  why it ran at all:  ")+r.command+" explain "+name)
	}
	return lines
}

// quoted marks lines as not written by Towpath.
func quoted(t *Theme, lines []string) []string {
	var marked []string
	for _, l := range lines {
		marked = append(marked, t.Dim(bar)+l)
	}
	return marked
}

func trace(t *Theme, trace string) []string {
	if strings.TrimSpace(trace) == "" {
		return nil
	}
	lines := strings.Split(Clean(trace), "\n")
	if cut := len(lines) - traceHead - traceTail; cut > 0 {
		tail := lines[len(lines)-traceTail:]
		lines = append(lines[:traceHead:traceHead], fmt.Sprintf("… %s left out …", Count(cut, "line")))
		lines = append(lines, tail...)
	}
	return append([]string{t.Dim("  the trace:")}, quoted(t, lines)...)
}

func output(t *Theme, s *Stage) []string {
	lines, before := s.Tail()
	if len(lines) == 0 {
		return nil
	}
	title := "  its output:"
	if before > 0 {
		title = fmt.Sprintf("  the last %d lines of its output:", len(lines))
	}
	return append([]string{t.Dim(title)}, quoted(t, lines)...)
}

// rest tells what else did not succeed: other failures apart from what was cancelled, and that apart from what was skipped.
func (r *Run) rest(t *Theme) []string {
	var lines []string
	first, others := r.FirstFailed(), 0
	for _, s := range r.ended[event.Failed] {
		if s == first {
			continue
		}
		others++
		if others > alsoFailed {
			continue
		}
		line := t.Bad("also failed:") + " " + OneLine(s.Name)
		if s.Failure != nil {
			line += ": " + OneLine(s.Failure.Message)
		}
		lines = append(lines, line)
	}
	if others > alsoFailed {
		lines = append(lines, fmt.Sprintf("… and %d more failed", others-alsoFailed))
	}
	lines = append(lines, r.undone(t, "cancelled:", event.Cancelled)...)
	lines = append(lines, r.undone(t, "skipped:", event.Skipped)...)
	if len(lines) > 0 {
		lines = append([]string{""}, lines...)
	}
	return lines
}

// undone lists the stages that were cancelled or skipped, those with the same cause in one line.
func (r *Run) undone(t *Theme, title string, o event.Outcome) []string {
	byCause := map[string][]string{}
	var causes []string
	for _, s := range r.ended[o] {
		if byCause[s.Because] == nil {
			causes = append(causes, s.Because)
		}
		byCause[s.Because] = append(byCause[s.Because], s.Name)
	}
	var lines []string
	for i, cause := range causes {
		if i == listed {
			lines = append(lines, fmt.Sprintf("… and %s more with other causes", Count(countAfter(causes[i:], byCause), "stage")))
			break
		}
		line := t.Warn(title) + " " + List(byCause[cause], listed)
		if cause != "" {
			line += t.Dim(" (" + OneLine(cause) + ")")
		}
		lines = append(lines, line)
	}
	return lines
}

func countAfter(causes []string, byCause map[string][]string) int {
	n := 0
	for _, c := range causes {
		n += len(byCause[c])
	}
	return n
}

// summary is the last line of a run: `ok: 3 ran, 9 cached, 4.2 s (saved 31 s)`.
func summary(t *Theme, e *event.RunFinished) string {
	word, ran := t.Good("ok:"), "ran"
	switch {
	case e.Outcome == event.Failed:
		word, ran = t.Bad("failed:"), "succeeded"
	case e.Outcome == event.Cancelled:
		word, ran = t.Warn("cancelled:"), "succeeded"
	case !e.Outcome.OK():
		word = t.Warn(OneLine(string(e.Outcome)) + ":")
	}
	var parts []string
	for _, c := range []struct {
		n    int
		what string
	}{{e.Failed, "failed"}, {e.Succeeded, ran}, {e.Cached, "cached"}, {e.Cancelled, "cancelled"}, {e.Skipped, "skipped"}} {
		if c.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", c.n, c.what))
		}
	}
	if len(parts) == 0 && e.Outcome.OK() {
		parts = append(parts, "nothing to do")
	}
	parts = append(parts, Duration(e.Duration))
	line := word + " " + strings.Join(parts, ", ")
	if e.Saved > 0 {
		line += t.Dim(" (saved " + Duration(e.Saved) + ")")
	}
	return line
}

// Warning tells a warning, by lines.
func Warning(t *Theme, e event.Warning) []string {
	message := strings.Split(Clean(e.Message), "\n")
	lines := append([]string{t.Warn("warning:") + " " + message[0]}, quoted(t, message[1:])...)
	if e.Hint != "" {
		hint := strings.Split(Clean(e.Hint), "\n")
		lines = append(lines, t.Warn("hint:")+" "+hint[0])
		lines = append(lines, quoted(t, hint[1:])...)
	}
	return lines
}
