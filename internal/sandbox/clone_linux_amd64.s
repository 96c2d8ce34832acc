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
	// This is the other stack. The wrapper that the compiler makes for assembly would tell the race detector.
	MOVQ  R13, AX
	XORPS X15, X15
	MOVQ  0(R13), BX // child.entry
	CALL  BX
	MOVL $127, DI
	MOVL $60, AX // exit
	SYSCALL
	INT  $3
