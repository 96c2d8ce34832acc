package session

import "context"

// Interpreter is what Python programs are run with.
type Interpreter struct {
	// Found is what the setting or PATH names: the interpreter, a link to it, or the shim of a version manager.
	Found string
	// Executable is the real file, which is what is started.
	Executable string
	// Version is such as `cpython 3.11`.
	Version string
}

// Interpreter finds what a Python program would be run with. It starts what it finds, to ask it.
func (c Config) Interpreter(ctx context.Context, p Program) (Interpreter, error) {
	r, err := c.findPython(ctx, p)
	if err != nil {
		return Interpreter{}, err
	}
	return Interpreter{Found: r.Stamps[0].Path, Executable: r.Executable, Version: r.Version}, nil
}

// Paths returns the files that describing the program read or looked for.
func (s *Session) Paths() []string {
	out := make([]string, len(s.record.Files))
	for i, f := range s.record.Files {
		out[i] = f.Path
	}
	return out
}
