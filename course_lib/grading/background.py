"""What may go on beside something else."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread


def in_background(action: Callable[[], None]) -> Future[None]:
    """Start it in a thread of its own, which a Ctrl-C does not wait for. What it raises, `result()` raises."""
    future: Future[None] = Future()

    def run() -> None:
        try:
            action()
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(None)

    Thread(target=run, daemon=True).start()
    return future
