"""The filter of kernel calls: its numbers are the kernel's, and its program says of each call what the table says."""

import errno
import re
from pathlib import Path

import pytest

from course_lib.grading.sandbox import syscalls

HEADERS = {
    "x86_64": ("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm/unistd_64.h"),
    "aarch64": ("/usr/include/asm-generic/unistd.h",),  # aarch64 has the generic numbers
}
ALLOW, KILL, EPERM, ENOSYS = 0x7FFF0000, 0x80000000, 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
PID = 1


def _table(machine: str) -> dict[str, int]:
    """Name -> number of every call that the filter names."""
    column = ("x86_64", "aarch64").index(machine)
    rows = [row.split() for row in syscalls._ALLOWED.split(";") if row.strip()]
    found = {name: numbers[column] for name, *numbers in rows}
    assert len(found) == len(rows), "a name is there twice"
    found |= {name: str(numbers[column]) for name, numbers in syscalls._BY_ARGUMENT.items()}
    return {name: int(number) for name, number in found.items() if number != "-"}


@pytest.mark.parametrize("machine", HEADERS)
def test_the_numbers_are_the_kernels(machine):
    path = next((Path(name) for name in HEADERS[machine] if Path(name).exists()), None)
    if path is None:
        pytest.skip("needs the kernel's headers (apt install linux-libc-dev)")
    kernel = dict(re.findall(r"^#define __NR_(\w+)\s+(\w+)", path.read_text("utf-8"), re.MULTILINE))
    # The generic table gives some in two steps: __NR_lseek is __NR3264_lseek, and that is 62.
    steps = dict(re.findall(r"^#define (__NR3264_\w+)\s+(\d+)", path.read_text("utf-8"), re.MULTILINE))
    table = _table(machine)
    assert len(table) > 90 and table == {name: int(steps.get(kernel[name], kernel[name])) for name in table}


def test_what_aarch64_lacks_is_what_the_generic_table_lacks():
    path = Path(HEADERS["aarch64"][0])
    if not path.exists():
        pytest.skip("needs the kernel's headers (apt install linux-libc-dev)")
    generic = set(re.findall(r"^#define __NR_(\w+)", path.read_text("utf-8"), re.MULTILINE)) - {"stat", "lstat"}
    lacking = _table("x86_64").keys() - _table("aarch64").keys()
    assert len(lacking) > 15 and not lacking & generic  # it names stat and lstat, and gives them no number


def _verdict(program: list, arch: int, number: int, arguments: tuple[int, ...] = (0,) * 6) -> int:
    """Run the program as the kernel would (Documentation/networking/filter.rst), on one call."""
    data = {0: number, 4: arch} | {16 + 8 * i: value & 0xFFFFFFFF for i, value in enumerate(arguments)}
    place, held = 0, 0
    while True:
        code, if_true, if_false, operand = program[place]
        if code == 0x06:
            return operand
        if code == 0x20:
            held, place = data[operand], place + 1
            continue
        true = {0x15: held == operand, 0x35: held >= operand, 0x45: bool(held & operand)}[code]
        place += 1 + (if_true if true else if_false)


@pytest.mark.parametrize("machine", HEADERS)
def test_the_program_allows_what_the_table_says_and_nothing_else(machine):
    program, table = syscalls.filter_program(machine, PID), _table(machine)
    assert len(program) < 4096 and all(0 <= jump < 256 for row in program for jump in row[1:3])
    by_argument = {table[name] for name in syscalls._BY_ARGUMENT}
    allowed = set(table.values()) - by_argument
    for number in range(700):
        expected = ALLOW if number in allowed else EPERM if number < 424 or number in by_argument else ENOSYS
        assert _verdict(program, ARCH[machine], number, (7777,) * 6) == expected, number


@pytest.mark.parametrize("machine", HEADERS)
def test_another_machines_numbers_end_the_answer(machine):
    program, others = syscalls.filter_program(machine, PID), {0x40000003, 0xC000003E, 0xC00000B7, 0x40000028}
    assert all(_verdict(program, arch, 1) == KILL for arch in others - {ARCH[machine]})
    if machine == "x86_64":
        assert _verdict(program, ARCH[machine], (1 << 30) + 1) == KILL  # x32


@pytest.mark.parametrize("machine", HEADERS)
@pytest.mark.parametrize(
    ("name", "arguments", "verdict"),
    [
        ("clone", (0x3D0F00,), ALLOW),  # as pthread_create asks
        ("clone", (17,), EPERM),  # as fork asks: SIGCHLD
        ("clone", (0x4111,), EPERM),  # as vfork asks
        ("clone", (0x10000000 | 17,), EPERM),  # a new user namespace
        ("fcntl", (3, 3), ALLOW),
        ("fcntl", (3, 1024), EPERM),  # a lease
        ("ioctl", (3, 0x5401), ALLOW),
        ("ioctl", (3, 0x5412), EPERM),  # typing into a terminal
        ("prctl", (15,), ALLOW),
        ("prctl", (4,), EPERM),  # dumpable
        ("tgkill", (PID, 1, 6), ALLOW),  # abort()
        ("tgkill", (2, 2, 9), EPERM),
    ],
)
def test_what_an_argument_decides(machine, name, arguments, verdict):
    program = syscalls.filter_program(machine, PID)
    assert _verdict(program, ARCH[machine], _table(machine)[name], (*arguments, *(0,) * 6)[:6]) == verdict
