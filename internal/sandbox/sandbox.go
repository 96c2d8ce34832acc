// Package sandbox runs commands of Linux in namespaces of their own: each sees a root that is put together for it, and nothing else of
// the machine. On other systems, and for commands that are not in a sandbox, it has limits as far as the system can hold them.
//
// It is given folders, arguments, open files and limits. It must not know what a step is, where the folders come from, or what becomes
// of what is left in them.
//
// # How it works
//
// A helper process is started from the running program (MainIfHelper) in a new user, mount and pid namespace, in which it may do what
// root may. It dies with the program, and everything in its pid namespace dies with it.
//
//	program ──socket──▶ helper ──clone──▶ init of the command ──clone──▶ command
//	        files, JSON        namespaces,                     session,
//	                           shared memory                   exec
//
// For each root the helper puts a mount namespace together once: a template, which nobody is in. A command's init is a clone with a copy
// of that template. It shares the helper's memory, so that nothing has to be copied to start it, and executes a list of system calls
// that was prepared there (child_linux.go): it mounts what is the command's own, gives up all that it may, starts the command, and reaps what
// ends until the command has. When it ends itself, the system kills what is left.
//
// No command is the superuser for the system, not even where the program is: see UID.
package sandbox

import (
	"fmt"
	"os"
	"syscall"
	"time"
)

const (
	// UID is the number of a command's user and group within the sandbox. Outside it is the user of the program, or Nobody where
	// that is root and there is such a user.
	UID = 1000
	// Nobody is who commands are for the rest of the machine when the program is root's. The folders that a command may write to
	// and its inputs have to be this user's then.
	Nobody = 65534
	// Workspace, Home and Tmp are where a command finds its folders, and Hostname is what it takes the machine for.
	Workspace = "/workspace"
	Home      = "/home/step"
	Tmp       = "/tmp"
	Hostname  = "towpath"
)

// Spec is what is to be run. All paths are absolute, and of the machine unless they say otherwise.
type Spec struct {
	// Root is the folder of an unpacked image that takes the place of the machine's toolchain, or empty.
	Root string
	// Tools are files and folders of the machine that are seen at their own places, and can be read.
	Tools []string
	// Lower is what the workspace holds at first. It is not changed.
	Lower string
	// Upper takes what is changed in the workspace, Work is for the system's use. Both are empty and on the same file system.
	Upper, Work string
	// Home and Tmp are what the command has at those places.
	Home, Tmp string

	// Programs are the paths within the sandbox, one of which is executed: the first that is there.
	Programs []string
	Args     []string
	Env      []string
	// Cwd is the folder in which the command starts, relative to the workspace. It is made where it is missing.
	Cwd string
	// Network gives the command the machine's network.
	Network bool
	// Terminal makes the standard input the terminal that controls the command.
	Terminal bool
	// Limits of each process of the command, in bytes and numbers; zero is none.
	Limits Limits
}

// Limits are what the system holds for each process, or for all processes of a user.
type Limits struct {
	// MemoryBytes is how large the memory of a process may get.
	MemoryBytes int64
	// Processes is how many processes the user of the sandbox may have.
	Processes int64
	// CPUs is how many processors a process may run on.
	CPUs int
}

// Outcome is how a command ended.
type Outcome struct {
	Status syscall.WaitStatus
	// Duration is the time from the start of the command to its end.
	Duration time.Duration
	// UserTime, SystemTime and MaxRSSBytes are those of the command and of what it waited for.
	UserTime, SystemTime time.Duration
	MaxRSSBytes          int64
	// Workspace is the folder as the command left it. The folders of the Spec can be used again once it is closed.
	Workspace *os.File
}

// SetupError reports that the sandbox could not be made.
type SetupError struct {
	// Op is what was being done: "mount /proc".
	Op  string
	Err error
}

func (e *SetupError) Error() string { return e.Op + ": " + e.Err.Error() }

func (e *SetupError) Unwrap() error { return e.Err }

// CwdError reports that the folder that a command starts in cannot be made or is none.
type CwdError struct{ Err error }

func (e *CwdError) Error() string { return "enter the working folder: " + e.Err.Error() }

func (e *CwdError) Unwrap() error { return e.Err }

// ExecError reports that none of the programs could be executed.
type ExecError struct{ Err error }

func (e *ExecError) Error() string { return "execute the program: " + e.Err.Error() }

func (e *ExecError) Unwrap() error { return e.Err }

// RefusedError reports that this machine does not let the sandbox be made.
type RefusedError struct {
	// Why is part of a sentence, and so is Remedy, which is empty where there is none.
	Why, Remedy string
	Err         error
}

func (e *RefusedError) Error() string { return fmt.Sprintf("%s: %v", e.Why, e.Err) }

func (e *RefusedError) Unwrap() error { return e.Err }

// Owner is whom the folders and inputs of commands have to belong to, or -1 where that is who makes them.
func Owner() int {
	if actsAsRoot() {
		return Nobody
	}
	return -1
}
