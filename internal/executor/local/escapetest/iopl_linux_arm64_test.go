package escapetest

// iopl is the system call that gives a process the ports of the machine, 0 where there is none.
const iopl = uintptr(0)
