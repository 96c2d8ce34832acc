package escapetest

import "golang.org/x/sys/unix"

// iopl is the system call that gives a process the ports of the machine, 0 where there is none.
const iopl = uintptr(unix.SYS_IOPL)
