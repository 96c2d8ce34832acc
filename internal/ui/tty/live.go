package tty

import (
	"fmt"
	"strings"
	"time"

	"github.com/towpath/towpath/internal/event"
	"github.com/towpath/towpath/internal/ui/report"
)

const (
	// maxRunning is how many running stages are shown at most, however high the terminal is.
	maxRunning = 24
	// timeWidth is the width of the column of durations; `59 m 59 s` fills it.
	timeWidth = 9
	// barWidth is the width of the progress bar, and barFrom that of a terminal that has room for it.
	barWidth, barFrom = 16, 72
)

// draw returns the live lines: the running stages and the counts. They leave a column and a row free.
func (s *screen) draw(width, height int, now time.Time) []string {
	width = max(width-1, 1)
	rows := min(height-2, maxRunning)
	if rows < 0 {
		return nil
	}
	running := s.run.Running()
	shown := running
	if len(running) > rows {
		shown = running[:max(rows-1, 0)]
	}
	names := 0
	for _, st := range shown {
		names = max(names, report.Width(report.OneLine(st.Name)))
	}
	names = max(min(max(names, s.name), maxName, width/3), 1)
	spin := s.theme.Spinner[int(now.Sub(s.begun)/period)%len(s.theme.Spinner)]
	var live []string
	for _, st := range shown {
		live = append(live, report.Fit(s.running(st, spin, names, now), width))
	}
	if more := len(running) - len(shown); more > 0 && rows > 0 {
		live = append(live, report.Fit(s.theme.Dim(fmt.Sprintf("  … and %d more running", more)), width))
	}
	live = append(live, report.Fit(s.counts(width, now), width))
	for i := range live {
		live[i] = s.theme.Signs(live[i])
	}
	return live
}

// running is the line of a running stage: its name, how long it has been running, and what it does.
func (s *screen) running(st *report.Stage, spin string, names int, now time.Time) string {
	name := report.Pad(report.Fit(report.OneLine(st.Name), names), names)
	doing := strings.TrimSpace(strings.ReplaceAll(report.OneLine(st.Last()), "\t", " "))
	if doing == "" && st.Command != "" {
		doing = "$ " + st.Command
	}
	if st.Tries > 1 {
		doing = strings.TrimSpace(fmt.Sprintf("try %d  %s", st.Tries, doing))
	}
	line := s.theme.Good(spin) + " " + s.theme.Bold(name) + "  "
	elapsed := report.Seconds(now.Sub(st.Started))
	if doing == "" {
		return line + elapsed // without spaces behind it, which some terminals wrap and some do not
	}
	return line + report.Pad(elapsed, timeWidth) + "  " + s.theme.Dim(doing)
}

// counts is the last line: `12/40 · 9 cached · 2 running · critical path ~14 s left`.
func (s *screen) counts(width int, now time.Time) string {
	done, total := s.run.DoneCount(), s.run.Total()
	if total == 0 {
		return s.theme.Dim("reading the pipeline · " + report.Seconds(now.Sub(s.begun)))
	}
	parts := []string{fmt.Sprintf("%d/%d", done, total)}
	add := func(n int, what string, paint func(string) string) {
		if n > 0 {
			parts = append(parts, paint(fmt.Sprintf("%d %s", n, what)))
		}
	}
	same := func(s string) string { return s }
	add(len(s.run.Ended(event.Failed)), "failed", s.theme.Bad)
	add(len(s.run.Ended(event.Cached)), "cached", same)
	add(len(s.run.Running()), "running", same)
	add(len(s.run.Ended(event.Cancelled)), "cancelled", s.theme.Warn)
	add(len(s.run.Ended(event.Skipped)), "skipped", s.theme.Warn)
	parts = append(parts, s.remaining(now))
	line := strings.Join(parts, " · ")
	if width >= barFrom {
		filled := barWidth * done / total
		line = s.theme.Good(strings.Repeat(s.theme.Filled, filled)) +
			s.theme.Dim(strings.Repeat(s.theme.Empty, barWidth-filled)) + " " + line
	}
	return line
}

// remaining is how long the run still takes, or how long it has been going on when that is not known.
func (s *screen) remaining(now time.Time) string {
	if now.Sub(s.left.at) >= time.Second/2 {
		s.left.at = now
		s.left.left, s.left.sure = s.run.Left(now)
	}
	switch {
	case s.left.left < time.Second:
		return report.Seconds(now.Sub(s.begun))
	case s.left.sure:
		return "critical path ~" + report.Seconds(s.left.left) + " left"
	}
	return "critical path ≥" + report.Seconds(s.left.left) + " left"
}
