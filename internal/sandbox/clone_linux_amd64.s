#include "textflag.h"

// func rawClone(flags, stack uintptr, p *child) (pid, errno uintptr)
TEXT ·rawClone(SB), NOSPLIT, $0-40
	MOVQ flags+0(FP), DI
	MOVQ stack+8(FP), SI
	MOVQ p+16(FP), R13 // system calls leave it alone
	XORL DX, DX
	XORL R10, R10
	XORL R8, R8
	MOVL $56, AX // clone
	SYSCALL
	CMPQ AX, $0
	JEQ  child
	CMPQ AX, $0xfffffffffffff001
	JCC  failed
	MOVQ AX, pid+24(FP)
	MOVQ $0, errno+32(FP)
	RET

failed:
	NEGQ AX
	MOVQ $0, pid+24(FP)
	MOVQ AX, errno+32(FP)
	RET

child:
	// This is the other stack. There is room for the argument.
	MOVQ R13, 0(SP)
	// By its address: the linker cannot see where a child that starts a child ends.
	MOVQ $·childMain(SB), AX
	CALL AX
	MOVL $127, DI
	MOVL $60, AX // exit
	SYSCALL
	INT  $3
