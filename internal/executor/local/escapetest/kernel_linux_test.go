package escapetest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// raw makes a system call.
func raw(nr uintptr, args ...uintptr) error {
	var a [6]uintptr
	copy(a[:], args)
	if _, _, errno := unix.Syscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5]); errno != 0 {
		return errno
	}
	return nil
}

func rawProbe(nr uintptr, args ...uintptr) func([]string) error {
	return func([]string) error { return raw(nr, args...) }
}

func writeTo(paths ...string) func([]string) error {
	return func([]string) error {
		err := errors.New("nothing was named")
		for _, path := range paths {
			var f *os.File
			if f, err = os.OpenFile(path, os.O_WRONLY, 0); err == nil {
				_, err = f.WriteString("1")
				f.Close()
				if err == nil {
					return nil
				}
			}
		}
		return err
	}
}

const notPermitted = "not permitted|[Pp]ermission denied|not implemented"

// kernel are attempts to change or to ask the system itself.
func kernel() []attempt {
	return []attempt{
		{name: "change settings of the system", probe: writeTo("/proc/sys/kernel/core_pattern", "/proc/sys/vm/drop_caches", "/proc/sys/kernel/hostname",
			"/proc/sys/net/ipv4/ip_forward", "/proc/sys/kernel/modprobe", "/proc/sys/fs/binfmt_misc/register"), says: notPermitted + "|" + unchangeable + "|" + absent},
		{name: "press system request keys", probe: writeTo("/proc/sysrq-trigger"), says: notPermitted + "|" + absent},
		{name: "read the memory of the system", probe: func([]string) error {
			for _, path := range []string{"/proc/kcore", "/proc/kmsg", "/proc/kpagecount", "/proc/iomem"} {
				b := make([]byte, 4096)
				f, err := os.Open(path)
				if err != nil {
					continue
				}
				n, _ := f.Read(b)
				if text := string(b[:n]); path != "/proc/iomem" && n > 0 || strings.Contains(text, "Kernel code") && !strings.Contains(text, "00000000-00000000") {
					return nil
				}
			}
			return unix.EPERM
		}, says: notPermitted},
		{name: "read the log of the system", probe: func([]string) error {
			_, err := unix.Klogctl(unix.SYSLOG_ACTION_READ_ALL, make([]byte, 4096))
			return err
		}, says: notPermitted},
		{name: "set the clock", probe: func([]string) error {
			now := unix.Timespec{}
			if err := unix.ClockGettime(unix.CLOCK_REALTIME, &now); err != nil {
				return err
			}
			return unix.ClockSettime(unix.CLOCK_REALTIME, &now)
		}, says: notPermitted},
		{name: "set the clock as a nested superuser", nested: unix.CLONE_NEWNS | unix.CLONE_NEWUTS, probe: func([]string) error {
			now := unix.Timespec{}
			if err := unix.ClockGettime(unix.CLOCK_REALTIME, &now); err != nil {
				return err
			}
			return unix.ClockSettime(unix.CLOCK_REALTIME, &now)
		}, says: notPermitted},
		{name: "change the host name", probe: func([]string) error { return unix.Sethostname([]byte("escaped")) }, says: notPermitted},
		{name: "change the host name as a nested superuser", nested: unix.CLONE_NEWNS, probe: func([]string) error { return unix.Sethostname([]byte("escaped")) }, says: notPermitted},
		{name: "change the host name of a nested namespace", nested: unix.CLONE_NEWUTS, probe: func([]string) error { return unix.Sethostname([]byte("escaped")) }},
		{name: "load a module", probe: func([]string) error { return unix.InitModule([]byte{0}, "") }, says: notPermitted},
		{name: "load a module as a nested superuser", nested: unix.CLONE_NEWNS, probe: func([]string) error { return unix.InitModule([]byte{0}, "") }, says: notPermitted},
		{name: "turn off control-alt-delete", probe: func([]string) error { return unix.Reboot(unix.LINUX_REBOOT_CMD_CAD_OFF) }, says: notPermitted},
		{name: "swap to a file", probe: func([]string) error {
			if err := os.WriteFile("swap", make([]byte, 1<<16), 0o600); err != nil {
				return err
			}
			path := []byte("/workspace/swap\x00")
			return raw(unix.SYS_SWAPON, uintptr(unsafe.Pointer(&path[0])), 0)
		}, says: notPermitted},
		{name: "account for processes", probe: func([]string) error { return unix.Acct("/workspace/in/data") }, says: notPermitted},
		{name: "load a program into the system", probe: loadBPF, says: notPermitted},
		{name: "watch all processors", probe: func([]string) error {
			_, err := unix.PerfEventOpen(&unix.PerfEventAttr{Type: unix.PERF_TYPE_SOFTWARE, Config: unix.PERF_COUNT_SW_CPU_CLOCK, Size: unix.PERF_ATTR_SIZE_VER0}, -1, 0, -1, 0)
			return err
		}, says: notPermitted + "|" + absent},
		{name: "handle faults of the system", probe: rawProbe(unix.SYS_USERFAULTFD, unix.O_CLOEXEC), says: notPermitted},
		{name: "make rings of the system", probe: func([]string) error {
			params := make([]byte, 120)
			return raw(unix.SYS_IO_URING_SETUP, 4, uintptr(unsafe.Pointer(&params[0])))
		}, says: notPermitted},
		{name: "find keys of the user", probe: findKey(unix.KEY_SPEC_USER_KEYRING), says: "not available|" + notPermitted},
		{name: "find keys of the session", probe: findKey(unix.KEY_SPEC_SESSION_KEYRING), says: "not available|" + notPermitted},
		{name: "use ports of the machine", probe: func([]string) error {
			if iopl == 0 {
				return unix.EPERM
			}
			return raw(iopl, 3)
		}, says: notPermitted},
		{name: "load another system", probe: rawProbe(unix.SYS_KEXEC_LOAD, 0, 0, 0, 0), says: notPermitted},
		{name: "watch whole file systems", probe: rawProbe(unix.SYS_FANOTIFY_INIT, unix.FAN_CLASS_CONTENT, 0), says: notPermitted},
	}
}

func loadBPF([]string) error {
	insns := [2]uint64{0xb7, 0x95} // r0 = 0; exit
	license := []byte("GPL\x00")
	attr := struct {
		kind, count    uint32
		insns, license uint64
		_              [12]uint64
	}{5 /* BPF_PROG_TYPE_TRACEPOINT */, 2, uint64(uintptr(unsafe.Pointer(&insns[0]))), uint64(uintptr(unsafe.Pointer(&license[0]))), [12]uint64{}}
	return raw(unix.SYS_BPF, unix.BPF_PROG_LOAD, uintptr(unsafe.Pointer(&attr)), 48)
}

func findKey(ring int) func([]string) error {
	return func([]string) error {
		_, err := unix.KeyctlSearch(ring, "user", secret, 0)
		return err
	}
}

// network are attempts to reach something that is not the step's own.
func network() []attempt {
	addresses := func(m *machine) []string {
		var out []string
		for _, l := range m.listeners {
			out = append(out, l.Addr().Network(), l.Addr().String())
		}
		return out
	}
	dial := func(args []string) error {
		var errs []error
		for i := 0; i+1 < len(args); i += 2 {
			c, err := net.Dial(args[i], args[i+1])
			if err == nil {
				c.Close()
				return nil
			}
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	}
	const refused = "(?s)refused.*refused.*refused.*" + absent
	packet := func([]string) error {
		if fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0x0300); err == nil {
			return unix.Close(fd)
		}
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP)
		if err != nil {
			return err
		}
		return unix.Close(fd)
	}
	return []attempt{
		{name: "connect to the machine", probe: dial, args: addresses, says: refused},
		{name: "connect to the machine from a nested network", probe: dial, args: addresses, nested: unix.CLONE_NEWNET, says: "(?s)unreachable.*assign|refused.*" + absent},
		{name: "connect through the tree of a socket", probe: dial, args: func(m *machine) []string {
			return []string{"unix", "/proc/1/root" + m.listeners[3].Addr().String()}
		}, says: absent + "|denied"},
		{name: "use interfaces of the machine", probe: func([]string) error {
			all, err := net.Interfaces()
			if err != nil {
				return err
			}
			for _, i := range all {
				if i.Flags&net.FlagLoopback == 0 && i.Flags&net.FlagUp != 0 {
					return nil
				}
			}
			return dial([]string{"udp", "192.0.2.1:53"})
		}, says: "unreachable"},
		{name: "send raw packets", probe: packet, says: notPermitted},
		{name: "make an interface", probe: func([]string) error {
			fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE)
			if err != nil {
				return err
			}
			message := []byte{0: 32, 4: unix.RTM_NEWLINK, 6: 5, 7: 6, 31: 0}
			if err := unix.Sendto(fd, message, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
				return err
			}
			buf := make([]byte, 4096)
			n, _, err := unix.Recvfrom(fd, buf, 0)
			if err != nil || n < 20 {
				return err
			}
			if code := *(*int32)(unsafe.Pointer(&buf[16])); code != 0 {
				return unix.Errno(-code)
			}
			return nil
		}, says: notPermitted},
		{name: "listen for events of devices", probe: func([]string) error {
			fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_AUDIT)
			if err != nil {
				return err
			}
			return unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1})
		}, says: notPermitted + "|refused|not supported"},
		{name: "talk to the host of a virtual machine", probe: func([]string) error {
			fd, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0)
			if err != nil {
				return err
			}
			return unix.Close(fd)
		}, says: notPermitted + "|not supported"},
		{name: "join the network of the first process", probe: func([]string) error {
			fd, err := unix.Open("/proc/1/ns/net", unix.O_RDONLY, 0)
			if err != nil {
				return err
			}
			return unix.Setns(fd, 0)
		}, says: notPermitted},
	}
}

// sharedMemory are attempts at what processes share by name or number.
func sharedMemory() []attempt {
	key := func(m *machine) []string { return []string{strconv.Itoa(m.key)} }
	get := func(do func(key int) error) func([]string) error {
		return func(args []string) error {
			key, err := strconv.Atoi(args[0])
			if err != nil {
				return err
			}
			return do(key)
		}
	}
	return []attempt{
		{name: "attach shared memory of the machine", args: key, says: absent, probe: get(func(key int) error {
			_, err := unix.SysvShmGet(key, 4096, 0)
			return err
		})},
		{name: "take semaphores of the machine", args: key, says: absent, probe: get(func(key int) error {
			return raw(unix.SYS_SEMGET, uintptr(key), 1, 0)
		})},
		{name: "take messages of the machine", args: key, says: absent, probe: get(func(key int) error {
			return raw(unix.SYS_MSGGET, uintptr(key), 0)
		})},
		{name: "open a message queue of the machine", args: func(m *machine) []string { return []string{m.queue} }, says: absent, probe: func(args []string) error {
			fd, errno := openQueue(args[0], unix.O_RDWR)
			if errno != 0 {
				return errno
			}
			return unix.Close(fd)
		}},
		{name: "see shared memory of the machine", says: "there is none", probe: func([]string) error {
			b, err := os.ReadFile("/proc/sysvipc/shm")
			if err != nil || strings.Count(string(b), "\n") > 1 {
				return err
			}
			return fmt.Errorf("there is none")
		}},
	}
}
