// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * All the user space that a boot test needs: says that the kernel got here, and ends the machine.
 *
 * There is no C library on purpose: any cross compiler can build this, for any architecture, without a sysroot.
 * What differs between architectures is data, in the table below: the instruction that enters the kernel, the
 * registers it takes the call's number and arguments in, the registers it destroys, the numbers of four calls,
 * and whether the machine is ended by powering it off or by a restart (which QEMU turns into an end).
 *
 *     cc -static -nostdlib -ffreestanding -fno-stack-protector -fno-pic -no-pie -Wl,-e,_start \
 *         -DARCH='"NAME"' -o init init.c
 */
#ifndef ARCH
#error "say -DARCH='\"name\"'"
#endif

#define MARKER "KILN-BOOT-OK"

/* Most have these; the exceptions follow. */
#define TCSBRK 0x5409

#define POWER_OFF 0x4321fedcUL
#define RESTART 0x01234567UL

#if defined(__x86_64__) && !defined(__ILP32__)
#define TRAP "syscall"
#define NUMBER "rax"
#define ARGUMENTS "rdi", "rsi", "rdx", "r10"
#define DESTROYED "rcx", "r11"
enum { WRITE = 1, IOCTL = 16, UNAME = 63, REBOOT = 169 };
#define END RESTART

#elif defined(__i386__)
#define TRAP "int $0x80"
#define NUMBER "eax"
#define ARGUMENTS "ebx", "ecx", "edx", "esi"
#define DESTROYED "cc"
enum { WRITE = 4, IOCTL = 54, UNAME = 122, REBOOT = 88 };
#define END RESTART

#elif defined(__aarch64__)
#define TRAP "svc #0"
#define NUMBER "x8"
#define ARGUMENTS "x0", "x1", "x2", "x3"
#define RESULT a0
#define DESTROYED "cc"
enum { WRITE = 64, IOCTL = 29, UNAME = 160, REBOOT = 142 };
#define END POWER_OFF

#elif defined(__arm__)
#ifdef __thumb__
#pragma GCC target("arm") /* A small kernel may run no Thumb code. */
#endif
#define TRAP "svc #0"
#define NUMBER "r7"
#define ARGUMENTS "r0", "r1", "r2", "r3"
#define RESULT a0
#define DESTROYED "cc"
enum { WRITE = 4, IOCTL = 54, UNAME = 122, REBOOT = 88 };
#define END POWER_OFF

#elif defined(__riscv)
#define TRAP "ecall"
#define NUMBER "a7"
#define ARGUMENTS "a0", "a1", "a2", "a3"
#define RESULT a0
#define DESTROYED "cc"
enum { WRITE = 64, IOCTL = 29, UNAME = 160, REBOOT = 142 };
#define END POWER_OFF

#elif defined(__mips__) && _MIPS_SIM == _ABIO32
#define TRAP "syscall"
#define NUMBER "$2"
#define ARGUMENTS "$4", "$5", "$6", "$7"
#define DESTROYED "$1", "$3", "$8", "$9", "$10", "$11", "$12", "$13", "$14", "$15", "$24", "$25", "hi", "lo"
enum { WRITE = 4004, IOCTL = 4054, UNAME = 4122, REBOOT = 4088 };
#undef TCSBRK
#define TCSBRK 0x5405
#define END RESTART

#elif defined(__powerpc__)
#define TRAP "sc"
#define NUMBER "r0"
#define ARGUMENTS "r3", "r4", "r5", "r6"
#define RESULT a0
#define DESTROYED "r7", "r8", "r9", "r10", "r11", "r12", "cr0", "ctr"
enum { WRITE = 4, IOCTL = 54, UNAME = 122, REBOOT = 88 };
#undef TCSBRK
#define TCSBRK 0x2000741d
#ifdef __powerpc64__
#define END POWER_OFF
#else
#define END RESTART
#endif

#elif defined(__m68k__)
#define TRAP "trap #0"
#define NUMBER "d0"
#define ARGUMENTS "d1", "d2", "d3", "d4"
#define DESTROYED "cc"
enum { WRITE = 4, IOCTL = 54, UNAME = 122, REBOOT = 88 };
#define END POWER_OFF

#elif defined(__sparc__) && defined(__arch64__)
#define TRAP "ta 0x6d"
#define NUMBER "g1"
#define ARGUMENTS "o0", "o1", "o2", "o3"
#define RESULT a0
#define DESTROYED "g2", "g3", "g4", "g5", "o4", "o5", "o7", "cc"
enum { WRITE = 4, IOCTL = 54, UNAME = 189, REBOOT = 55 };
#undef TCSBRK
#define TCSBRK 0x20005405
#define END POWER_OFF

#elif defined(__alpha__)
#define TRAP "callsys"
#define NUMBER "$0"
#define ARGUMENTS "$16", "$17", "$18", "$19"
#define DESTROYED "$1", "$2", "$3", "$4", "$5", "$6", "$7", "$8", "$20", "$21", "$22", "$23", "$24", "$25", "$27", "$28"
enum { WRITE = 4, IOCTL = 54, UNAME = 339, REBOOT = 311 };
#undef TCSBRK
#define TCSBRK 0x2000741d
#define END RESTART
/* Functions expect the global pointer in $29; the kernel starts a program without one. */
#define ENTRY \
	".globl _start\n_start:\n\tbr $27, 1f\n1:\tldgp $29, 0($27)\n\tjsr $26, init_main\n"

#elif defined(__hppa__)
#define TRAP "ble 0x100(%%sr2, %%r0)\n\tnop"
#define NUMBER "r20"
#define ARGUMENTS "r26", "r25", "r24", "r23"
#define SEPARATE_RESULT "r28"
#define DESTROYED "r1", "r2", "r21", "r22", "r29", "r31"
enum { WRITE = 4, IOCTL = 54, UNAME = 59, REBOOT = 88 };
#undef TCSBRK
#define TCSBRK 0x5405
#define END RESTART
/* Data is addressed from $global$ in r27, and a function wants room for its frame above the stack pointer. */
#define ENTRY \
	".globl _start\n_start:\n\tldil L'$global$, %r27\n\tldo R'$global$(%r27), %r27\n" \
	"\tldo 64(%r30), %r30\n\tb,l init_main, %r2\n\tnop\n" \
	".data\n.globl $global$\n$global$:\n\t.word 0\n.text\n"

#else
#error "add this architecture to the table"
#endif

#ifndef RESULT
#define RESULT number
#endif

#ifdef ENTRY
__asm__(ENTRY);
#else
#define init_main _start
#endif

#define FOUR(macro, ...) macro(__VA_ARGS__)
#define IN_REGISTERS(r0, r1, r2, r3)            \
	register unsigned long a0 __asm__(r0) = w;  \
	register unsigned long a1 __asm__(r1) = x;  \
	register unsigned long a2 __asm__(r2) = y;  \
	register unsigned long a3 __asm__(r3) = z

/* All registers are marked as written: on some architectures the kernel does not keep arguments. */
static long call(unsigned long nr, unsigned long w, unsigned long x, unsigned long y, unsigned long z)
{
	register unsigned long number __asm__(NUMBER) = nr;
	FOUR(IN_REGISTERS, ARGUMENTS);
#ifdef SEPARATE_RESULT
	register unsigned long result __asm__(SEPARATE_RESULT);

	__asm__ volatile(TRAP : "=r"(result), "+r"(number), "+r"(a0), "+r"(a1), "+r"(a2), "+r"(a3)
			 : : DESTROYED, "memory");
	return (long)result;
#else
	__asm__ volatile(TRAP : "+r"(number), "+r"(a0), "+r"(a1), "+r"(a2), "+r"(a3) : : DESTROYED, "memory");
	return (long)RESULT;
#endif
}

/* struct new_utsname: six texts of 65 bytes, the third of which is the release. */
static char names[6][65];

/* One write, so that no line of the kernel's can come in between. */
static char message[sizeof(MARKER) + sizeof(ARCH) + sizeof(names[0]) + 2];

static char *append(char *end, const char *text)
{
	while (*text)
		*end++ = *text++;
	return end;
}

__attribute__((noreturn, used)) void init_main(void);

void init_main(void)
{
	char *end = append(message, MARKER " " ARCH " ");

	end = append(end, call(UNAME, (unsigned long)names, 0, 0, 0) == 0 ? names[2] : "?");
	end = append(end, "\n");
	/* The kernel opened its console for us as 0, 1 and 2. */
	call(WRITE, 1, (unsigned long)message, (unsigned long)(end - message), 0);
	/* tcdrain(): a machine that ends takes what is still in its serial port with it. */
	call(IOCTL, 1, TCSBRK, 1, 0);
	call(REBOOT, 0xfee1deadUL, 0x28121969UL, END, 0);
	for (;;)
		;
}
