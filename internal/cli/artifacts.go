package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/event"
	"github.com/towpath/towpath/internal/history"
	"github.com/towpath/towpath/internal/plan"
	"github.com/towpath/towpath/internal/tree"
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
		Example: `  tow artifacts
  tow artifacts export wheel dist/
  tow artifacts export test report.xml --path junit`,
		RunE: func(c *cobra.Command, stages []string) error {
			return a.with(c.Context(), func(w *workplace) error {
				list, err := artifactsOf(c.Context(), w, ref, stages)
				if err != nil {
					return err
				}
				return a.printArtifacts(c.Context(), w, list, asJSON)
			})
		},
		ValidArgsFunction: a.completeStages,
	}
	c.PersistentFlags().StringVar(&ref, "run", "", "the `run`: an id, the beginning of one, or latest (default: the latest run)")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.AddCommand(a.exportCommand(&ref))
	return c
}

// artifactsOf lists what the stages of a run returned; no stage stands for all.
func artifactsOf(ctx context.Context, w *workplace, ref string, stages []string) ([]artifact, error) {
	id, err := w.stores.History.Resolve(ctx, ref)
	if err != nil {
		return nil, err
	}
	found := map[string]bool{}
	out := []artifact{}
	err = w.stores.History.Events(ctx, id, func(r event.Record) error {
		f, ok := r.Event.(event.StageFinished)
		if !ok {
			return nil
		}
		wanted := len(stages) == 0
		for _, s := range stages {
			if f.Stage == s || inFamily(f.Stage, s) {
				wanted, found[s] = true, true
			}
		}
		if !wanted || f.Value == nil {
			return nil
		}
		list, err := plan.Artifacts(f.Value)
		if err != nil {
			return err
		}
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
	for _, s := range stages {
		if !found[s] {
			return nil, &history.NotFoundError{What: fmt.Sprintf("stage %s in run %s", s, id), Hint: "`tow artifacts` lists what there is"}
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
		ValidArgsFunction: a.completeStages,
		RunE: func(c *cobra.Command, words []string) error {
			return a.with(c.Context(), func(w *workplace) error {
				list, err := artifactsOf(c.Context(), w, *ref, words[:1])
				if err != nil {
					return err
				}
				one, err := choose(list, words[0], path, c.Flags().Changed("path"))
				if err != nil {
					return err
				}
				to, err := export(c.Context(), w.stores.Blobs, one.of, words[1], force)
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
	r, err := store.Open(ctx, x.Digest)
	if err != nil {
		return err
	}
	mode := fs.FileMode(0o644)
	if x.Executable {
		mode = 0o755
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return errors.Join(err, r.Close())
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, r.Close(), f.Close())
}
