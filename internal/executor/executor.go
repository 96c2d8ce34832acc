// Package executor holds the contract between the engine and whatever runs a command: what an action is, what running one
// means, and how it can end.
//
// Implementations live in rooms below it (local, fake, …) and are held to the contract by the suite in executortest. Nothing
// here knows what a stage is, which actions are cached, or when one is tried again: an executor runs what it is given, once.
package executor

import (
	"context"
	"io"
	"time"

	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/tree"
)

// Executor runs actions. All methods are safe for concurrent use, and concurrent executions do not see each other, not even
// of equal actions.
//
// # The workspace
//
// Every execution has a fresh workspace that holds the input root of the action and nothing else. The folder Command.Cwd is
// made where it is missing, and the command starts there. The command may change everything in the workspace, its inputs as
// well; neither the store nor another execution sees that. What is left in the workspace is gone when Execute returns,
// whatever the permissions of what is in it.
//
// # The environment
//
// The command sees the variables of Command.Env, which NewAction has completed by BaseEnv, and two more:
//
//   - HOME and TMPDIR are two empty folders, private to this execution, outside the workspace and gone with it. They are
//     not part of the action: outside of a sandbox they differ from one execution to the next.
//
// Nothing is inherited from the engine: no variable (CI is not set either), no open file but the three standard ones.
// Standard input is empty. Windows adds SYSTEMROOT, without which programs do not start.
//
// # Isolation
//
// Where Isolation is "sandbox" the command sees the workspace, its two folders, the machine's toolchain and Command.Tools, and nothing else
// of the machine. Then, and only then:
//
//   - the workspace is /workspace, HOME is /home/step and TMPDIR is /tmp, for every execution; the host is called towpath, the umask is
//     022, and the command is user and group 1000 without privileges;
//   - there is no network but a loopback interface of its own, unless Command.Network is set;
//   - Command.Root takes the place of the toolchain, and cannot be changed by the command. Any other executor refuses an action that has one;
//   - Command.Tools can be run from where they are on the machine;
//   - Command.Limits are held. Where the machine lets CPUs, MemoryBytes and PIDs be held for all processes together, a command that has met
//     one of the latter two has that in Result.Exceeded, also where it went on and ended well. Where not, they are held for each process, which
//     has to deal with that itself, and Gaps says so. OutputBytes is always held as it is defined: who prints more is killed, and outputs
//     that take more are not stored.
//
// Where it is another, limits are held as far as Gaps does not say otherwise.
//
// # The command
//
// An Args[0] without a slash is looked up in the PATH of the action; any other is relative to the folder in which the
// command starts. Where no such program can be started the error is a *CommandNotFoundError.
//
// What the command writes goes to Options.Stdout and Options.Stderr as it is written, without waiting for a whole line or
// buffer. When Execute returns, nothing is written to them any more. A process that the command leaves behind is killed once
// the command itself has ended, and does not keep Execute from returning.
//
// # The end
//
// A command that ended is a Result, not an error, whatever its exit code. Only where Options.Accept takes the exit code are
// the outputs captured and stored, without Flush: that is for who refers to them. A command that was ended by a signal has
// no exit code that could be accepted.
//
// Outputs are paths or globs, relative to the workspace. Each path that names nothing, and each glob that matches nothing,
// is in Result.Missing, which is no error here. Symbolic links are captured as such and never followed, so a path through
// one names nothing. An output that cannot be captured faithfully is an *OutputError: above all a symbolic link that leads
// out of the workspace.
//
// # Errors
//
// Everything else is an error, and the type says whose it is, since retries and caching depend on the difference:
//
//   - the error of ctx, wrapped, once ctx has ended: the command and everything that it started have been told to end, and
//     then been killed;
//   - *InvalidError: this action cannot be run here, for one because it asks for another isolation;
//   - *MissingInputError: an input is not in the store or is damaged; who made it has to make it again;
//   - *CommandNotFoundError and *OutputError: the step is wrong;
//   - *InfrastructureError: the machine failed and not the step, which may well succeed at another time or place.
type Executor interface {
	// Name tells users which executor this is: "local".
	Name() string

	// Isolation names how far commands are kept from what they do not declare. It is part of every action (see Platform), so
	// that results of one kind are never taken for those of another. An executor refuses actions of another kind.
	Isolation() string

	// Gaps lists what this machine does not let the executor enforce, the gravest first; nil where it enforces everything that
	// its isolation says.
	Gaps() []Gap

	// Execute runs the action once and returns when it has ended and is cleaned up. Result holds what is known even where
	// there is an error.
	Execute(ctx context.Context, a Action, o Options) (Result, error)
}

// Gap is something that an executor would enforce and cannot on this machine. Each field is a part of a sentence, without a full stop.
type Gap struct {
	// What is not enforced: "steps see the machine's files, network and processes".
	What string
	// Why not: "the system refuses user namespaces (kernel.apparmor_restrict_unprivileged_userns is 1)".
	Why string
	// Remedy is what to do about it: "run `sysctl …`"; empty where there is nothing to do.
	Remedy string
	// Weak tells that it weakens the isolation of every step, so that a run has to say so.
	Weak bool
}

// Sheller is implemented by executors that can show a person what the command of an action sees.
type Sheller interface {
	// Shell runs args interactively where the command of a would run: with its root, its inputs, its variables, in its working
	// folder, within its limits except for the one of outputs, and returns the exit code. Empty args stand for a shell. What is changed is gone when it returns.
	Shell(ctx context.Context, a Action, args []string, t Terminal) (exitCode int, err error)
}

// Terminal is what a person types at and reads.
type Terminal struct {
	In       io.Reader
	Out, Err io.Writer
}

// Options are what an execution depends on besides the action, and what its result does not.
type Options struct {
	// Stdout and Stderr take what the command writes; nil drops it. Each is written to by one goroutine at a time; where
	// both are the same writer it has to be safe for concurrent use. An error of theirs ends the execution with an
	// *InfrastructureError.
	Stdout, Stderr io.Writer

	// Accept tells which exit codes are a success. Nil accepts only 0.
	Accept func(exitCode int) bool
}

// Accepts tells whether an exit code is a success.
func (o Options) Accepts(exitCode int) bool {
	if o.Accept == nil {
		return exitCode == 0
	}
	return o.Accept(exitCode)
}

// Result is how a command ended.
type Result struct {
	// ExitCode is the exit code of the command, or 128 and the number of the signal that ended it, as a shell has it.
	ExitCode int
	// Signal is the name of that signal ("SIGSEGV"), or empty.
	Signal string
	// Exceeded names the limit that the command has met: "memory", "pids", "output"; empty where none did. Nothing is accepted then.
	Exceeded string
	// Accepted tells that the exit code was accepted and the outputs were captured.
	Accepted bool

	// Entries are the outputs, one for each path that was declared or matched, sorted by path.
	Entries []tree.Entry
	// Root is the directory of all of them.
	Root digest.Digest
	// Missing are the declared outputs that are not there, in the order of Command.Outputs.
	Missing []string

	// Duration is the time from the start of the command to its end, without what is done before and after.
	Duration time.Duration
	// UserTime, SystemTime and MaxRSSBytes are those of the command and what it waited for; zero where they are not known.
	UserTime, SystemTime time.Duration
	MaxRSSBytes          int64
}
