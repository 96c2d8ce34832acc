package escapetest

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/towpath/towpath/internal/executor"
)

// numbers are those of processes that a step has nothing to do with.
func numbers(m *machine) []string {
	return []string{strconv.Itoa(m.victim.Process.Pid), strconv.Itoa(m.neighbour), strconv.Itoa(os.Getpid()), strconv.Itoa(os.Getppid()), strconv.Itoa(unix.Getpgrp())}
}

// each makes an attempt at every process of a list, none of which may succeed.
func each(do func(pid int) error) func([]string) error {
	return func(args []string) error {
		err := fmt.Errorf("no process was named")
		for _, arg := range args {
			pid, convErr := strconv.Atoi(arg)
			if convErr != nil {
				return convErr
			}
			if pid <= 1 {
				continue // the number means another process here
			}
			if err = do(pid); err == nil {
				return nil
			}
		}
		return err
	}
}

// first makes an attempt at the first process of the step.
func first(do func(pid int) error) func([]string) error {
	return func([]string) error { return do(1) }
}

func readMemory(pid int) error {
	buf := make([]byte, 8)
	local := []unix.Iovec{{Base: &buf[0]}}
	local[0].SetLen(len(buf))
	_, err := unix.ProcessVMReadv(pid, local, []unix.RemoteIovec{{Base: uintptr(unsafe.Pointer(&buf[0])), Len: len(buf)}}, 0)
	return err
}

func getFile(pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return err
	}
	_, err = unix.PidfdGetfd(fd, 0, 0)
	return err
}

func openOf(pid int, names ...string) error {
	err := fmt.Errorf("nothing was named")
	for _, name := range names {
		path := fmt.Sprintf("/proc/%d/%s", pid, name)
		var fd int
		if fd, err = unix.Open(path, unix.O_RDONLY, 0); err == nil {
			buf := make([]byte, 16)
			n, readErr := unix.Read(fd, buf)
			if n > 0 || readErr == unix.EISDIR {
				return nil
			}
			err = fmt.Errorf("%s is empty: %w", path, unix.EACCES)
		}
	}
	return err
}

const none = "no such process"

// processes are attempts on processes of the machine and on the first of the step's own.
func processes() []attempt {
	const denied = "permission denied|not permitted"
	return []attempt{
		{name: "kill processes of the machine", probe: each(func(pid int) error { return unix.Kill(pid, unix.SIGKILL) }), args: numbers, says: none},
		{name: "kill process groups of the machine", probe: each(func(pid int) error { return unix.Kill(-pid, unix.SIGKILL) }), args: numbers, says: none},
		{name: "trace processes of the machine", probe: each(unix.PtraceAttach), args: numbers, says: none},
		{name: "read the memory of processes of the machine", probe: each(readMemory), args: numbers, says: none},
		{name: "hold processes of the machine", probe: each(func(pid int) error { _, err := unix.PidfdOpen(pid, 0); return err }), args: numbers, says: none},
		{name: "see processes of the machine", probe: each(func(pid int) error { return openOf(pid, "cmdline", "stat") }), args: numbers, says: absent},
		{name: "read the environment of another step", probe: each(func(pid int) error { return openOf(pid, "environ") }), args: numbers, says: absent},
		{name: "change the priority of processes of the machine", probe: each(func(pid int) error { return unix.Setpriority(unix.PRIO_PROCESS, pid, 19) }), args: numbers, says: none},
		{name: "change the priority of all processes of the user", probe: func([]string) error { return unix.Setpriority(unix.PRIO_USER, 0, 5) }, says: denied},
		{name: "change the limits of processes of the machine", probe: each(func(pid int) error {
			return unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{}, nil)
		}), args: numbers, says: none},
		{name: "kill everything", sh: `kill -9 -1; exit 0`},
		{name: "kill its own group", sh: `trap "" TERM; kill -TERM 0; exit 0`},
		{name: "stop the first process", probe: func([]string) error {
			for _, s := range []syscall.Signal{unix.SIGKILL, unix.SIGSTOP, unix.SIGSEGV, unix.SIGCHLD, unix.SIGUSR1} {
				if err := unix.Kill(1, s); err != nil {
					return nil //nolint:nilerr // being refused is as good as nothing happening
				}
			}
			return nil
		}},
		{name: "trace the first process", probe: first(unix.PtraceAttach), says: denied},
		{name: "seize the first process as a nested superuser", nested: unix.CLONE_NEWNS, probe: first(unix.PtraceAttach), says: denied},
		{name: "read the memory of the first process", probe: first(readMemory), says: denied},
		{name: "take a file of the first process", probe: first(getFile), says: denied},
		{name: "read what the first process is", probe: first(func(pid int) error { return openOf(pid, "environ", "mem", "maps", "auxv", "stack", "syscall") }), says: denied},
		{name: "go through the first process", probe: first(func(pid int) error {
			return openOf(pid, "root", "cwd", "exe", "fd/0", "fd/3", "fd", "ns/mnt", "map_files")
		}), says: denied},
		{name: "go through the first process as a nested superuser", nested: unix.CLONE_NEWNS | unix.CLONE_NEWPID, probe: first(func(pid int) error {
			return openOf(pid, "root/etc/shadow", "cwd/etc/shadow", "fd/3", "ns/mnt", "mem")
		}), says: denied},
		{name: "write to the memory of the first process", probe: first(func(pid int) error {
			fd, err := unix.Open(fmt.Sprintf("/proc/%d/mem", pid), unix.O_RDWR, 0)
			if err != nil {
				return err
			}
			return unix.Close(fd)
		}), says: denied},
		{name: "become somebody else", probe: func([]string) error {
			for _, id := range []int{0, 1, 65534} {
				if unix.Setresuid(id, id, id) == nil || unix.Setresgid(id, id, id) == nil || unix.Setgroups([]int{id}) == nil {
					return nil
				}
			}
			return unix.Setuid(0)
		}, says: "not permitted|invalid argument"},
		{name: "gain by programs that are set-user-ID", sh: `grep -q "NoNewPrivs:.1" /proc/self/status || exit 0
su root -c id </dev/null && exit 0; mount -t tmpfs none /tmp && exit 0; sudo -n id && exit 0; echo refused; exit 1`, says: "refused"},
		{name: "gain by a tool that is set-user-ID", tool: true, args: func(m *machine) []string { return []string{m.tool} },
			sh: `test "$("$1" -u) $("$1" -g)" != "1000 1000" || { echo nothing is gained; exit 1; }`, says: "nothing is gained"},
		{name: "have capabilities", sh: `grep -E '^Cap(Inh|Prm|Eff|Bnd|Amb):' /proc/self/status | grep -v '0000000000000000$' || { echo there are none; exit 1; }`, says: "there are none"},
		{name: "give a file capabilities", probe: func([]string) error {
			if err := os.WriteFile("f", nil, 0o755); err != nil {
				return err
			}
			return unix.Setxattr("f", "security.capability", []byte{1, 0, 0, 2, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 0)
		}, says: "not permitted"},
		{name: "give a file away", sh: `touch f; chown 0 f || chgrp 0 f || chown 65534 f || chgrp 5 f`, says: "not permitted|[Ii]nvalid argument"},
		{name: "push characters into a terminal", probe: func([]string) error {
			for fd := range 3 {
				c := byte('x')
				if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCSTI, uintptr(unsafe.Pointer(&c))); errno == 0 {
					return nil
				}
			}
			_, err := unix.Open("/dev/tty", unix.O_RDWR, 0)
			return err
		}, says: "no such device"},
	}
}

// resources are attempts to use more than the limits allow.
func resources() []attempt {
	return []attempt{
		{name: "start more processes than allowed", limits: executor.Limits{PIDs: 24}, exceeded: "pids",
			sh: `i=0; while [ $i -lt 200 ]; do sleep 1000000 & i=$((i+1)); done; kill 0`},
		{name: "use more memory than allowed", limits: executor.Limits{MemoryBytes: 64 << 20}, exceeded: "memory",
			sh: `head -c 300000000 /dev/zero | tail -c 200000000 >/dev/null; x=$(head -c 200000000 /dev/zero | tr '\0' x); test ${#x} = 200000000`},
		{name: "make a larger output than allowed", limits: executor.Limits{OutputBytes: 1 << 20}, exceeded: "output",
			sh: `truncate -s 1T out`, outputs: []string{"out"}},
		{name: "make many outputs that are larger than allowed", limits: executor.Limits{OutputBytes: 1 << 20}, exceeded: "output",
			sh: `mkdir out; for i in 1 2 3 4 5; do head -c 500000 /dev/zero >out/$i; done`, outputs: []string{"out"}},
		{name: "raise its limits", limits: executor.Limits{MemoryBytes: 1 << 40}, probe: func([]string) error {
			if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: 1 << 40, Max: 1 << 40}); err == nil {
				return nil
			}
			return unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1 << 30, Max: 1 << 30})
		}, says: "not permitted"},
		{name: "raise its priority", probe: func([]string) error { return unix.Setpriority(unix.PRIO_PROCESS, 0, -20) }, says: "permission denied|not permitted"},
		{name: "run in real time", probe: func([]string) error {
			param := int32(50)
			_, _, errno := unix.Syscall(unix.SYS_SCHED_SETSCHEDULER, 0, 1, uintptr(unsafe.Pointer(&param)))
			if errno == 0 {
				return nil
			}
			if _, _, errno = unix.Syscall(unix.SYS_IOPRIO_SET, 1, 0, 1<<13); errno == 0 {
				return nil
			}
			return errno
		}, says: "not permitted"},
		{name: "leave a core", sh: `sh -c 'kill -SEGV $$'; ls | grep core && exit 0; echo there is none; exit 1`, says: "there is none",
			outside: func(t *testing.T, m *machine, _ outcome) {
				if found, _ := os.ReadDir(m.top); len(found) == 0 {
					t.Error("the folder of the test is empty")
				}
			}},
		{name: "leave its control group", sh: `mkdir -p c && for t in cgroup cgroup2; do mount -t $t none c && exit 0; done; ls /sys/fs/cgroup`, says: absent},
	}
}
