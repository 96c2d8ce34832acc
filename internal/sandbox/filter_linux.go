//go:build linux && (amd64 || arm64)

package sandbox

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// abi is a way in which programs make system calls: the numbers of those that no namespace bounds.
type abi struct {
	arch           uint32
	syslog, socket uint32
	socketcall     uint32 // 0 where there is none
}

// abis are those of this machine: its own, and that of programs of half its width.
func abis() []abi {
	if runtime.GOARCH == "arm64" {
		return []abi{{unix.AUDIT_ARCH_AARCH64, 116, 198, 0}, {unix.AUDIT_ARCH_ARM, 103, 281, 102}}
	}
	return []abi{{unix.AUDIT_ARCH_X86_64, 103, 41, 0}, {unix.AUDIT_ARCH_I386, 103, 359, 102}}
}

const (
	ioUringSetup   = 425 // everywhere
	otherWidth     = 1 << 30
	numberAt       = 0 // offsets in struct seccomp_data
	archAt         = 4
	firstArgAt     = 16
	socketcallMake = 1
)

// filter takes from this process, and from all that it starts, what would reach the machine through every namespace: its log, sockets to its
// other virtual machines and processors, and rings, through which sockets are made without a system call.
func filter() error {
	code := filterCode()
	prog := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return fmt.Errorf("filter the system calls: %w", errno)
	}
	return nil
}

func filterCode() []unix.SockFilter {
	code := []unix.SockFilter{load(archAt)}
	for _, a := range abis() {
		code = append(code, when(a.arch, a.filter()...)...)
	}
	return append(code, fail(unix.ENOSYS))
}

func (a abi) filter() []unix.SockFilter {
	sockets := []unix.SockFilter{load(firstArgAt)}
	for _, family := range []uint32{unix.AF_VSOCK, unix.AF_QIPCRTR} {
		sockets = append(sockets, when(family, fail(unix.EAFNOSUPPORT))...)
	}
	code := []unix.SockFilter{load(numberAt)}
	if a.arch == unix.AUDIT_ARCH_X86_64 {
		// Programs with short pointers have numbers of their own, and few systems run them.
		code = append(code, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K, Jf: 1, K: otherWidth}, fail(unix.ENOSYS))
	}
	code = append(code, when(ioUringSetup, fail(unix.ENOSYS))...)
	code = append(code, when(a.syslog, fail(unix.EPERM))...)
	code = append(code, when(a.socket, append(sockets, allow())...)...)
	if a.socketcall != 0 {
		// What it asks for is in memory, where a filter does not look. There is another call for it.
		which := append([]unix.SockFilter{load(firstArgAt)}, when(socketcallMake, fail(unix.ENOSYS))...)
		code = append(code, when(a.socketcall, append(which, allow())...)...)
	}
	return append(code, allow())
}

func load(offset uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
}

// when executes then, which ends in a return, where what was loaded is k.
func when(k uint32, then ...unix.SockFilter) []unix.SockFilter {
	return append([]unix.SockFilter{{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: uint8(len(then)), K: k}}, then...)
}

func fail(errno unix.Errno) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(errno)}
}

func allow() unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW}
}
