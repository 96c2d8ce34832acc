package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/towpath/towpath/internal/session"
)

func (a *App) sdkCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "sdk",
		Short: "Where the SDKs are, for editors and type checkers",
		Args:  args(0, 0, "a command: path"),
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(&cobra.Command{
		Use:   "path python|go",
		Short: "Print the folder of an SDK",
		Long: `Print the folder of the SDK that this tow carries, which is unpacked on first use. For Python it is what to put on
the path of mypy or an editor; for Go it is a module to put into go.work.`,
		Example: `  MYPYPATH=$(tow sdk path python) mypy --strict pipeline.py
  go work use . $(tow sdk path go)`,
		Args:      args(1, 1, "a language: python or go"),
		ValidArgs: []string{"python", "go"},
		RunE: func(_ *cobra.Command, words []string) error {
			path, err := a.sdkPath(words[0])
			if err != nil {
				return err
			}
			fmt.Fprintln(a.Stdout, path)
			return nil
		},
	})
	return c
}

func (a *App) sdkPath(language string) (string, error) {
	l := session.Language(language)
	if l != session.Python && l != session.Go {
		return "", &usageError{text: fmt.Sprintf("there is no SDK for %q", language), hint: "there are python and go"}
	}
	settings, err := a.settings(a.Dir)
	if err != nil {
		return "", err
	}
	return session.Config{CacheDir: settings.CacheDir, PythonSDK: a.PythonSDK, GoSDK: a.GoSDK}.SDKPath(l)
}
