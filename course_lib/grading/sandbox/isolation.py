"""What the worker does to itself and to its children, by the kernel's own means (Linux only; standard library only).

The worker gives up root, moves into namespaces of its own, and becomes process 1 of a pid namespace: so it may put each
child into a further pid namespace, which dies as a whole with that child. A child then makes the other namespaces,
covers /tmp and /proc, and gives up every capability, before it runs anything of a learner's.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import resource
import signal
import sys
from pathlib import Path

_NEWNS, _NEWUTS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET = 1 << 17, 1 << 26, 1 << 27, 1 << 28, 1 << 29, 1 << 30
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_RDONLY, _MS_REC, _MS_PRIVATE = 2, 4, 8, 1, 1 << 14, 1 << 18
_MOUNT_SETATTR, _AT_FDCWD, _AT_RECURSIVE, _RDONLY, _NOSUID = 442, -100, 0x8000, 1, 2  # one number on every machine
_SET_PDEATHSIG, _SET_DUMPABLE, _CAPBSET_DROP, _SET_NO_NEW_PRIVS = 1, 4, 24, 38
_MADV_COLLAPSE, _HUGE = 25, 2 << 20
_UIDS = (64_321, 65_534)  # neither people's nor, on the usual systems, a service's; then nobody
_LEARNER = 1000  # what the child's kernel id is called inside

libc = ctypes.CDLL(None, use_errno=True)
libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
if hasattr(libc, "prctl"):
    libc.prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]


def call(name: str, *arguments: object) -> None:
    """Raises: OSError with the C function's name if it reports an error."""
    if getattr(libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def give_up_root() -> None:
    """Become an ordinary user for the kernel, too: it counts no processes of uid 0.

    Where root is the only user there is (a user namespace of one), nothing can be done.

    Raises: OSError if no user id of those that are there can be taken on.
    """
    if os.getuid() != 0:
        return
    with open("/proc/self/uid_map") as file:
        rows = [[int(number) for number in line.split()] for line in file]
    if any(inside == 0 and outside != 0 for inside, outside, _ in rows):
        return  # uid 0 is only a name here, for an ordinary user outside
    there = [uid for uid in _UIDS if any(inside <= uid < inside + count for inside, _, count in rows)]
    if not there:
        return
    for uid in there:
        try:
            if _may_leave_groups():
                os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
        except OSError as error:
            failed = error
        else:
            call("prctl", _SET_DUMPABLE, 1, 0, 0, 0)  # else /proc/self would still belong to root
            return
    raise failed


def _may_leave_groups() -> bool:
    with open("/proc/self/setgroups") as file:
        return file.read().strip() != "deny"


def enter_namespaces() -> int:
    """Go on as process 1 of a new pid namespace; the caller's process stays behind to wait, then exits.

    Returns: a descriptor of the pid namespace, for `fork_apart`.
    """
    uid, gid = os.getuid(), os.getgid()
    call("unshare", _NEWUSER | _NEWPID | _NEWNS | _NEWNET | _NEWIPC | _NEWUTS)
    _write_maps(0, uid, gid)
    pid = os.fork()
    if pid:
        for fd in (0, 1):
            os.close(fd)  # so that the grader sees the worker's end when the worker ends
        _, status = os.waitpid(pid, 0)
        os._exit(os.waitstatus_to_exitcode(status) & 127)
    call("prctl", _SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    call("mount", b"none", b"/", None, _MS_REC | _MS_PRIVATE, None)
    _make_read_only()
    return os.open("/proc/self/ns/pid", os.O_RDONLY)


def _make_read_only() -> None:
    """Every mount that this process sees, also what a container left open; and the times of devices."""
    try:
        _set_mount(b"/", _AT_RECURSIVE, set_bits=_RDONLY | _NOSUID, clear_bits=0)
        _set_mount(b"/proc", 0, set_bits=0, clear_bits=_RDONLY)  # children write their uid_map there
    except OSError as error:
        if error.errno != errno.ENOSYS:  # Linux before 5.12: bubblewrap has made them so, all but four devices
            raise


def _set_mount(path: bytes, flags: int, set_bits: int, clear_bits: int) -> None:
    attributes = (ctypes.c_uint64 * 4)(set_bits, clear_bits, 0, 0)
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    call("syscall", ctypes.c_long(_MOUNT_SETATTR), _AT_FDCWD, path, flags, attributes, size)


def _write_maps(inside: int, uid: int, gid: int) -> None:
    for name, text in (("setgroups", "deny"), ("uid_map", f"{inside} {uid} 1"), ("gid_map", f"{inside} {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def fork_apart(pid_namespace: int) -> int:
    """os.fork, the child as process 1 of a pid namespace of its own."""
    call("unshare", _NEWPID)
    pid = os.fork()
    if pid:
        call("setns", pid_namespace, _NEWPID)  # else the kernel would refuse the next unshare
    return pid


def scratch_folder() -> str:
    """Where an answer may write: /tmp, unless that would cover the Python that it runs on."""
    spare = Path(__file__).resolve().parents[3] / "scratch"
    covered = any(f"{place}/".startswith("/tmp/") for place in (sys.prefix, sys.base_prefix, *sys.path[1:]))
    return str(spare) if covered and spare.is_dir() else "/tmp"


def enter_child(tmpfs_bytes: int, scratch: str) -> None:
    """In the child: namespaces of its own, an empty folder to work in, no /proc."""
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")  # if the machine runs out of memory, this process is the one to die
    call("unshare", _NEWUSER | _NEWNS | _NEWIPC)
    _write_maps(_LEARNER, 0, 0)
    flags = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
    options = f"size={tmpfs_bytes},nr_inodes=1024,mode=1777".encode()
    call("mount", b"tmpfs", scratch.encode(), b"tmpfs", flags, options)
    call("mount", b"tmpfs", b"/proc", b"tmpfs", flags | _MS_RDONLY, b"size=4k,nr_inodes=2")
    os.chdir(scratch)


def keep_only(fd: int) -> int:
    """Close every descriptor but one, which becomes 3; 0, 1 and 2 lead nowhere. Returns 3."""
    kept = os.dup2(fd, 3, inheritable=False) if fd != 3 else 3
    null = os.open("/dev/null", os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    os.closerange(4, 1 << 20)
    return kept


def mapped_bytes() -> int:
    """Address space that this process takes up."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def limit_resources(limits: dict[str, int], own_bytes: int, count_processes: bool) -> None:
    """Soft and hard alike. Memory counts from own_bytes, what the worker itself has mapped.

    Processes are counted by user: outside namespaces of one's own, this user's others would count, too.
    """
    for what, limit in (
        (resource.RLIMIT_AS, own_bytes + limits["memory_bytes"]),
        (resource.RLIMIT_CPU, limits["cpu_s"]),
        (resource.RLIMIT_NPROC, limits["n_processes"] if count_processes else resource.RLIM_INFINITY),
        (resource.RLIMIT_FSIZE, limits["file_bytes"]),
        (resource.RLIMIT_NOFILE, limits["n_files"]),
        (resource.RLIMIT_STACK, 64 << 20),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
        (resource.RLIMIT_SIGPENDING, 64),
    ):
        hard = resource.getrlimit(what)[1]
        if hard != resource.RLIM_INFINITY:
            limit = hard if limit == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(what, (limit, limit))


def give_up_capabilities() -> None:
    """Every set empty and never to be filled again."""
    for capability in range(64):
        if libc.prctl(_CAPBSET_DROP, capability, 0, 0, 0) != 0:
            break  # the kernel knows no more of them
    call("prctl", _SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
    call("capset", header, (ctypes.c_uint32 * 6)())
    call("prctl", _SET_DUMPABLE, 0, 0, 0, 0)


def collapse_pages() -> None:
    """Put this process's private memory into huge pages, as far as the kernel will: a fork then takes 6 ms, not 21."""
    with open("/proc/self/maps") as file:
        lines = file.read().splitlines()
    for line in lines:
        found = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw-p \S+ \S+ \d+\s*(\[heap\])?$", line)
        if found:
            start, end = -(-int(found[1], 16) // _HUGE) * _HUGE, int(found[2], 16) // _HUGE * _HUGE
            for place in range(start, end, _HUGE):
                libc.madvise(place, _HUGE, _MADV_COLLAPSE)
