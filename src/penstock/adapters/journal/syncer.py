"""Background fsync of a journal: one thread, which makes many appends safe with one call to the disk."""

import asyncio
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

Waiter = tuple[int, asyncio.AbstractEventLoop, "asyncio.Future[None]"]


class Syncer:
    """Syncs what `position()` (a running count of bytes written) covers, after `delay_s` so that appends gather.

    `swap` hands over a new current file; the file before is synced, then closed, in this thread. After a failed sync
    everything up to `failed_through` is never called safe: the kernel may have dropped it, whatever later syncs say.
    """

    def __init__(self, fd: int, directory: Path, position: Callable[[], int], delay_s: float) -> None:
        self.dirty = False
        self.problem: OSError | None = None
        self._position, self._directory, self._delay_s = position, directory, delay_s
        self._safe = self._failed_through = 0
        self._lock = threading.Lock()
        self._current, self._retired = fd, list[int]()
        self._new_names = True
        self._waiters: list[Waiter] = []
        self._wake, self._stopping = threading.Event(), False
        self._thread = threading.Thread(target=self._run, name="journal-sync", daemon=True)
        self._thread.start()

    def touch(self) -> None:
        """Something was written. Called on the hot path, which looks at `dirty` first."""
        self.dirty = True
        self._wake.set()

    def swap(self, fd: int) -> None:
        with self._lock:
            self._retired.append(self._current)
            self._current, self._new_names = fd, True
        self.touch()

    async def wait(self) -> None:
        """Return once all that is written now is on the disk. Raises `OSError` when it could not be brought there."""
        target = self._position()
        if target <= self._failed_through:
            raise self.problem or OSError("an earlier sync failed")
        if target <= self._safe:
            return
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        with self._lock:
            self._waiters.append((target, loop, future))
        self._wake.set()
        await future

    def stop(self) -> None:
        """Sync what is left, close every file, end the thread."""
        self._stopping = True
        self._wake.set()
        self._thread.join()
        os.close(self._current)

    def _run(self) -> None:
        while not self._stopping:
            self._wake.wait()
            self._wake.clear()
            if self._delay_s and not self._stopping:
                time.sleep(self._delay_s)
            self._sync()
        self._sync()

    def _sync(self) -> None:
        self.dirty = False
        with self._lock:
            waiters, self._waiters = self._waiters, []
            position = self._position()
            retired, self._retired = self._retired, []
            current, new_names, self._new_names = self._current, self._new_names, False
        problem: OSError | None = None
        try:
            for fd in (*retired, current):
                os.fdatasync(fd)
            if new_names:
                _sync_directory(self._directory)
        except OSError as failure:
            problem, self.problem, self._failed_through = failure, failure, position
        else:
            self._safe = position
        for fd in retired:
            os.close(fd)
        for _, loop, future in waiters:
            if not loop.is_closed():
                loop.call_soon_threadsafe(_resolve, future, problem)


def _sync_directory(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _resolve(future: "asyncio.Future[None]", problem: OSError | None) -> None:
    if future.done():
        return
    if problem is None:
        future.set_result(None)
    else:
        future.set_exception(problem)
