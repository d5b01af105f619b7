"""Time, memory, processes and disk of others. The bounded ones (n of something) are shown to work in the naive grader;
the endless ones run in the sandbox only."""

from attacks.breaking import breaker
from attacks.table import HANGS, Attack, burglar

MEMORY, DISK = "a gigabyte of memory", "files that fill the disk"
# A few hundred megabytes, 64 processes: what the test's limits do not allow, and every machine can bear.
BOUNDED: tuple[Attack, ...] = (
    burglar(MEMORY, "return torch.ones(2**28).sum().item() > 0"),
    burglar("a gigabyte of memory without torch", 'return len(b"x" * 2**30)'),
    burglar(
        "64 processes",
        """
        n = 0
        for _ in range(64):
            if os.fork() == 0:
                time.sleep(30)
                os._exit(0)
            n += 1
        return n
        """,
    ),
    burglar(
        "512 threads",
        """
        import threading
        for n in range(512):
            threading.Thread(target=time.sleep, args=(0.5,), daemon=True).start()
        return 512
        """,
    ),
    burglar("a file of 32 MB", 'return open("big", "wb").write(bytes(2**25))'),
    burglar(
        DISK,
        """
        for n in range(8):
            with open(f"part{n}", "wb") as file:
                file.write(bytes(2**22))
        return sum(os.path.getsize(f"part{n}") for n in range(8))
        """,
    ),
    burglar(
        "twenty thousand files",
        """
        for n in range(20_000):
            open(f"f{n}", "w").close()
        return 20_000
        """,
    ),
    burglar(
        "a thousand open files",
        "return len([open(os.devnull) for _ in range(900)])",
    ),
    burglar(
        "directories that cannot be deleted",
        """
        here = os.getcwd()
        for _ in range(3000):
            os.mkdir("d" * 200, 0o700)
            os.chdir("d" * 200)
        os.chmod(".", 0)
        os.chdir(here)
        return 3000
        """,
    ),
    burglar(
        "a file larger than the disk, full of holes",
        'with open("hole", "wb") as file:\n    file.truncate(2**40)\nreturn os.path.getsize("hole")',
    ),
    burglar(
        "locked memory", "page = ctypes.create_string_buffer(2**22)\nreturn ctypes.CDLL(None).mlock(page, 2**22) == 0"
    ),
    burglar("a higher priority", "os.nice(-5)\nreturn True"),
    burglar(
        "its own limits raised",
        "import resource\nresource.setrlimit(resource.RLIMIT_AS, (-1, -1))\nreturn True",
        evidence="",
        twin=MEMORY,
    ),
)

ENDLESS: tuple[Attack, ...] = (
    breaker("30 GB at once", "return torch.ones(30 * 2**28) * frequency_hz.sum()", "", "memory", twin=MEMORY),
    breaker("30 GB bit by bit", "hoard = []\nwhile True:\n    hoard.append(torch.ones(2**22))", "", twin=MEMORY),
    breaker(
        "30 GB of numpy",
        "import numpy\nreturn numpy.ones(30 * 2**27)",
        "",
        "emory",
        twin="a gigabyte of memory without torch",
    ),
    breaker(
        "a fork bomb",
        "while True:\n    try:\n        os.fork()\n    except OSError:\n        pass",
        "",
        "took longer",
        twin="64 processes",
    ),
    breaker(
        "a bomb of threads",
        "while True:\n    threading.Thread(target=time.sleep, args=(9,)).start()",
        "",
        twin="512 threads",
    ),
    breaker(
        "a fork bomb of sessions of their own",
        """
        while True:
            try:
                if os.fork():
                    os._exit(0)
                os.setsid()
            except OSError:
                pass
        """,
        "",
        twin="64 processes",
    ),
    breaker(
        "a flood of output",
        """
        frame = sys._getframe()
        while frame and "out" not in frame.f_locals:
            frame = frame.f_back
        pipe = frame.f_locals["out"] if frame else 1  # whoever reads the verdict there reads to the end
        while True:
            os.write(pipe, b"y" * 65536)
            print("y" * 65536, file=sys.stderr)
        """,
        HANGS,
        "took longer",
        "verdict",
    ),
    breaker("a full tmpfs", 'file = open("full", "wb")\nwhile True:\n    file.write(bytes(2**20))', "", twin=DISK),
    breaker(
        "a full tmpfs, errors caught",
        """
        for n in range(200):
            try:
                open(f"f{n % 9}", "ab").write(bytes(2**20))
            except OSError:
                pass
        """,
        "",
        "expected",
        twin=DISK,
    ),
    breaker(
        "a full tmpfs of empty files",
        'n = 0\nwhile True:\n    n += 1\n    open(f"f{n}", "w").close()',
        "",
        twin="twenty thousand files",
    ),
    breaker(
        "memory of a child",
        "if os.fork() == 0:\n    hoard = []\n    while True:\n        hoard.append(torch.ones(2**22))\nos.wait()",
        "",
        twin=MEMORY,
    ),
)
