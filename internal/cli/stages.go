package cli

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/towpath/towpath/internal/plan"
	"github.com/towpath/towpath/internal/session"
)

// stageLine is a stage in the list.
type stageLine struct {
	Name     string   `json:"name"`
	Function string   `json:"function"`
	Kind     string   `json:"kind"`
	Doc      string   `json:"doc"`
	Needs    []string `json:"needs"`
	File     string   `json:"file,omitempty"`
	Line     int      `json:"line,omitempty"`
}

// paramLine is a parameter in the list.
type paramLine struct {
	Name    string          `json:"name"`
	Type    string          `json:"type"`
	Default json.RawMessage `json:"default,omitempty"`
	Env     string          `json:"env,omitempty"`
	Doc     string          `json:"doc,omitempty"`
}

func (a *App) stagesCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "stages",
		Short: "List the stages and parameters of the pipeline",
		Args:  args(0, 0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.describe(c.Context(), func(_ *workplace, s *session.Session) error {
				if asJSON {
					return printJSON(a.Stdout, map[string]any{"stages": stageLines(s.Graph), "params": paramLines(s.Graph)})
				}
				return a.printStages(s.Graph)
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func stageLines(g *plan.Graph) []stageLine {
	out := []stageLine{}
	for _, s := range g.Stages {
		needs := []string{}
		for _, n := range s.Needs {
			needs = append(needs, n.Name)
		}
		out = append(out, stageLine{Name: s.Name, Function: s.Function, Kind: string(s.Kind), Doc: s.Doc, Needs: needs, File: s.Site.File, Line: s.Site.Line})
	}
	return out
}

func paramLines(g *plan.Graph) []paramLine {
	out := []paramLine{}
	for _, p := range g.Params {
		out = append(out, paramLine{Name: p.Name, Type: p.Type.String(), Default: p.Default, Env: p.Env, Doc: p.Doc})
	}
	return out
}

func (a *App) printStages(g *plan.Graph) error {
	t := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
	for _, s := range g.Stages {
		doc := s.Doc
		if s.Effect() {
			doc = strings.TrimSpace("(effect) " + doc)
		}
		fmt.Fprintf(t, "%s\t%s\n", s.Name, doc)
	}
	if len(g.Params) > 0 {
		fmt.Fprintln(t, "\nParameters:\t")
	}
	for _, p := range g.Params {
		what := p.Type.String()
		if p.Default != nil {
			what += ", default " + string(p.Default)
		} else {
			what += ", required"
		}
		if p.Env != "" {
			what += ", variable " + p.Env
		}
		if p.Doc != "" {
			what += ": " + p.Doc
		}
		fmt.Fprintf(t, "%s\t%s\n", p.Name, what)
	}
	return t.Flush()
}
