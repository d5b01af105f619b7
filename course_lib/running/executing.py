"""Read a notebook, execute it with this interpreter, and write files so that no crash leaves half of one."""

from __future__ import annotations

import math
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nbclient import NotebookClient
    from nbformat import NotebookNode


def read_notebook(path: Path) -> NotebookNode:
    """Read a notebook of format 4.

    Raises: ValueError if the file is no notebook.
    """
    import nbformat

    try:
        return nbformat.read(path, as_version=4)
    except (nbformat.reader.NotJSONError, nbformat.ValidationError, UnicodeDecodeError) as error:
        raise ValueError(f"{path.name} is no readable notebook ({error}); fetch it again with git checkout") from error


def execute_notebook(
    notebook: NotebookNode,
    folder: Path,
    environment: Mapping[str, str],
    timeout_s: float | None = None,
    on_code_cell: Callable[[int], None] = lambda number: None,
) -> str:
    """Execute `notebook` in place, from the top in a fresh kernel of this interpreter.

    Args:
        folder: the kernel's working folder.
        environment: variables added to ours.
        timeout_s: wall seconds for the whole notebook; None: any time.
        on_code_cell: called with the number of each code cell, from 1, when it starts.
    Returns: "" if all cells passed, else the cell's number, its first lines and its error.
    Raises:  KeyboardInterrupt on Ctrl-C or SIGTERM; the outputs so far are in `notebook`.
    """
    import asyncio

    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    current = {"number": 0, "source": ""}
    n_code_cells = sum(cell.cell_type == "code" for cell in notebook.cells)

    def on_cell_start(cell: NotebookNode, cell_index: int) -> None:
        if cell.cell_type == "code":
            current.update(number=current["number"] + 1, source=cell.source)
            on_code_cell(current["number"])

    deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
    client = NotebookClient(
        notebook,
        km=_this_interpreter(),
        timeout_func=lambda cell: None if deadline_s is None else max(1, math.ceil(deadline_s - time.monotonic())),
        startup_timeout=180,  # a cold disk and a busy machine can take a minute to import IPython
        extra_arguments=["--log-level=40"],  # without the kernel's remark that loopback TCP is not encrypted
        coalesce_streams=True,  # a training bar is kept as its last line, not as thousands
        on_cell_start=on_cell_start,
    )
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None  # so that a failure leaves no earlier output behind it
    interrupted = _stop_on_signal(client)
    try:
        client.execute(cleanup_kc=True, cwd=str(folder), env={**os.environ, **environment})
    except CellExecutionError as error:
        what = f"{error.ename}: {error.evalue}"
    except CellTimeoutError:
        what = f"not finished after {timeout_s:.0f} s; give it longer with --timeout-min, or choose a smaller profile"
    except (DeadKernelError, asyncio.CancelledError) as error:
        if interrupted:
            raise KeyboardInterrupt from error
        what = "the kernel died (often: out of memory); close other programs, or run the notebook alone in JupyterLab"
    except RuntimeError as error:  # nbclient's own word for a kernel that does not start
        what = f"{error}; run `course doctor`"
    else:
        return ""
    head = "\n".join(f"    | {line}" for line in current["source"].splitlines()[:3])
    return f"code cell {current['number']} of {n_code_cells}:\n{head}\n    {what}"


def _this_interpreter() -> Any:
    """A manager whose kernel is this very interpreter, whatever kernels are registered on the machine."""
    from ipykernel.kernelspec import RESOURCES, get_kernel_dict
    from jupyter_client import AsyncKernelManager
    from jupyter_client.kernelspec import KernelSpec, KernelSpecManager

    class ThisInterpreter(KernelSpecManager):
        def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
            return KernelSpec(resource_dir=RESOURCES, **get_kernel_dict())

    return AsyncKernelManager(kernel_name="python3", kernel_spec_manager=ThisInterpreter())


def _stop_on_signal(client: NotebookClient) -> list[int]:
    """Make Ctrl-C (and SIGTERM) end `client` at once; the returned list is no longer empty once that happened.

    nbclient's own handlers shut the kernel down and then report a dead kernel, which looks like any other failure.
    """
    import asyncio

    seen: list[int] = []

    def on_notebook_start(notebook: NotebookNode) -> None:
        task, loop = asyncio.current_task(), asyncio.get_running_loop()

        def stop(number: int) -> None:
            seen.append(number)
            client.shutdown_kernel = "immediate"
            task.cancel()

        if sys.platform != "win32":  # there, Ctrl-C raises KeyboardInterrupt in the event loop itself
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, stop, number)

    client.on_notebook_start = on_notebook_start
    return seen


def write_text_atomically(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a text file so that a reader (or a crash) sees the old file or the new one, never a half.

    Args: mode: of a new file; an old one keeps its own.
    """
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            mode = path.stat().st_mode & 0o777
        os.chmod(temporary, mode)  # mkstemp makes files that only we can read
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
