package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/event"
	"github.com/towpath/towpath/internal/history"
	"github.com/towpath/towpath/internal/plan"
	"github.com/towpath/towpath/internal/tree"
	"github.com/towpath/towpath/internal/ui"
)

// artifact is a file or directory that a stage of a run returned.
type artifact struct {
	Stage  string `json:"stage"`
	Path   string `json:"path"` // where in the value of the stage
	Kind   string `json:"kind"`
	Name   string `json:"name,omitempty"`
	Digest string `json:"digest"`
	Bytes  int64  `json:"bytes"` // of a directory: of all its files
	Files  int    `json:"files,omitempty"`

	of plan.Artifact
}

func (a *App) artifactsCommand() *cobra.Command {
	var ref string
	var asJSON bool
	c := &cobra.Command{
		Use:   "artifacts [STAGE…]",
		Short: "List the files and directories that a run made, or export them",
		Long: `List the files and directories that stages returned: those of all stages in the latest run, or of the named
stages, each in the newest run that it was part of.`,
		Example: `  tow artifacts
  tow artifacts export wheel dist/
  tow artifacts export test report.xml --path junit`,
		RunE: func(c *cobra.Command, stages []string) error {
			return a.with(c.Context(), func(w *workplace) error {
				list, err := a.artifactsOf(c.Context(), w, ref, stages)
				if err != nil {
					return err
				}
				return a.printArtifacts(c.Context(), w, list, asJSON)
			})
		},
		ValidArgsFunction: a.completeElements,
	}
	c.PersistentFlags().StringVar(&ref, "run", "", "the `run`: an id, the beginning of one, or latest (default: the latest, of named stages the latest with the stage)")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.AddCommand(a.exportCommand(&ref))
	return c
}

// artifactsOf lists what stages returned in a run; no stage stands for all. Without a run, each is looked for in the newest one that it was part of.
func (a *App) artifactsOf(ctx context.Context, w *workplace, ref string, stages []string) ([]artifact, error) {
	ends, err := a.findStages(ctx, w.stores.History, ref, stages)
	if err != nil {
		return nil, err
	}
	wanted := map[string][]string{} // the stages, by run
	var runs []string
	for _, e := range ends {
		if wanted[e.run] == nil {
			runs = append(runs, e.run)
		}
		wanted[e.run] = append(wanted[e.run], e.name)
	}
	out := []artifact{}
	seen := map[string]bool{}
	for _, id := range runs {
		err := w.stores.History.Events(ctx, id, func(r event.Record) error {
			f, ok := r.Event.(event.StageFinished)
			if !ok || f.Value == nil || !slices.Contains(wanted[id], f.Stage) {
				return nil
			}
			list, err := plan.Artifacts(f.Value)
			if err != nil {
				return err
			}
			// A stage that ran again because a blob was lost has another end: the last counts.
			if seen[f.Stage] {
				out = slices.DeleteFunc(out, func(a artifact) bool { return a.Stage == f.Stage })
			}
			seen[f.Stage] = true
			for _, of := range list {
				kind := "file"
				if of.Directory {
					kind = "directory"
				}
				out = append(out, artifact{Stage: f.Stage, Path: of.Path, Kind: kind, Name: of.Name, Digest: of.Digest.String(), Bytes: of.Digest.Size, of: of})
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	if len(out) == 0 && len(stages) > 0 {
		for _, e := range ends {
			if !e.outcome.OK() {
				return nil, &history.NotFoundError{
					What: fmt.Sprintf("the result of stage %s in run %s (%s)", e.name, e.run, outcomeText(e.outcome)),
					Hint: "`tow runs` lists the runs, --run chooses one",
				}
			}
		}
	}
	return out, nil
}

func (a *App) printArtifacts(ctx context.Context, w *workplace, list []artifact, asJSON bool) error {
	for i := range list {
		if !list[i].of.Directory {
			continue
		}
		list[i].Bytes = 0
		err := tree.Walk(ctx, w.stores.Blobs, list[i].of.Digest, func(e tree.Entry) error {
			if e.Kind == tree.KindFile {
				list[i].Files++
				list[i].Bytes += e.Digest.Size
			}
			return nil
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if asJSON {
		return printJSON(a.Stdout, list)
	}
	if len(list) == 0 {
		fmt.Fprintln(a.Stderr, "tow: the run made no files")
		return nil
	}
	t := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "STAGE\tPATH\tKIND\tNAME\tSIZE\tDIGEST")
	for _, x := range list {
		name := x.Name
		if x.of.Directory {
			name = count(x.Files, "file")
		}
		path := x.Path
		if path == "" {
			path = "-"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", x.Stage, path, x.Kind, name, size(x.Bytes), x.of.Digest.Short())
	}
	return t.Flush()
}

func (a *App) exportCommand(ref *string) *cobra.Command {
	var path string
	var force bool
	c := &cobra.Command{
		Use:   "export STAGE DESTINATION",
		Short: "Write an artifact of a stage to a path",
		Long: `Write an artifact of a stage to a path. A file goes to DESTINATION, or into it when that is a folder or
ends in /. A directory becomes DESTINATION. Every byte is verified on its way.`,
		Example: `  tow artifacts export wheel dist/
  tow artifacts export docs public --force`,
		Args:              args(2, 2, "a stage and a destination"),
		ValidArgsFunction: a.completeElements,
		RunE: func(c *cobra.Command, words []string) error {
			return a.with(c.Context(), func(w *workplace) error {
				list, err := a.artifactsOf(c.Context(), w, *ref, words[:1])
				if err != nil {
					return err
				}
				one, err := choose(list, words[0], path, c.Flags().Changed("path"))
				if err != nil {
					return err
				}
				to, err := export(c.Context(), w.stores.Blobs, one.of, words[1], force)
				if _, gone := errors.AsType[*cas.NotFoundError](err); gone {
					stage, _ := element(one.Stage)
					return &usageError{
						text: err.Error() + " any more",
						hint: fmt.Sprintf("run the stage again: `%s run %s`", a.command(), ui.Command(stage)),
					}
				}
				if err != nil {
					return err
				}
				fmt.Fprintf(a.Stdout, "%s\n", to)
				return nil
			})
		},
	}
	c.Flags().StringVar(&path, "path", "", "which artifact, when the stage returned several: its `path` in the value (see tow artifacts)")
	c.Flags().BoolVar(&force, "force", false, "replace what is at the destination")
	return c
}

func choose(list []artifact, stage, path string, named bool) (artifact, error) {
	var fits []artifact
	for _, x := range list {
		if !named || x.Path == path {
			fits = append(fits, x)
		}
	}
	switch len(fits) {
	case 1:
		return fits[0], nil
	case 0:
		return artifact{}, &history.NotFoundError{What: fmt.Sprintf("an artifact of stage %s", stage), Hint: fmt.Sprintf("`tow artifacts %s` lists them", stage)}
	}
	return artifact{}, &usageError{
		text: fmt.Sprintf("stage %s has %d artifacts", stage, len(fits)),
		hint: fmt.Sprintf("choose one with --path, such as %q of %s", fits[0].Path, fits[0].Stage),
	}
}

// export writes an artifact beside its destination and renames it into place, so that there is no half of it.
func export(ctx context.Context, store cas.Store, x plan.Artifact, to string, force bool) (string, error) {
	if to == "" {
		return "", &usageError{text: "the destination is empty", hint: "`.` is this folder"}
	}
	if info, err := os.Stat(to); !x.Directory && (err == nil && info.IsDir() || os.IsPathSeparator(to[len(to)-1])) {
		to = filepath.Join(to, x.Name)
	}
	to = filepath.Clean(to)
	if _, err := os.Lstat(to); err == nil && !force {
		return "", &usageError{text: to + " is there already", hint: "--force replaces it"}
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return "", fmt.Errorf("export to %s: %w", to, err)
	}
	tmp, err := os.MkdirTemp(filepath.Dir(to), ".tow-export-")
	if err != nil {
		return "", fmt.Errorf("export to %s: %w", to, err)
	}
	defer os.RemoveAll(tmp)
	made := filepath.Join(tmp, "new")
	if x.Directory {
		if err = os.Mkdir(made, 0o755); err == nil {
			err = tree.Materialize(ctx, store, x.Digest, made)
		}
	} else {
		err = exportFile(ctx, store, x, made)
	}
	if err != nil {
		return "", fmt.Errorf("export to %s: %w", to, err)
	}
	if force {
		// Out of the way first: a rename does not replace a folder that is not empty.
		if err := os.Rename(to, filepath.Join(tmp, "old")); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("export to %s: %w", to, err)
		}
	}
	if err := os.Rename(made, to); err != nil {
		return "", fmt.Errorf("export to %s: %w", to, err)
	}
	return to, nil
}

func exportFile(ctx context.Context, store cas.Store, x plan.Artifact, path string) error {
	e := tree.Entry{Kind: tree.KindFile, Digest: x.Digest, Executable: x.Executable}
	return tree.NewFiles(store).Write(ctx, e, path)
}
