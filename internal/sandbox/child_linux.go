//go:build linux && (amd64 || arm64)

package sandbox

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// call is a system call that a child makes. Where use is set the first argument is the result of the call before that had keep.
type call struct {
	nr                uintptr
	args              [6]uintptr
	keep, use, ignore bool
	name              string // what it is for, in messages
}

// child is a process that shares the memory of the helper. It executes calls and then either starts the other child and waits for it, or
// executes a program. Until it has ended nobody else may touch what is in here, and nothing in here may be written that holds a pointer.
type child struct {
	entry uintptr // of childMain; assembly expects it here

	calls  *call
	ncalls uintptr

	// Of an init: the child to start, its stack, and what became of it.
	command *child
	stack   uintptr
	done    bool
	status  int32
	begin   unix.Timespec
	end     unix.Timespec
	usage   unix.Rusage

	// Of a command: paths to try, and their arguments.
	paths  *uintptr
	npaths uintptr
	argv   uintptr
	envp   uintptr
	exec   bool

	// failed is the number of the call that failed, from 1 on, or of the calls and one where no program could be executed.
	failed uintptr
	errno  uintptr

	// Memory that system calls write to.
	info   [128]byte
	wait   int32
	waited unix.Rusage
	zero   unix.Timespec
	kept   uintptr
	none   uint64 // no signal
	all    uint64 // the signals that an init waits for
	action [32]byte
}

// rawClone starts a process that shares the memory of this one, on a stack of its own, in childMain.
func rawClone(flags, stack uintptr, p *child) (pid, errno uintptr)

// childMain is all that a child does. Like everything that it calls, it must not grow the stack, allocate, or write pointers: for the
// runtime the process does not exist.
//
//go:nosplit
//go:norace
//go:nocheckptr
func childMain(p *child) {
	if !makeCalls(p) {
		exit(126)
	}
	if p.exec {
		execute(p)
		exit(127)
	}
	if p.command == nil {
		exit(0)
	}
	unused(syscall.RawSyscall6(unix.SYS_CLOCK_GETTIME, unix.CLOCK_MONOTONIC, uintptr(unsafe.Pointer(&p.begin)), 0, 0, 0, 0))
	// The command is on its way when this returns, or has failed: it uses this memory no more.
	pid, errno := rawClone(unix.CLONE_VM|unix.CLONE_VFORK|uintptr(unix.SIGCHLD), p.stack, p.command)
	if errno != 0 {
		p.failed, p.errno = p.ncalls+1, errno
		exit(126)
	}
	unused(syscall.RawSyscall6(unix.SYS_CLOSE_RANGE, 0, 1<<31, 0, 0, 0, 0))
	reap(p, pid)
	exit(0)
}

//go:nosplit
//go:norace
func unused(_, _ uintptr, _ syscall.Errno) {}

//go:nosplit
//go:norace
func exit(code uintptr) {
	for {
		unused(syscall.RawSyscall6(unix.SYS_EXIT, code, 0, 0, 0, 0, 0))
	}
}

//go:nosplit
//go:norace
//go:nocheckptr
func makeCalls(p *child) bool {
	c := p.calls
	for i := uintptr(1); i <= p.ncalls; i++ {
		first := c.args[0]
		if c.use {
			first = p.kept
		}
		r, _, errno := syscall.RawSyscall6(c.nr, first, c.args[1], c.args[2], c.args[3], c.args[4], c.args[5])
		if errno != 0 && !c.ignore {
			p.failed, p.errno = i, uintptr(errno)
			return false
		}
		if c.keep {
			p.kept = r
		}
		c = (*call)(unsafe.Add(unsafe.Pointer(c), unsafe.Sizeof(*c)))
	}
	return true
}

// execute tries the programs. Only the first that is there counts, but for those that may not be executed, as a shell has it. A program
// that was written a moment ago may be held open by somebody for an instant.
//
//go:nosplit
//go:norace
//go:nocheckptr
func execute(p *child) {
	for i := uintptr(1); i <= 64; i++ {
		unused(syscall.RawSyscall6(unix.SYS_RT_SIGACTION, i, uintptr(unsafe.Pointer(&p.action)), 0, 8, 0, 0))
	}
	unused(syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&p.none)), 0, 8, 0, 0))
	path, worst := p.paths, uintptr(unix.ENOENT)
	for range p.npaths {
		var errno syscall.Errno
		for range 1000 {
			_, _, errno = syscall.RawSyscall6(unix.SYS_EXECVE, *path, p.argv, p.envp, 0, 0, 0)
			if errno != unix.ETXTBSY {
				break
			}
			p.zero.Nsec = 1_000_000
			unused(syscall.RawSyscall6(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&p.zero)), 0, 0, 0, 0, 0))
		}
		if errno == unix.EACCES {
			worst = uintptr(errno)
		} else if errno != unix.ENOENT && errno != unix.ENOTDIR || p.npaths == 1 {
			worst = uintptr(errno)
			break
		}
		path = (*uintptr)(unsafe.Add(unsafe.Pointer(path), unsafe.Sizeof(*path)))
	}
	// Not before: where a program is executed nobody is there to take it back.
	p.failed, p.errno = p.ncalls+1, worst
}

// reap waits until the process pid has ended, and for every other that ends. It passes on the signals that come from the helper, whose
// process has no number here, to the group of pid.
//
//go:nosplit
//go:norace
//go:nocheckptr
func reap(p *child, pid uintptr) {
	for {
		signal, _, errno := syscall.RawSyscall6(unix.SYS_RT_SIGTIMEDWAIT, uintptr(unsafe.Pointer(&p.all)), uintptr(unsafe.Pointer(&p.info)), 0, 8, 0, 0)
		if errno != 0 {
			continue
		}
		if signal != uintptr(unix.SIGCHLD) {
			if *(*int32)(unsafe.Pointer(&p.info[16])) == 0 { // si_pid
				unused(syscall.RawSyscall6(unix.SYS_KILL, -pid, signal, 0, 0, 0, 0))
			}
			continue
		}
		for {
			ended, _, errno := syscall.RawSyscall6(unix.SYS_WAIT4, ^uintptr(0), uintptr(unsafe.Pointer(&p.wait)), unix.WNOHANG|unix.WALL, uintptr(unsafe.Pointer(&p.waited)), 0, 0)
			if errno != 0 || ended == 0 {
				break
			}
			if ended == pid {
				unused(syscall.RawSyscall6(unix.SYS_CLOCK_GETTIME, unix.CLOCK_MONOTONIC, uintptr(unsafe.Pointer(&p.end)), 0, 0, 0, 0))
				p.status, p.usage, p.done = p.wait, p.waited, true
				return
			}
		}
	}
}
