package cli

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/towpath/towpath/protocol"
)

func (a *App) versionCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "version",
		Short: "Print the version of tow",
		Args:  args(0, 0, "no arguments"),
		RunE: func(*cobra.Command, []string) error {
			if asJSON {
				return printJSON(a.Stdout, map[string]any{
					"version": a.Version, "protocol": protocol.Version, "os": runtime.GOOS, "arch": runtime.GOARCH, "go": runtime.Version(),
				})
			}
			fmt.Fprintf(a.Stdout, "tow %s (protocol %d, %s/%s, %s)\n", a.Version, protocol.Version, runtime.GOOS, runtime.GOARCH, runtime.Version())
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}
