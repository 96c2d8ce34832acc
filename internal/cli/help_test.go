package cli

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Every command and flag says what it is for, in the same form.
func TestHelpIsComplete(t *testing.T) {
	root := (&App{}).root()
	root.InitDefaultHelpCmd()
	commands := 0
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		commands++
		path := c.CommandPath()
		if c.Short == "" || strings.HasSuffix(c.Short, ".") || strings.ToUpper(c.Short[:1]) != c.Short[:1] && !strings.HasPrefix(c.Short, "tow") {
			t.Errorf("%s has the summary %q: it begins with a capital letter and ends without a full stop", path, c.Short)
		}
		if c.HasParent() && c.Parent() == root && c.GroupID == "" && c.Name() != "help" && c.Name() != "completion" {
			t.Errorf("%s is in no group", path)
		}
		if !c.Runnable() && !c.HasSubCommands() {
			t.Errorf("%s does nothing", path)
		}
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" || strings.HasSuffix(f.Usage, ".") {
				t.Errorf("--%s of %s has the usage %q: it says what the flag does, without a full stop", f.Name, path, f.Usage)
			}
		})
		for line := range strings.Lines(c.Example) {
			if line = strings.TrimSpace(line); line != "" && !strings.Contains(line, "tow ") {
				t.Errorf("%s has an example that does not use tow: %s", path, line)
			}
		}
		for _, sub := range c.Commands() {
			visit(sub)
		}
	}
	visit(root)
	if commands < 15 {
		t.Errorf("found %d commands only", commands)
	}
}
