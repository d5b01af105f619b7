"""Killing the grader, or stopping it: the next student has no mark.

What ends only with the process that runs it is marked as HANGS; in the real grader the wall clock ends it.
"""

import textwrap

from attacks.table import DIES, HANGS, Attack


def breaker(name: str, body: str, evidence: str = DIES, says: str = "", how: str = "mark", twin: str = "") -> Attack:
    """A cell whose function does this, then answers wrongly."""
    body = textwrap.indent(textwrap.dedent(body).strip(), "    ")
    head = "# EXERCISE 01.1\nimport ctypes, gc, os, signal, sys, threading, time\n\n"
    cell = f"{head}def alias_frequency(frequency_hz, rate_hz):\n{body}\n    return frequency_hz\n"
    return Attack(name, cell, evidence, how, says, twin)


def at_once(name: str, cell: str, evidence: str = DIES, says: str = "", twin: str = "") -> Attack:
    """A cell that does it before it defines anything."""
    cell = "# EXERCISE 01.1\nimport ctypes, os, signal, sys, time\n" + textwrap.dedent(cell).strip() + "\n"
    cell += "\ndef alias_frequency(frequency_hz, rate_hz):\n    return frequency_hz\n"
    return Attack(name, cell, evidence, says=says, twin=twin)


ENDINGS: tuple[Attack, ...] = (
    breaker("os._exit", "os._exit(0)"),
    breaker("os._exit with another code", "os._exit(77)"),
    breaker("os.abort", "os.abort()"),
    breaker("a thread that ends all", "threading.Timer(0, os._exit, (0,)).start()\ntime.sleep(60)"),
    breaker("a segmentation fault", "ctypes.string_at(0)"),
    breaker("SIGKILL to itself", "os.kill(os.getpid(), signal.SIGKILL)"),
    breaker("SIGSTOP to itself", "os.kill(os.getpid(), signal.SIGSTOP)", HANGS),
    breaker("SIGALRM soon", "signal.setitimer(signal.ITIMER_REAL, 0.02)\ntime.sleep(0.3)"),
    breaker(
        "the parent killed",
        "os.kill(os.getppid(), signal.SIGKILL)\ntime.sleep(0.1)\nos._exit(0)",
    ),
    breaker("everybody killed", "os.killpg(0, signal.SIGKILL)"),
    breaker(
        "every process that it may signal killed",
        "os.kill(-1, signal.SIGKILL)\ntime.sleep(0.1)\nos._exit(0)",
    ),
    at_once("os._exit on definition", "os._exit(0)"),
    at_once(
        "a thread that ends all on definition",
        "import threading\nthreading.Thread(target=os._exit, args=(1,)).start()\ntime.sleep(5)",
    ),
    at_once("stdin, stdout and all pipes closed", "os.closerange(0, 4096)"),
    at_once(
        "another program in its place",
        'os.execv("/bin/sh", ["sh", "-c", "exit 0"])',
    ),
)

STALLS: tuple[Attack, ...] = (
    breaker("an infinite loop", "while True:\n    pass", HANGS, "took longer"),
    breaker(
        "a loop that catches every signal",
        """
        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
        for number in range(1, 65):
            try:
                signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError):
                pass
        while True:
            pass
        """,
        HANGS,
        "took longer",
    ),
    breaker("a sleep", "time.sleep(10_000)", HANGS, "took longer"),
    breaker("a loop in C, which holds the lock", "pow(7, 7 ** 9, 11 ** 400_000)", HANGS, "took longer"),
    breaker("an endless regular expression", 'import re\nre.match("(a*)*b", "a" * 40)', HANGS, "took longer"),
    at_once("an infinite loop on definition", "while True:\n    pass", HANGS, "took longer"),
    breaker(
        "a finaliser that never ends",
        """
        class Last:
            def __del__(self):
                while True:
                    pass
        sys.last_words = Last()
        del sys.last_words
        """,
        HANGS,
        "took longer",
    ),
)

BOTTOMLESS, OTHER_ERROR = "deep recursion without a limit", "an error that is no Exception"
TROUBLES: tuple[Attack, ...] = (
    breaker(
        "deep recursion",
        "def dig(n):\n    return dig(n + 1) + 1\nreturn dig(0)",
        "",
        "RecursionError",
        twin=BOTTOMLESS,
    ),
    breaker(
        BOTTOMLESS,
        "sys.setrecursionlimit(10**9)\ndef dig(_=0):\n    return max([1], key=dig)\ndig()",
        DIES,
    ),
    breaker(
        "deep recursion in C",
        "nest = []\nfor _ in range(10**6):\n    nest = [nest]\nsys.setrecursionlimit(10**9)\nreturn float(repr(nest))",
        "",
        twin=BOTTOMLESS,
    ),
    at_once("parentheses without end", 'exec("(" * 100_000)', "", twin=BOTTOMLESS),
    at_once(
        "a thousand nested functions", 'exec("\\n".join(" " * n + "def f():" for n in range(500)))', "", twin=BOTTOMLESS
    ),
    at_once("a number of a million digits", 'int("9" * 10**6)', "", twin="a loop in C, which holds the lock"),
    breaker(
        "no name for its error",
        "class E(Exception):\n    def __str__(self):\n        return 7\nraise E",
        how="allclose",
    ),
    breaker(
        "an error as long as a book", 'raise ValueError("x" * 10**8)', "", "ValueError", twin="a gigabyte of memory"
    ),
    breaker(
        OTHER_ERROR,
        'class Stop(BaseException):\n    pass\nraise Stop("here")',
        DIES,
        "Stop",
        "allclose",
    ),
    breaker("GeneratorExit", "raise GeneratorExit", DIES, "", "allclose"),
    breaker("KeyboardInterrupt", "raise KeyboardInterrupt", DIES),
    breaker(
        "the stub's error, to look as if nothing had been tried", "raise NotImplementedError", "", twin=OTHER_ERROR
    ),
    breaker("sys.exit", "sys.exit(0)", DIES, "SystemExit", "allclose"),
    breaker(
        "an error whose text never ends",
        "class E(Exception):\n    def __str__(self):\n        while True:\n            pass\nraise E",
        HANGS,
    ),
)
