package executortest

import (
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
)

// ProgramName is the name by which a test binary knows that it is to be the suite's program. It ends in ".exe" so that it
// starts on every system.
const ProgramName = "step.exe"

// MainIfProgram makes this process the suite's program where it was started by that name, and does not return then. TestMain
// of an implementation that starts real processes begins with it, and gives the test binary as Subject.Program: nothing else
// has to be installed.
func MainIfProgram() {
	if filepath.Base(os.Args[0]) == ProgramName {
		// Unlike os.Exit this does not give the race detector a second to report: a test starts hundreds of programs.
		syscall.Exit(Interpret(&process{}, os.Args[1:]))
	}
}

// process is the Machine of a real process.
type process struct {
	ignoresTerm bool
}

func (*process) Stdin() io.Reader                     { return os.Stdin }
func (*process) Stdout() io.Writer                    { return os.Stdout }
func (*process) Stderr() io.Writer                    { return os.Stderr }
func (*process) Env() []string                        { return os.Environ() }
func (*process) ReadFile(path string) ([]byte, error) { return os.ReadFile(path) }
func (*process) WriteFile(path string, content []byte) error {
	return os.WriteFile(path, content, 0o666)
}
func (*process) Mkdir(path string) error                   { return os.MkdirAll(path, 0o777) }
func (*process) Symlink(target, path string) error         { return os.Symlink(target, path) }
func (*process) Chmod(path string, mode fs.FileMode) error { return os.Chmod(path, mode) }

func (*process) Dir() string {
	dir, err := os.Getwd()
	if err != nil {
		return err.Error()
	}
	return filepath.ToSlash(dir)
}

func (*process) List(path string) ([]string, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, fs.ErrInvalid
	}
	entries, err := os.ReadDir(path)
	names := make([]string, len(entries))
	for i, entry := range entries {
		names[i] = entry.Name()
	}
	slices.Sort(names)
	return names, err
}

func (p *process) Block() {
	asked := make(chan os.Signal, 1)
	if !p.ignoresTerm {
		signal.Notify(asked, syscall.SIGTERM)
	}
	_, _ = io.WriteString(os.Stdout, "blocked\n")
	<-asked
}

func (p *process) IgnoreTerm() {
	p.ignoresTerm = true
	signal.Ignore(syscall.SIGTERM)
}

func (*process) Kill() {
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Kill()
	}
	if err != nil {
		panic(err)
	}
	select {}
}

func (*process) Spawn(args []string) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(program, args...)
	cmd.Args[0] = ProgramName
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Start()
}
