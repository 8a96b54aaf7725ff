"""Work that several ask for at once is done once, and its result is good for a moment longer."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import Generic, TypeVar

T = TypeVar("T")
MOST_KEPT = 16


class Shared(Generic[T]):
    """Results by key, for one event loop. Only as much runs at once as is allowed, of heavy work one; what fails is not kept."""

    def __init__(self, fresh_s: float, at_once: int) -> None:
        self._fresh_s = fresh_s
        self._gate, self._heavy = asyncio.Semaphore(at_once), asyncio.Lock()
        self._running: dict[str, asyncio.Task[T]] = {}
        self._kept: dict[str, T] = {}
        self._turn = 0

    def forget(self) -> None:
        """Something was changed: what was made, or begun, before it is given to nobody who asks from now on."""
        self._turn += 1
        self._kept.clear()
        self._running.clear()

    async def get(self, key: str, make: Callable[[], Awaitable[T]], *, heavy: bool = False) -> T:
        """The result of `make`, or of the one who asked for the same just before. Raises what `make` raises."""
        if key in self._kept:
            return self._kept[key]
        task = self._running.get(key)
        if task is None:
            task = self._running[key] = asyncio.create_task(self._make(key, make, heavy))
        return await asyncio.shield(task)  # who goes away leaves the others their result

    async def _make(self, key: str, make: Callable[[], Awaitable[T]], heavy: bool) -> T:
        turn = self._turn
        try:
            async with self._heavy if heavy else nullcontext(), self._gate:  # heavy work waits before it takes a place from others
                result = await make()
        finally:
            if turn == self._turn:
                del self._running[key]
        if turn == self._turn and len(self._kept) < MOST_KEPT:
            self._kept[key] = result
            asyncio.get_running_loop().call_later(self._fresh_s, self._kept.pop, key, None)
        return result
