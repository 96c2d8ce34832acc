// Command scriptrunner stands in for npm while the workload of a benchmark is prepared: `scriptrunner run NAME` runs that script of the package.json in
// the current folder as npm does, and prints what npm prints, but starts in a millisecond instead of half a second. It is never part of
// a measured run.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			os.Exit(exit.ExitCode())
		}
		fmt.Fprintln(os.Stderr, "scriptrunner:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 || args[0] != "run" {
		return fmt.Errorf("only `run SCRIPT` is known, not %q", args)
	}
	content, err := os.ReadFile("package.json")
	if err != nil {
		return err
	}
	var manifest struct {
		Name    string            `json:"name"`
		Version string            `json:"version"`
		Scripts map[string]string `json:"scripts"`
	}
	if err := json.Unmarshal(content, &manifest); err != nil {
		return fmt.Errorf("package.json: %w", err)
	}
	script, ok := manifest.Scripts[args[1]]
	if !ok {
		return fmt.Errorf("package.json has no script %q", args[1])
	}
	fmt.Printf("\n> %s@%s %s\n> %s\n\n", manifest.Name, manifest.Version, args[1], script)
	command := exec.Command("sh", "-c", script)
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	return command.Run()
}
