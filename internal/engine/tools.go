package engine

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/executor"
	"github.com/towpath/towpath/protocol"
)

// toolUse is a program of the machine that a stage was given, or that a step of it has run. A result is used only while it is the same.
type toolUse struct {
	// Name is what was looked up: a name, or an absolute path.
	Name string `json:"name"`
	// Search is the PATH in which it was looked up; empty stands for that of tow.
	Search string `json:"search,omitempty"`
	// Path is the real file, and Digest what is in it.
	Path   string        `json:"path"`
	Digest digest.Digest `json:"digest"`
}

// tools finds programs of the machine, each once.
type tools struct {
	lookup func(string) (string, bool)
	digest func(context.Context, string) (digest.Digest, error)

	mu    sync.Mutex
	known map[string]foundTool
}

type foundTool struct {
	tool toolUse
	err  error
}

func newTools(c Config) *tools {
	return &tools{lookup: c.Lookup, digest: c.Sources.Digest, known: map[string]foundTool{}}
}

// find looks a program up in PATH and resolves it to the real file. A program that is not there is an error with the code `not_found`.
func (t *tools) find(ctx context.Context, name, search string) (toolUse, error) {
	key := name + "\x00" + search
	t.mu.Lock()
	defer t.mu.Unlock()
	if f, ok := t.known[key]; ok {
		return f.tool, f.err
	}
	tool, err := t.look(ctx, name, search)
	if ctx.Err() == nil {
		t.known[key] = foundTool{tool, err}
	}
	return tool, err
}

func (t *tools) look(ctx context.Context, name, search string) (toolUse, error) {
	candidates := []string{name}
	if !filepath.IsAbs(name) {
		candidates = nil
		path := search
		if path == "" {
			path, _ = t.lookup("PATH")
		}
		for _, dir := range filepath.SplitList(path) {
			if filepath.IsAbs(dir) { // a relative one means another program in every folder
				candidates = append(candidates, filepath.Join(dir, name))
			}
		}
	}
	for _, c := range candidates {
		real, err := filepath.EvalSymlinks(c)
		if err != nil {
			continue
		}
		info, err := os.Stat(real)
		if err != nil || !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
			continue
		}
		d, err := t.digest(ctx, real)
		if err != nil {
			return toolUse{}, fmt.Errorf("read the tool %s: %w", real, err)
		}
		return toolUse{Name: name, Search: search, Path: real, Digest: d}, nil
	}
	return toolUse{}, &protocol.Error{
		Code: protocol.CodeNotFound, Message: notFound(name), Hint: "install it, or add its folder to PATH",
	}
}

func notFound(name string) string {
	if filepath.IsAbs(name) {
		return fmt.Sprintf("there is no program %q", name)
	}
	return fmt.Sprintf("the tool %q was not found in PATH", name)
}

// give notes a tool that the stage asked for: its steps may run it from now on.
func (c *calling) give(t toolUse) {
	c.use(t)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Contains(c.given, t) {
		c.given = append(c.given, t)
	}
}

// toolsGiven lists the tools that the stage asked for. What its other steps run is not among them: the action of a step must not depend on which
// of those began before it.
func (c *calling) toolsGiven() []toolUse {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.given)
}

// named is the tool that a step runs as its action has it: under the name by which the stage asked for it where a path is all that the step says.
func (c *calling) named(t toolUse) executor.Tool {
	for _, g := range c.toolsGiven() {
		if g.Path == t.Path && g.Digest == t.Digest && t.Name == t.Path {
			t = g
		}
	}
	return executor.Tool{Name: t.Name, Path: t.Path, Digest: t.Digest}
}

// checkToolName refuses what is neither the name of a program in PATH nor an absolute path.
func checkToolName(name string) error {
	if filepath.IsAbs(name) && !strings.Contains(name, "\x00") {
		return nil
	}
	if name == "" || strings.ContainsAny(name, "/\x00") || strings.ContainsRune(name, filepath.Separator) {
		return invalid("%q is no name of a tool: it is looked up in PATH, unless it is an absolute path", name)
	}
	return nil
}

// ofStep returns the program of the machine that a step runs, if it is one. A program inside the workspace is an input already.
func (t *tools) ofStep(ctx context.Context, args []string, env map[string]string) (toolUse, bool, error) {
	name := args[0]
	if strings.Contains(name, "/") && !filepath.IsAbs(name) {
		return toolUse{}, false, nil
	}
	search, ok := env["PATH"]
	if !ok {
		for _, v := range executor.BaseEnv() {
			if v.Name == "PATH" {
				search = v.Value
			}
		}
	}
	tool, err := t.find(ctx, name, search)
	if protocol.CodeOf(err) == protocol.CodeNotFound {
		return toolUse{}, false, nil // the executor says so, in its words
	}
	return tool, err == nil, err
}
