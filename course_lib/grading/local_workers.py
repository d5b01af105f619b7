"""Worker processes on this machine, that nobody else on it can give work to, ask anything, or put code before."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory

import dask
from distributed import LocalCluster, Security

from course_lib.grading.marking_plugin import ClusterError

_HOST = "127.0.0.1"
_ANY_PORT = f"{_HOST}:0"
_SETTINGS = {
    "distributed.scheduler.allowed-failures": 0,  # whose submission stopped a worker is found out one by one
    "distributed.worker.profile.enabled": False,  # its sampling takes time that the marking needs
    # dask always starts web servers, which ask nobody who they are: these have no pages.
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
}


class LocalWorkers:
    """A dask scheduler and its workers. They end with this process, however it ends.

    Raises: ClusterError where the package for certificates is missing.
    """

    def __init__(self, n_workers: int) -> None:
        try:
            security = Security.temporary()  # whoever connects needs our key, which is in memory only
        except ImportError as error:
            raise ClusterError(f"{error}; or all that grading needs: pip install 'course-lib[instructor]'") from error
        # dask puts its folder at the front of sys.path. Its own choice is a fixed name in /tmp, which another user of
        # this machine could have made first, with a torch.py in it.
        self._scratch = TemporaryDirectory(prefix="course-dask-", ignore_cleanup_errors=True)
        settings = _SETTINGS | {"temporary-directory": self._scratch.name}
        try:
            with dask.config.set(settings), _deaf_to_ctrl_c():
                self.cluster = LocalCluster(
                    n_workers=n_workers,
                    threads_per_worker=1,
                    processes=True,  # which end by themselves when this process does, however it ends
                    host=_HOST,
                    security=security,
                    scheduler_kwargs={"dashboard": False, "dashboard_address": _ANY_PORT},
                    dashboard_address=None,
                    memory_limit=0,  # dask's own would write to disk what students handed in
                    silence_logs=logging.CRITICAL,
                    config=settings,
                )
        except BaseException:
            self._scratch.cleanup()
            raise

    def close(self) -> None:
        """End them, and remove what they left on disk."""
        self.cluster.close()
        self._scratch.cleanup()


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Processes that are started meanwhile ignore the terminal's Ctrl-C for good: we end them ourselves."""
    if threading.current_thread() is not threading.main_thread():
        yield  # where signals can't be set
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
