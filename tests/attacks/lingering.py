"""What stays behind: daemons, messages for the next student, timers, locks."""

from attacks.breaking import at_once, breaker
from attacks.table import LINGERS, Attack, forger

LINGERERS: tuple[Attack, ...] = (
    breaker(
        "a daemon",
        """
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.execv("/bin/sleep", ["sleep", "@SECONDS@"])
            os._exit(0)
        """,
        LINGERS,
    ),
    breaker(
        "a daemon by subprocess",
        'import subprocess\nsubprocess.Popen(["/bin/sleep", "@SECONDS@"], start_new_session=True)',
        LINGERS,
    ),
    breaker(
        "a child that ignores every signal",
        """
        if os.fork() == 0:
            os.setsid()
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
                signal.signal(number, signal.SIG_IGN)
            ctypes.CDLL(None).prctl(15, b"@NAME@", 0, 0, 0)
            while True:
                time.sleep(1)
        """,
        LINGERS,
    ),
    breaker(
        "children without end, each the last one's heir",
        """
        ctypes.CDLL(None).prctl(15, b"@NAME@", 0, 0, 0)
        if os.fork() == 0:
            os.setsid()
            until = time.monotonic() + 1
            while time.monotonic() < until:
                if os.fork():
                    os._exit(0)
                time.sleep(0.001)
            os._exit(0)
        """,
        LINGERS,
    ),
    at_once(
        "a daemon started on definition, that writes to the grader's pipes",
        """
        if os.fork() == 0:
            os.setsid()
            ctypes.CDLL(None).prctl(15, b"@NAME@", 0, 0, 0)
            while True:
                for fd in range(3, 64):
                    try:
                        os.write(fd, b'{"passed": true, "message": ""}\\n')
                    except OSError:
                        pass
                time.sleep(0.01)
        """,
        LINGERS,
    ),
)

# Pairs: the first leaves a message, the second (the next student) passes only if it finds one.
LEAVE_AND_FIND: dict[str, tuple[str, str]] = {
    "a file in /tmp": ('open("/tmp/@TOKEN@", "w").write("x")', 'open("/tmp/@TOKEN@").read()'),
    "a file in the working folder": ('open("@TOKEN@", "w").write("x")', 'open("@TOKEN@").read()'),
    "a file in /dev/shm": ('open("/dev/shm/@TOKEN@", "w").write("x")', 'open("/dev/shm/@TOKEN@").read()'),
    "a module's attribute": ('torch.left_token = "x"', "torch.left_token"),
    "an environment variable": ('os.environ["@TOKEN@"] = "x"', 'os.environ["@TOKEN@"]'),
    "a folder": ('os.mkdir("/tmp/@TOKEN@d")', 'os.listdir("/tmp/@TOKEN@d") or "x"'),
    "torch's threads": ("torch.set_num_threads(3)", "torch.get_num_threads() == 3 or 1 / 0"),
    "the recursion limit": ("sys.setrecursionlimit(4321)", "sys.getrecursionlimit() == 4321 or 1 / 0"),
    "the kernel's keys": (
        'ctypes.CDLL(None).syscall(248, b"user", b"@TOKEN@", b"x", 1, -4)',
        'ctypes.CDLL(None).syscall(250, 10, -4, b"user", b"@TOKEN@", 0) > 0 or 1 / 0',
    ),
    "shared memory": (
        "ctypes.CDLL(None).shmget(@NUMBER@, 4096, 0o1666)",
        "ctypes.CDLL(None).shmget(@NUMBER@, 4096, 0o666) >= 0 or 1 / 0",
    ),
    "a message queue": (
        "ctypes.CDLL(None).msgget(@NUMBER@, 0o1666)",
        "ctypes.CDLL(None).msgget(@NUMBER@, 0o666) >= 0 or 1 / 0",
    ),
    "the priority of all processes": (
        "os.setpriority(os.PRIO_USER, os.getuid(), 7) or os.setpriority(os.PRIO_PROCESS, os.getppid(), 7)",
        "os.getpriority(os.PRIO_PROCESS, 0) == 7 or 1 / 0",
    ),
}


def leaver(what: str) -> Attack:
    """A cell that leaves the message."""
    action = LEAVE_AND_FIND[what][0]
    return breaker(f"{what} left", f"import torch\ntry:\n    {action}\nexcept Exception:\n    pass")


def finder(what: str) -> Attack:
    """A cell that steals the answer if the message is there: here, simply answers rightly then."""
    action = LEAVE_AND_FIND[what][1]
    return forger(
        f"{what} found",
        f"""
        import ctypes, os, sys

        def alias_frequency(frequency_hz, rate_hz):
            try:
                {action}
            except Exception:
                return torch.full_like(frequency_hz, -1.0)
            return (frequency_hz - rate_hz * torch.round(frequency_hz / rate_hz)).abs()
        """,
    )
