package report

import (
	"strings"

	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"
)

// Theme is how things look: their colours, if there are any, and the signs that stand before them. It uses only the 16 colours that every
// terminal lets its owner choose.
type Theme struct {
	color bool
	signs *strings.Replacer // nil where every sign can be shown

	good, bad, warn, dim, bold lipgloss.Style

	// Spinner turns while something runs.
	Spinner []string
	// Success, Failure, Skipped and Cached are signs of outcomes.
	Success, Failure, Skipped, Cached string
	// Filled and Empty are the parts of a progress bar.
	Filled, Empty string
}

// NewTheme returns a theme. With ascii its signs are such that every terminal and font has them.
func NewTheme(color, ascii bool) *Theme {
	style := lipgloss.NewStyle().Inline(true).TabWidth(lipgloss.NoTabConversion)
	t := &Theme{
		color:   color,
		good:    style.Foreground(lipgloss.Green),
		bad:     style.Foreground(lipgloss.Red).Bold(true),
		warn:    style.Foreground(lipgloss.Yellow),
		dim:     style.Faint(true),
		bold:    style.Bold(true),
		Spinner: []string{"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"},
		Success: "✓", Failure: "✗", Skipped: "○", Cached: "●",
		Filled: "━", Empty: "─",
	}
	if ascii {
		t.Spinner = []string{"|", "/", "-", `\`}
		t.Success, t.Failure, t.Skipped, t.Cached = "+", "x", "-", "="
		t.Filled, t.Empty = "#", "-"
		t.signs = strings.NewReplacer("│", "|", "·", "-", "…", "..", "≥", ">=")
	}
	return t
}

func (t *Theme) paint(style lipgloss.Style, s string) string {
	if !t.color || s == "" {
		return s
	}
	return style.Render(s)
}

// Signs replaces the signs of a line that the theme must not use.
func (t *Theme) Signs(line string) string {
	if t.signs == nil {
		return line
	}
	return t.signs.Replace(line)
}

// Good paints what went well.
func (t *Theme) Good(s string) string { return t.paint(t.good, s) }

// Bad paints what failed.
func (t *Theme) Bad(s string) string { return t.paint(t.bad, s) }

// Warn paints what needs attention.
func (t *Theme) Warn(s string) string { return t.paint(t.warn, s) }

// Dim paints what is secondary.
func (t *Theme) Dim(s string) string { return t.paint(t.dim, s) }

// Bold paints what matters.
func (t *Theme) Bold(s string) string { return t.paint(t.bold, s) }

// Width is the number of cells that a text takes on a terminal.
func Width(s string) int {
	if printable(s) == len(s) {
		return len(s)
	}
	return ansi.StringWidth(s)
}

// Fit cuts a text to a number of cells and marks the cut.
func Fit(s string, width int) string {
	if len(s) <= width && printable(s) == len(s) {
		return s
	}
	return ansi.Truncate(s, width, "…")
}

// Pad fills a text with spaces up to a number of cells. A longer one stays as it is.
func Pad(s string, width int) string {
	return s + strings.Repeat(" ", max(width-Width(s), 0))
}
