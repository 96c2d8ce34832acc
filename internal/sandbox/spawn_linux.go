//go:build linux && (amd64 || arm64)

package sandbox

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	stackSize = 64 << 10
	// cwdOp is the call that enters the working folder.
	cwdOp = "enter the working folder"
)

// program is what the children of one command execute, with all the memory that they use.
type program struct {
	init         *child
	command      *child // nil where there is none
	flags        uintptr
	initCalls    []call
	commandCalls []call
	paths        []uintptr
	stacks       []byte
	kept         []any // what is referred to by number only
}

func (p *program) free() { _ = unix.Munmap(p.stacks) }

// text returns the address of s, with a NUL at its end.
func (p *program) text(s string) uintptr {
	b := append([]byte(s), 0)
	p.kept = append(p.kept, b)
	return uintptr(unsafe.Pointer(&b[0]))
}

// list returns the address of a list of texts, with a zero at its end.
func (p *program) list(texts []string) uintptr {
	l := make([]uintptr, 0, len(texts)+1)
	for _, s := range texts {
		l = append(l, p.text(s))
	}
	l = append(l, 0)
	p.kept = append(p.kept, l)
	return uintptr(unsafe.Pointer(&l[0]))
}

// place returns the address of *v.
func place[T any](p *program, v *T) uintptr {
	p.kept = append(p.kept, v)
	return uintptr(unsafe.Pointer(v))
}

// setUp adds calls of the init.
func (p *program) setUp(calls ...call) { p.initCalls = append(p.initCalls, calls...) }

// before adds calls of the command, which it makes before it executes a program.
func (p *program) before(calls ...call) { p.commandCalls = append(p.commandCalls, calls...) }

func do(name string, nr uintptr, args ...uintptr) call {
	c := call{name: name, nr: nr}
	copy(c.args[:], args)
	return c
}

func ignoring(c call) call { c.ignore = true; return c }
func keeping(c call) call  { c.keep = true; return c }
func using(c call) call    { c.use = true; return c }

const (
	here       = ^uintptr(99) // AT_FDCWD
	namespaces = unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS
)

// prepare makes the program of a command whose own mounts are m, and whose files are fds.
func (m machine) prepare(r *request, mounts mounts, fds []int) *program {
	s := r.Spec
	p := &program{init: &child{}, flags: unix.CLONE_VM | namespaces | uintptr(unix.SIGCHLD)}
	p.keep(append(mounts.fds(), fds...))
	p.mount(mounts)
	p.setUp(
		do("set the umask", unix.SYS_UMASK, 0o022),
		ignoring(do("leave the keys", unix.SYS_KEYCTL, unix.KEYCTL_JOIN_SESSION_KEYRING, 0)),
		do("enter the workspace", unix.SYS_CHDIR, p.text(Workspace)),
	)
	m.drop(p)
	p.enter(s.Cwd)
	p.init.all = 1<<(unix.SIGCHLD-1) | 1<<(unix.SIGTERM-1) | 1<<(unix.SIGINT-1) | 1<<(unix.SIGHUP-1)
	if !r.Check {
		p.command = &child{exec: true}
		m.start(p, s, fds)
	}
	p.link()
	return p
}

// link makes the children refer to their calls.
func (p *program) link() {
	main := childMain
	entry := **(**uintptr)(unsafe.Pointer(&main))
	p.init.entry = entry
	p.init.calls, p.init.ncalls = &p.initCalls[0], uintptr(len(p.initCalls))
	if p.command != nil {
		p.init.command, p.command.entry = p.command, entry
		p.command.calls, p.command.ncalls = &p.commandCalls[0], uintptr(len(p.commandCalls))
	}
}

// keep has the init close all files but the standard ones and fds: it has copies of those of the helper, and with them of what other commands have mounted.
func (p *program) keep(fds []int) {
	slices.Sort(fds)
	next := 3
	for _, fd := range append(fds, math.MaxInt32) {
		if fd > next {
			p.setUp(do("close the other files", unix.SYS_CLOSE_RANGE, uintptr(next), uintptr(fd-1), 0))
		}
		next = max(next, fd+1)
	}
}

func (p *program) mount(m mounts) {
	none := p.text("")
	for _, at := range []struct {
		fd   int
		path string
	}{{m.workspace, Workspace}, {m.tmp, Tmp}, {m.home, Home}} {
		p.setUp(do("mount "+at.path, unix.SYS_MOVE_MOUNT, uintptr(at.fd), none, here, p.text(at.path), unix.MOVE_MOUNT_F_EMPTY_PATH))
	}
	for _, t := range m.tools {
		if t.fd >= 0 {
			p.setUp(do("mount "+t.path, unix.SYS_MOVE_MOUNT, uintptr(t.fd), none, here, p.text(t.path), unix.MOVE_MOUNT_F_EMPTY_PATH))
		}
	}
	tmpfs, proc, devpts := p.text("tmpfs"), p.text("proc"), p.text("devpts")
	p.setUp(
		do("mount /dev/shm", unix.SYS_MOUNT, tmpfs, p.text("/dev/shm"), tmpfs, unix.MS_NOSUID|unix.MS_NODEV, p.text("mode=1777")),
		do("mount /dev/pts", unix.SYS_MOUNT, devpts, p.text("/dev/pts"), devpts, unix.MS_NOSUID|unix.MS_NOEXEC, p.text("newinstance,ptmxmode=0666,mode=620")),
		do("mount /proc", unix.SYS_MOUNT, proc, p.text("/proc"), proc, unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, 0),
	)
}

// drop gives up everything that the helper may.
func (m machine) drop(p *program) {
	p.setUp(do("give up new privileges", unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
	for c := uintptr(0); c <= m.lastCap; c++ {
		p.setUp(do("drop a capability", unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, c, 0, 0, 0))
	}
	if m.root {
		p.setUp(
			do("keep capabilities", unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, 1, 0, 0, 0),
			do("leave the groups", unix.SYS_SETGROUPS, 0, 0),
			do("set the group", unix.SYS_SETRESGID, UID, UID, UID),
			do("set the user", unix.SYS_SETRESUID, UID, UID, UID),
		)
	}
	header := &unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	p.setUp(
		do("clear the capabilities", unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0),
		do("clear the capabilities", unix.SYS_CAPSET, place(p, header), place(p, guarded())),
		// The system may have taken it back with the change of the user (fs.suid_dumpable).
		do("hide the memory", unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 0, 0, 0, 0),
	)
}

// guarded are the capabilities of an init: one that is good for nothing in a user namespace. A process is not let at the memory of one that may do
// more than itself, whatever the system's settings, and that of the init is the helper's.
func guarded() *[2]unix.CapUserData {
	return &[2]unix.CapUserData{1: {Permitted: 1 << (unix.CAP_WAKE_ALARM - 32)}}
}

// enter makes the folder cwd of the workspace, and enters it unless it is elsewhere.
func (p *program) enter(cwd string) {
	if cwd == "" {
		return
	}
	for i := range cwd {
		if cwd[i] == '/' {
			p.setUp(ignoring(do(cwdOp, unix.SYS_MKDIRAT, here, p.text(cwd[:i]), 0o777)))
		}
	}
	how := &unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH}
	p.setUp(
		ignoring(do(cwdOp, unix.SYS_MKDIRAT, here, p.text(cwd), 0o777)),
		keeping(do(cwdOp, unix.SYS_OPENAT2, here, p.text(cwd), place(p, how), unsafe.Sizeof(*how))),
		using(do(cwdOp, unix.SYS_FCHDIR, 0)),
	)
}

// start prepares the command.
func (m machine) start(p *program, s *Spec, fds []int) {
	one := p.text("0")
	for _, fd := range fds[3:] {
		p.before(do("enter a control group", unix.SYS_WRITE, uintptr(fd), one, 1))
	}
	p.before(
		do("die with the sandbox", unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0),
		do("make a session", unix.SYS_SETSID),
		do("clear the capabilities", unix.SYS_CAPSET, place(p, &unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}), place(p, &[2]unix.CapUserData{})),
	)
	for i := range 3 {
		p.pass(fds[i], i)
	}
	if s.Terminal {
		p.before(do("take the terminal", unix.SYS_IOCTL, 0, unix.TIOCSCTTY, 0))
	}
	p.before(do("close the other files", unix.SYS_CLOSE_RANGE, 3, 1<<31, 0))
	m.limit(p, s.Limits)
	for _, path := range s.Programs {
		p.paths = append(p.paths, p.text(path))
	}
	if len(p.paths) > 0 {
		p.command.paths, p.command.npaths = &p.paths[0], uintptr(len(p.paths))
	}
	p.command.argv, p.command.envp = p.list(s.Args), p.list(s.Env)
}

// pass makes the file fd of the program the file i of the command. For the null device it is that of the sandbox: through the machine's
// own its times could be set.
func (p *program) pass(fd, i int) {
	if !isNull(fd) {
		p.before(do("pass on a file", unix.SYS_DUP3, uintptr(fd), uintptr(i), 0))
		return
	}
	p.before(
		keeping(do("open /dev/null", unix.SYS_OPENAT, here, p.text("/dev/null"), unix.O_RDWR|unix.O_CLOEXEC)),
		using(do("pass on a file", unix.SYS_DUP3, 0, uintptr(i), 0)),
	)
}

func isNull(fd int) bool {
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == unix.Mkdev(1, 3)
}

// softFiles is how many files a command may have open before it asks for more: what most systems give.
const softFiles = 1024

func (m machine) limit(p *program, l Limits) {
	set := func(resource, soft, hard uint64) {
		p.before(do("set a limit", unix.SYS_PRLIMIT64, 0, uintptr(resource), place(p, &unix.Rlimit{Cur: soft, Max: hard}), 0))
	}
	set(unix.RLIMIT_NOFILE, min(softFiles, m.files), m.files)
	set(unix.RLIMIT_CORE, 0, 0)
	for _, r := range l.ofProcesses() {
		lower := lowered(r.resource, r.max)
		set(uint64(r.resource), lower.Cur, lower.Max)
	}
	if l.CPUs > 0 {
		if set := firstCPUs(l.CPUs); set != nil {
			p.before(do("choose processors", unix.SYS_SCHED_SETAFFINITY, 0, unsafe.Sizeof(*set), place(p, set)))
		}
	}
}

// spawnJob asks a spawner to start the init of a command in a template.
type spawnJob struct {
	template *template
	network  *network // nil for that of the machine
	program  *program
	result   chan spawned
}

type spawned struct {
	pid int
	err error
}

// spawn starts the init and returns its number.
func (h *helper) spawn(t *template, n *network, p *program) (int, error) {
	stacks, err := unix.Mmap(-1, 0, stackSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_STACK)
	if err != nil {
		return 0, fmt.Errorf("make a stack: %w", err)
	}
	p.stacks = stacks
	p.init.stack = top(stacks[:stackSize/2])
	job := spawnJob{t, n, p, make(chan spawned)}
	if n == nil {
		h.networked <- job
	} else {
		h.spawners <- job
	}
	s := <-job.result
	if s.err != nil {
		p.free()
	}
	return s.pid, s.err
}

// top returns where a stack begins, with room for the argument of childMain.
func top(stack []byte) uintptr { return uintptr(unsafe.Pointer(&stack[0])) + uintptr(len(stack)) - 64 }

// spawner starts children, from a thread that goes from template to template.
func spawner(jobs <-chan spawnJob) {
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		for job := range jobs {
			job.result <- spawned{err: err}
		}
	}
	var at *template
	for job := range jobs {
		if at != job.template {
			if err := unix.Setns(job.template.fd, unix.CLONE_NEWNS); err != nil {
				job.result <- spawned{err: fmt.Errorf("enter the template: %w", err)}
				continue
			}
			at = job.template
		}
		if job.network != nil {
			if err := unix.Setns(job.network.fd, unix.CLONE_NEWNET); err != nil {
				job.result <- spawned{err: fmt.Errorf("enter the network: %w", err)}
				continue
			}
		}
		pid, errno := cloneInit(job.program.flags, top(job.program.stacks), job.program.init)
		if errno != 0 {
			job.result <- spawned{err: syscall.Errno(errno)}
			continue
		}
		job.result <- spawned{pid: int(pid)}
	}
}

// cloneInit starts a child that gets no signals: the runtime of this process would handle them in it.
//
//go:nosplit
//go:norace
//go:nocheckptr
func cloneInit(flags, stack uintptr, p *child) (pid, errno uintptr) {
	var before uint64
	every := ^uint64(0)
	unused(syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&every)), uintptr(unsafe.Pointer(&before)), 8, 0, 0))
	pid, errno = rawClone(flags, stack, p)
	unused(syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&before)), 0, 8, 0, 0))
	return pid, errno
}
