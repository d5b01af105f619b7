"""Reading what is not theirs (references, other submissions, the home folder, the environment), and writing it."""

from attacks.table import Attack, burglar

BURGLARIES: tuple[Attack, ...] = (
    burglar("a file in the home folder", 'return open("@SECRET@").read()'),
    burglar("another student's notebook", 'return open("@OTHER@").read()'),
    burglar("the home folder listed", 'return os.listdir("@HOME@")'),
    burglar("the environment", 'return os.environ["COURSE_TEST_SECRET"]'),
    burglar(
        "the environment of any process",
        """
        found = []
        for pid in (name for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()):
            try:
                found += [pid] if open(f"/proc/{pid}/environ", "rb").read() else []
            except OSError:
                pass
        return found
        """,
    ),
    burglar(
        "the exercises imported",
        """
        from course_lib.exercises import get_exercise
        return get_exercise("01.1").hint
        """,
    ),
    burglar(
        "the exercises' files searched for",
        """
        found = []
        for base in [*sys.path, os.getcwd(), "@ROOT@", sys.prefix]:
            for below in ("", "/course_lib", "/course_lib/exercises", "/course_lib/exercises/ex01"):
                folder = base + below
                try:
                    found += [f"{folder}/{name}" for name in os.listdir(folder) if "alias" in name or "ex00" in name]
                except OSError:
                    pass
        return found
        """,
    ),
    burglar("the solutions read", 'return open("@ROOT@/solutions/01_sound_as_data.ipynb").read()[:20]'),
    burglar(
        "references in memory",
        'return [one for one in gc.get_objects() if type(one).__name__ in ("Exercise", "WrongAnswer", "Marker")][:1]',
    ),
    burglar(
        "secrets in the frames above",
        """
        frame, found = sys._getframe(), []
        while frame:
            found += [name for name in frame.f_locals if name in ("reference", "expected", "salt", "seed", "exercise")]
            frame = frame.f_back
        return found
        """,
    ),
    burglar(
        "memory of the parent or of process 1",
        """
        for pid in {os.getppid(), 1} - {os.getpid(), 0}:
            with open(f"/proc/{pid}/mem", "rb") as memory, open(f"/proc/{pid}/maps") as maps:
                memory.seek(int(maps.readline().split("-")[0], 16))
                return memory.read(16)
        """,
    ),
    burglar(
        "process_vm_readv of the parent",
        """
        class Vector(ctypes.Structure):
            _fields_ = [("base", ctypes.c_void_p), ("n", ctypes.c_size_t)]
        mine = ctypes.create_string_buffer(16)
        libc = ctypes.CDLL(None, use_errno=True)
        ours, theirs = Vector(ctypes.addressof(mine), 16), Vector(id(None), 16)
        n = libc.process_vm_readv(os.getppid(), ctypes.byref(ours), 1, ctypes.byref(theirs), 1, 0)
        return n == 16
        """,
    ),
    burglar(
        "ptrace of the parent",
        """
        libc = ctypes.CDLL(None, use_errno=True)
        held = libc.ptrace(0x4206, os.getppid(), 0, 0) == 0  # PTRACE_SEIZE
        if held:
            libc.ptrace(17, os.getppid(), 0, 0)
        return held
        """,
    ),
    burglar(
        "files that the grader has open",
        """
        found = []
        for fd in range(3, 256):
            try:
                flags = __import__("fcntl").fcntl(fd, 3)  # F_GETFL
                if flags & 3 != os.O_WRONLY:
                    found.append((fd, os.fstat(fd)[:3]))
            except OSError:
                pass
        return found
        """,
    ),
    burglar(
        "a file written outside",
        """
        open("@WRITABLE@/breach", "w").write("was here")
        return open("@WRITABLE@/breach").read()
        """,
    ),
    burglar(
        "the interpreter's own files changed",
        """
        found = []
        libraries = [os.path.dirname(os.__file__), os.path.dirname(torch.__file__), sys.prefix]
        for folder in ["@WRITABLE@", *libraries, "/usr", "/etc", "/", "/dev", "/dev/shm", "/var/tmp", "/run", "/proc"]:
            try:
                open(folder + "/@TOKEN@", "w").close()
                os.remove(folder + "/@TOKEN@")
                found.append(folder)
            except OSError:
                pass
        return found
        """,
    ),
    burglar("a symlink out of the sandbox", 'os.symlink("@SECRET@", "link@TOKEN@"); return open("link@TOKEN@").read()'),
    burglar(
        "loopback over TCP",
        """
        import socket
        with socket.create_connection(("127.0.0.1", @PORT@), timeout=1) as line:
            return line.recv(20)
        """,
    ),
    burglar(
        "loopback over IPv6",
        """
        import socket
        with socket.create_connection(("::1", @PORT@), timeout=1) as line:
            return line.recv(20)
        """,
    ),
    burglar(
        "a UDP packet sent",
        """
        import socket
        line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        return line.sendto(b"breach", ("127.0.0.1", @PORT@))
        """,
    ),
    burglar(
        "a socket in a folder",
        """
        import socket
        line = socket.socket(socket.AF_UNIX)
        line.connect("@WRITABLE@/socket")
        return line.recv(20)
        """,
    ),
    burglar(
        "a socket without a folder",
        """
        import socket
        line = socket.socket(socket.AF_UNIX)
        line.connect("\\0@TOKEN@")
        return line.recv(20)
        """,
    ),
    burglar(
        "a netlink socket (the machine's interfaces)",
        """
        import socket
        line = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
        return line and [name for _, name in socket.if_nameindex() if name != "lo"]
        """,
    ),
    burglar(
        "the machine's name",
        'name = os.uname().nodename\nreturn name == "@HOSTNAME@"',
    ),
    burglar(
        "devices",
        """
        wanted = ("mem", "kmsg", "sda", "vda", "kvm", "fuse", "loop0", "tty0")
        return [name for name in os.listdir("/dev") if name in wanted]
        """,
    ),
    burglar(
        "the time of a device, which the next can read",
        """
        before = os.stat("/dev/null").st_mtime_ns
        os.utime("/dev/null")
        return os.stat("/dev/null").st_mtime_ns != before
        """,
    ),
    burglar(
        "the kernel's keys: a new one",
        """
        libc = ctypes.CDLL(None, use_errno=True)
        key = libc.syscall(248, b"user", b"@TOKEN@", b"left for the next", 17, -4)  # add_key, user session keyring
        return key > 0
        """,
    ),
    burglar(
        "shared memory: a new segment",
        """
        libc = ctypes.CDLL(None, use_errno=True)
        segment = libc.shmget(0x5EED, 4096, 0o1666)
        found = segment >= 0 and [line for line in open("/proc/sysvipc/shm") if " %d " % segment in line]
        libc.shmctl(segment, 0, None)
        return found
        """,
    ),
    burglar(
        "a new user namespace (the way to more attacks on the kernel)",
        "return ctypes.CDLL(None, use_errno=True).unshare(0x10000000) == 0",
    ),
    burglar(
        "a mount",
        'os.mkdir("m")\nreturn ctypes.CDLL(None, use_errno=True).mount(b"none", b"m", b"tmpfs", 0, None) == 0',
    ),
    burglar(
        "root's rights",
        """
        os.chown(".", 12345, 12345)
        os.chown(".", 0, 0)
        return True
        """,
    ),
    burglar(
        "a memory file (programs without a file)",
        'return os.memfd_create("@TOKEN@") >= 0',
    ),
)
