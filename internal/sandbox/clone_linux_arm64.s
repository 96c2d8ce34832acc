#include "textflag.h"

// func rawClone(flags, stack uintptr, p *child) (pid, errno uintptr)
TEXT ·rawClone(SB), NOSPLIT, $16-40
	MOVD flags+0(FP), R0
	MOVD stack+8(FP), R1
	MOVD p+16(FP), R9 // system calls leave it alone
	MOVD $0, R2
	MOVD $0, R3
	MOVD $0, R4
	MOVD $220, R8 // clone
	SVC
	CBZ  R0, child
	CMN  $4095, R0
	BCS  failed
	MOVD R0, pid+24(FP)
	MOVD ZR, errno+32(FP)
	RET

failed:
	NEG  R0, R0
	MOVD ZR, pid+24(FP)
	MOVD R0, errno+32(FP)
	RET

child:
	// This is the other stack. The wrapper that the compiler makes for assembly would tell the race detector.
	MOVD R9, R0
	MOVD (R9), R10 // child.entry
	BL   (R10)
	MOVD $127, R0
	MOVD $93, R8 // exit
	SVC
	BRK
