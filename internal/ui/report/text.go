// Package report is what the user interfaces for people have in common: it follows a run by its events and puts what matters of it in
// words. How a duration reads, how a failure is told, what the last line says and how the output of a step is made safe to show are
// decided here once, so that a pipe and a terminal say the same thing.
//
// It reads events and makes text. It knows no stream, no clock and no screen.
package report

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/towpath/towpath/internal/event"
	"github.com/towpath/towpath/internal/quote"
)

// Duration writes a duration for a person: `380 ms`, `4.2 s`, `31 s`, `1 m 03 s`, `2 h 05 m`.
func Duration(d time.Duration) string {
	switch {
	case d <= 0:
		return "0 ms"
	case d < time.Millisecond:
		return "<1 ms"
	case d.Round(time.Millisecond) < time.Second:
		return strconv.FormatInt(d.Round(time.Millisecond).Milliseconds(), 10) + " ms"
	case d.Round(100*time.Millisecond) < 10*time.Second:
		return strconv.FormatFloat(d.Round(100*time.Millisecond).Seconds(), 'f', 1, 64) + " s"
	}
	return Seconds(d.Round(time.Second))
}

// Seconds writes a duration in whole seconds, which is what something that is still going on needs: `4 s`, `1 m 03 s`.
func Seconds(d time.Duration) string {
	s := int64(max(d, 0) / time.Second)
	switch {
	case s < 60:
		return strconv.FormatInt(s, 10) + " s"
	case s < 3600:
		return fmt.Sprintf("%d m %02d s", s/60, s%60)
	}
	return fmt.Sprintf("%d h %02d m", s/3600, s/60%60)
}

// Count writes a number with its noun: `1 stage`, `12 stages`.
func Count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

// List writes at most limit names and says how many it left out: `a, b … and 3 more`.
func List(names []string, limit int) string {
	rest := len(names) - limit
	if rest <= 0 {
		return OneLine(strings.Join(names, ", "))
	}
	return OneLine(strings.Join(names[:limit], ", ")) + fmt.Sprintf(" … and %d more", rest)
}

// Command writes a command in one line: as one would type it into a shell unless it has lines of its own.
func Command(args []string) string {
	return OneLine(quote.Line(args...))
}

// Reasons writes why a stage has to run, at most limit of its causes; 0 stands for all of them.
func Reasons(reasons []event.Reason, limit int) string {
	var b strings.Builder
	for i, r := range reasons {
		if limit > 0 && i == limit {
			fmt.Fprintf(&b, " … and %d more", len(reasons)-limit)
			break
		}
		if i > 0 {
			b.WriteString("; ")
		}
		switch {
		case r.Text != "":
			b.WriteString(OneLine(r.Text))
		case r.Subject != "":
			b.WriteString(OneLine(string(r.Kind) + " " + r.Subject))
		default:
			b.WriteString(OneLine(string(r.Kind)))
		}
	}
	return b.String()
}

// StageLog writes a message of a stage and its fields in the order of their names.
func StageLog(e event.StageLog) string {
	return OneLine(e.Message + fields(e.Fields))
}

// StepLine says how a step ended, its cost included, for those who asked for details.
func StepLine(e event.StepFinished) string {
	parts := []string{"step " + strconv.Itoa(e.Step)}
	switch {
	case e.Error != "":
		parts = append(parts, OneLine(e.Error))
	case e.Cached:
		parts = append(parts, "cached")
	case e.Exceeded != "":
		parts = append(parts, "exceeded its limit of "+OneLine(e.Exceeded))
	case e.Signal != "":
		parts = append(parts, "killed by "+OneLine(e.Signal))
	default:
		parts = append(parts, "exit code "+strconv.Itoa(e.ExitCode))
	}
	parts = append(parts, Duration(e.Duration))
	if cpu := e.UserTime + e.SysTime; cpu > 0 {
		parts = append(parts, Duration(cpu)+" of CPU")
	}
	if e.MaxRSS > 0 {
		parts = append(parts, Bytes(e.MaxRSS)+" of memory")
	}
	return strings.Join(parts, ", ")
}

// Bytes writes a size: `12 B`, `3.4 KiB`, `120 MiB`.
func Bytes(n int64) string {
	if n < 1024 {
		return strconv.FormatInt(n, 10) + " B"
	}
	f, unit := float64(n), 0
	for f >= 1023.5 && unit < 6 {
		f /= 1024
		unit++
	}
	precision := 0
	if f < 9.95 {
		precision = 1
	}
	return strconv.FormatFloat(f, 'f', precision, 64) + " " + "BKMGTPE"[unit:unit+1] + "iB"
}

// Details says in a few words why a stage ended as it did, or what it returned; it is empty where there is nothing to say.
func Details(e event.StageFinished) string {
	switch {
	case e.Failure != nil:
		return OneLine(e.Failure.Message)
	case e.Outcome == event.Succeeded && e.Because == "":
		return value(e.Value)
	}
	return OneLine(e.Because)
}

// maxValue bounds what is shown of a value.
const maxValue = 60

// value writes what a stage returned: a plain value in JSON. Artifacts are listed by a command of their own, and an empty value says nothing.
func value(v []byte) string {
	s := string(v)
	if s == "" || s == "null" || strings.Contains(s, `"$`) {
		return ""
	}
	if len(s) > maxValue {
		s = strings.ToValidUTF8(s[:maxValue], "") + "…"
	}
	return "= " + OneLine(s)
}
