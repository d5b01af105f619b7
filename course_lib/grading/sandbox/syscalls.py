"""The kernel calls that an answer may make: those that computing needs. All others fail for it, whatever it is.

A list of what is allowed, not of what is forbidden: so nothing new in a kernel is open by default. No process can be
started (an answer needs none), no program executed, no socket, pipe, memory file, timer, key or namespace made.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from functools import cache

from course_lib.grading.sandbox.isolation import call

# Name, number on x86_64, number on aarch64 (and every newer machine); "-": there, C libraries use a newer call.
_ALLOWED = """
    access 21 -; alarm 37 -; arch_prctl 158 -; brk 12 214; capget 125 90; chdir 80 49; chmod 90 -;
    clock_getres 229 114; clock_gettime 228 113; clock_nanosleep 230 115; close 3 57; close_range 436 436;
    creat 85 -; dup 32 23; dup2 33 -; dup3 292 24; exit 60 93; exit_group 231 94; faccessat 269 48;
    faccessat2 439 439; fadvise64 221 223; fallocate 285 47; fchdir 81 50; fchmod 91 52; fchmodat 268 53;
    fdatasync 75 83; fstat 5 80; fstatfs 138 44; fsync 74 82; ftruncate 77 46; futex 202 98; get_mempolicy 239 236;
    getcpu 309 168; getcwd 79 17; getdents 78 -; getdents64 217 61; getegid 108 177; geteuid 107 175; getgid 104 176;
    getgroups 115 158; getitimer 36 102; getpgid 121 155; getpgrp 111 -; getpid 39 172; getppid 110 173;
    getrandom 318 278; getresgid 120 150; getresuid 118 148; getrlimit 97 163; getrusage 98 165; getsid 124 156;
    gettid 186 178; gettimeofday 96 169; getuid 102 174; link 86 -; linkat 265 37; lseek 8 62;
    lstat 6 -; madvise 28 233; membarrier 324 283; mkdir 83 -; mkdirat 258 34; mmap 9 222; mprotect 10 226;
    mremap 25 216; msync 26 227; munmap 11 215; nanosleep 35 101; newfstatat 262 79; open 2 -; openat 257 56;
    openat2 437 437; poll 7 -; ppoll 271 73; pread64 17 67; preadv 295 69; prlimit64 302 261; pselect6 270 72;
    pwrite64 18 68; pwritev 296 70; read 0 63; readlink 89 -; readlinkat 267 78; readv 19 65; rename 82 -;
    renameat 264 38; renameat2 316 276; restart_syscall 219 128; rmdir 84 -; rseq 334 293; rt_sigaction 13 134;
    rt_sigpending 127 136; rt_sigprocmask 14 135; rt_sigreturn 15 139; sched_get_priority_max 146 125;
    sched_get_priority_min 147 126; sched_getaffinity 204 123; sched_getparam 143 121; sched_getscheduler 145 120;
    sched_yield 24 124; select 23 -; sendfile 40 71; set_robust_list 273 99; set_tid_address 218 96;
    setitimer 38 103; sigaltstack 131 132; stat 4 -; statfs 137 43; statx 332 291; symlink 88 -; symlinkat 266 36;
    sysinfo 99 179; time 201 -; times 100 153; truncate 76 45; uname 63 160; unlink 87 -; unlinkat 263 35;
    utimensat 280 88; wait4 61 260; waitid 247 95; write 1 64; writev 20 66;
"""
_MACHINES = {"x86_64": (0xC000003E, 1), "aarch64": (0xC00000B7, 2)}  # AUDIT_ARCH_..., column
# Calls allowed for some arguments only: number of the argument that decides, and how.
_BY_ARGUMENT = {
    "clone": (56, 220, 0), "fcntl": (72, 25, 1), "ioctl": (16, 29, 1), "prctl": (157, 167, 0),
    "tgkill": (234, 131, 0),
}  # fmt: skip
_FCNTL = (*range(5), 1030)  # no locks, no leases (they block other processes' opens), no signals, no pipe sizes
_IOCTL = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)  # is it a terminal, how wide, how much is there, (no) CLOEXEC
_PRCTL = (15, 16)  # a thread's name, set and read
_CLONE_THREAD = 1 << 16
_X32 = 1 << 30  # on x86_64, a second set of numbers
_NEW = 424  # calls from here on have one number on every machine; libraries do without them if told "no such call"

_LOAD, _EQUAL, _AT_LEAST, _HAS_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000
_NR, _ARCH, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
_SET_SECCOMP, _FILTER = 22, 2

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, operand


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))


def is_supported() -> bool:
    return platform.machine() in _MACHINES


def allowed_numbers(machine: str) -> set[int]:
    """Numbers that are always allowed on "x86_64" or "aarch64"."""
    column = _MACHINES[machine][1]
    rows = [row.split() for row in _ALLOWED.replace("\n", " ").split(";") if row.strip()]
    return {int(row[column]) for row in rows if row[column] != "-"}


def filter_program(machine: str, pid: int) -> list[Instruction]:
    """The filter, as the kernel's little machine (classic BPF) runs it at each call of process `pid`."""
    arch, column = _MACHINES[machine]
    program = [(_LOAD, 0, 0, _ARCH), (_EQUAL, 1, 0, arch), (_RETURN, 0, 0, _KILL), (_LOAD, 0, 0, _NR)]
    if machine == "x86_64":
        program += [(_AT_LEAST, 0, 1, _X32), (_RETURN, 0, 0, _KILL)]
    values = {"fcntl": _FCNTL, "ioctl": _IOCTL, "prctl": _PRCTL, "tgkill": (pid,)}
    for name, numbers in _BY_ARGUMENT.items():
        block: list[Instruction] = [(_LOAD, 0, 0, _ARGUMENTS + 8 * numbers[2])]
        if name == "clone":  # threads, not processes
            block += [(_HAS_BIT, 0, 1, _CLONE_THREAD), (_RETURN, 0, 0, _ALLOW)]
        for value in values.get(name, ()):
            block += [(_EQUAL, 0, 1, value), (_RETURN, 0, 0, _ALLOW)]
        block.append((_RETURN, 0, 0, _ERROR | errno.EPERM))
        program += [(_EQUAL, 0, len(block), numbers[column - 1]), *block]
    for first, last in _ranges(allowed_numbers(machine)):
        program += [(_AT_LEAST, 2, 0, last + 1), (_AT_LEAST, 0, 1, first), (_RETURN, 0, 0, _ALLOW)]
    refused, absent = _ERROR | errno.EPERM, _ERROR | errno.ENOSYS
    return [*program, (_AT_LEAST, 1, 0, _NEW), (_RETURN, 0, 0, refused), (_RETURN, 0, 0, absent)]


def _ranges(numbers: set[int]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if found and found[-1][1] == number - 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found


@cache
def _filter_code(pid: int) -> bytes:
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in filter_program(platform.machine(), pid))


def prepare(pid: int) -> None:
    """Assemble the filter for a process that will have this id, so that it need not."""
    _filter_code(pid)


def allow_computing_only() -> None:
    """For this process and its threads, for good. Needs no_new_privs.

    Raises: OSError if the kernel has no filters.
    """
    code = _filter_code(os.getpid())
    call("prctl", _SET_SECCOMP, _FILTER, ctypes.addressof(_Program(len(code) // 8, code)), 0, 0)
