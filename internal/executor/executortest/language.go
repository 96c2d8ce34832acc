package executortest

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Machine is what the suite's program needs of the world that it runs in: an operating system, or a fake of one. Relative
// paths are relative to the folder in which the program started.
type Machine interface {
	Stdin() io.Reader
	Stdout() io.Writer
	Stderr() io.Writer
	// Env returns the variables as NAME=VALUE.
	Env() []string
	// Dir returns the folder in which the program started.
	Dir() string
	ReadFile(path string) ([]byte, error)
	WriteFile(path string, content []byte) error
	// List returns the names in a folder, sorted.
	List(path string) ([]string, error)
	Mkdir(path string) error
	Symlink(target, path string) error
	Chmod(path string, mode fs.FileMode) error
	// Block returns when the program is asked to end, or never where it is killed or ignores that.
	Block()
	// IgnoreTerm makes the program ignore that it is asked to end.
	IgnoreTerm()
	// Kill ends the program by the signal SIGKILL.
	Kill()
	// Spawn starts the program once more with other arguments, without waiting for it. It shares the standard output.
	Spawn(args []string) error
}

// Interpret runs the suite's program, whose arguments are operations divided by ";", and returns its exit code. In the
// arguments of operations $NAME stands for a variable.
//
//	print TEXT         to standard output, without a line end
//	eprint TEXT        to standard error
//	big N              N bytes to standard output
//	write PATH TEXT    makes or replaces a file
//	write-big PATH N   makes a file of N bytes
//	cat PATH           prints a file
//	list PATH          prints all that is below a folder, a line each
//	mkdir PATH         makes a folder and those above it
//	symlink TARGET PATH
//	chmod MODE PATH
//	env                prints the variables, a line each, sorted
//	pwd                prints the folder in which it started
//	stdin              prints how many bytes there are to be read
//	block              waits until asked to end, prints "asked to end", and ends with exit code 3
//	ignore-term        ignores from now on that it is asked to end
//	kill               ends by SIGKILL
//	spawn ARG…         starts itself with all the arguments that follow, where "," divides operations
//	exit N
func Interpret(m Machine, args []string) int {
	for len(args) > 0 {
		end := slices.Index(args, ";")
		if end < 0 {
			end = len(args)
		}
		op := args[:end]
		args = args[min(end+1, len(args)):]
		if len(op) == 0 {
			continue
		}
		exit, err := operate(m, op)
		if err != nil {
			fmt.Fprintf(m.Stderr(), "%s: %v\n", strings.Join(op, " "), err)
			return 1
		}
		if exit != nil {
			return *exit
		}
	}
	return 0
}

// operate carries out one operation. An exit code ends the program.
func operate(m Machine, op []string) (exit *int, err error) {
	name, args := op[0], make([]string, 2)
	for i, arg := range op[1:min(len(op), 3)] {
		args[i] = os.Expand(arg, func(name string) string { return variable(m, name) })
	}
	number, _ := strconv.Atoi(args[0])
	switch name {
	case "print":
		_, err = io.WriteString(m.Stdout(), args[0])
	case "eprint":
		_, err = io.WriteString(m.Stderr(), args[0])
	case "big":
		_, err = m.Stdout().Write(Big(number))
	case "write":
		err = m.WriteFile(args[0], []byte(args[1]))
	case "write-big":
		number, _ = strconv.Atoi(args[1])
		err = m.WriteFile(args[0], Big(number))
	case "cat":
		var content []byte
		if content, err = m.ReadFile(args[0]); err == nil {
			_, err = m.Stdout().Write(content)
		}
	case "list":
		err = list(m, args[0], "")
	case "mkdir":
		err = m.Mkdir(args[0])
	case "symlink":
		err = m.Symlink(args[0], args[1])
	case "chmod":
		var mode uint64
		if mode, err = strconv.ParseUint(args[0], 8, 32); err == nil {
			err = m.Chmod(args[1], fs.FileMode(mode))
		}
	case "spawn":
		err = m.Spawn(strings.Split(strings.ReplaceAll(strings.Join(op[1:], "\x00"), ",", ";"), "\x00"))
	case "exit":
		return &number, nil
	default:
		return operateProcess(m, name)
	}
	return nil, err
}

// operateProcess carries out the operations that have to do with the program itself.
func operateProcess(m Machine, name string) (exit *int, err error) {
	switch name {
	case "env":
		env := slices.Sorted(slices.Values(m.Env()))
		_, err = io.WriteString(m.Stdout(), strings.Join(env, "\n"))
	case "pwd":
		_, err = io.WriteString(m.Stdout(), m.Dir())
	case "stdin":
		var n int64
		if n, err = io.Copy(io.Discard, m.Stdin()); err == nil {
			_, err = fmt.Fprint(m.Stdout(), n)
		}
	case "block":
		m.Block()
		_, err = io.WriteString(m.Stdout(), "asked to end")
		exit = new(int)
		*exit = 3
	case "ignore-term":
		m.IgnoreTerm()
	case "kill":
		m.Kill()
	default:
		err = fmt.Errorf("there is no such operation")
	}
	return exit, err
}

// list prints what is below a folder; what cannot be listed is a file.
func list(m Machine, dir, prefix string) error {
	names, err := m.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if _, err := fmt.Fprintln(m.Stdout(), prefix+name); err != nil {
			return err
		}
		if _, err := m.List(dir + "/" + name); err == nil {
			if err := list(m, dir+"/"+name, prefix+name+"/"); err != nil {
				return err
			}
		}
	}
	return nil
}

func variable(m Machine, name string) string {
	for _, v := range m.Env() {
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			return value
		}
	}
	return ""
}

// Big returns n bytes that are not all the same.
func Big(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('a' + i%23)
	}
	return b
}
