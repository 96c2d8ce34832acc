package cli

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/towpath/towpath/internal/plan"
	"github.com/towpath/towpath/internal/session"
)

func (a *App) graphCommand() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:   "graph [STAGE…]",
		Short: "Print the graph of the pipeline",
		Example: `  tow graph
  tow graph --format dot | dot -Tsvg > graph.svg
  tow graph --format json publish`,
		ValidArgsFunction: a.completeStages,
		RunE: func(c *cobra.Command, targets []string) error {
			return a.describe(c.Context(), func(_ *workplace, s *session.Session) error {
				stages := s.Graph.Stages
				if len(targets) > 0 {
					var err error
					if stages, err = s.Graph.Select(targets); err != nil {
						return err
					}
				}
				w := bufio.NewWriter(a.Stdout)
				switch format {
				case "text":
					textGraph(w, stages)
				case "dot":
					dotGraph(w, stages)
				case "mermaid":
					mermaidGraph(w, stages)
				case "json":
					if len(targets) > 0 {
						return &usageError{text: "the JSON graph is the whole plan and cannot be limited to stages", hint: "leave the stages out, or take another format"}
					}
					// The plan as the program declared it, in canonical JSON (protocol/SPEC.md, section 7).
					fmt.Fprintf(w, "%s\n", s.PlanText)
				default:
					return &usageError{text: fmt.Sprintf("there is no format %q", format), hint: "the formats are text, dot, mermaid and json"}
				}
				return w.Flush()
			})
		},
	}
	c.Flags().StringVar(&format, "format", "text", "text, dot, mermaid or json (the plan, protocol/SPEC.md section 7)")
	_ = c.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"text", "dot", "mermaid", "json"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

// label marks what is special about a stage.
func label(s *plan.Stage) string {
	switch {
	case s.Effect():
		return s.Name + " (effect)"
	case s.FannedOut():
		return s.Name + " (each)"
	}
	return s.Name
}

// textGraph lists every stage with what it needs, needed ones first.
func textGraph(w io.Writer, stages []*plan.Stage) {
	for _, s := range stages {
		fmt.Fprintln(w, label(s))
		for i, n := range s.Needs {
			branch := "├─"
			if i == len(s.Needs)-1 {
				branch = "└─"
			}
			fmt.Fprintf(w, "  %s %s\n", branch, n.Name)
		}
	}
}

func dotGraph(w io.Writer, stages []*plan.Stage) {
	fmt.Fprintln(w, "digraph pipeline {\n  rankdir=LR\n  node [shape=box]")
	for _, s := range stages {
		attributes := ""
		if s.Effect() {
			attributes = " [style=bold]"
		}
		fmt.Fprintf(w, "  %s%s\n", dotQuote(s.Name), attributes)
		for _, n := range s.Needs {
			fmt.Fprintf(w, "  %s -> %s\n", dotQuote(n.Name), dotQuote(s.Name))
		}
	}
	fmt.Fprintln(w, "}")
}

func dotQuote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

func mermaidGraph(w io.Writer, stages []*plan.Stage) {
	fmt.Fprintln(w, "flowchart LR")
	id := func(s *plan.Stage) string { return "s" + strconv.Itoa(s.Index) }
	for _, s := range stages {
		open, shut := "[", "]"
		if s.Effect() {
			open, shut = "[[", "]]"
		}
		fmt.Fprintf(w, "  %s%s\"%s\"%s\n", id(s), open, strings.ReplaceAll(s.Name, `"`, "#quot;"), shut)
		for _, n := range s.Needs {
			fmt.Fprintf(w, "  %s --> %s\n", id(n), id(s))
		}
	}
}
