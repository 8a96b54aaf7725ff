"""Answers of entries, fetched from the store beside the event loop; those of late at hand in memory."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from penstock.gateway.breaker import Breaker
from penstock.ports.answer_store import AnswerStore, AnswerStoreError
from penstock.ports.cache import CachedAnswer

PATIENCE_S: Final = 0.25
"""longer than that a client does not wait for the store: its request goes to the model"""
AT_HAND_BYTES: Final = 16_000_000
OVERHEAD_BYTES: Final = 800
"""what an answer takes in memory beside its body"""


class Shelf:
    """Reads answers in a thread with a store of its own, so that no long read of the log is in a client's way."""

    def __init__(self, open_store: Callable[[], AnswerStore], most_bytes: int = AT_HAND_BYTES) -> None:
        self._open_store = open_store
        self._store: AnswerStore | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="answers")
        self._at_hand: OrderedDict[str, CachedAnswer] = OrderedDict()
        self._bytes, self._most = 0, most_bytes
        self._breaker = Breaker()

    def keep(self, entry: str, answer: CachedAnswer) -> None:
        """Puts an answer at hand, before it is in the store."""
        if entry in self._at_hand or _size(answer) > self._most:
            return
        self._at_hand[entry] = answer
        self._bytes += _size(answer)
        while self._bytes > self._most:
            self._bytes -= _size(self._at_hand.popitem(last=False)[1])

    def forget(self, entry: str) -> None:
        if (answer := self._at_hand.pop(entry, None)) is not None:
            self._bytes -= _size(answer)

    def clear(self) -> None:
        self._at_hand.clear()
        self._bytes = 0

    async def get(self, entry: str) -> CachedAnswer | None:
        """None: it is in the store no more. Raises `AnswerStoreError`, also when the store is too slow."""
        if (answer := self._at_hand.get(entry)) is not None:
            self._at_hand.move_to_end(entry)
            return answer
        if not self._breaker.admits(time.monotonic()):
            raise AnswerStoreError("it did not answer of late")
        self._breaker.started()
        try:
            async with asyncio.timeout(PATIENCE_S):
                answer = await asyncio.get_running_loop().run_in_executor(self._thread, self._read, entry)
        except (TimeoutError, AnswerStoreError) as problem:
            self._breaker.failed(time.monotonic())
            raise AnswerStoreError(str(problem) or f"it did not answer within {PATIENCE_S} s") from None
        except asyncio.CancelledError:
            self._breaker.released()
            raise
        self._breaker.succeeded()
        if answer is not None:
            self.keep(entry, answer)
        return answer

    async def close(self) -> None:
        self._thread.submit(self._shut)
        await asyncio.to_thread(self._thread.shutdown)

    def _read(self, entry: str) -> CachedAnswer | None:
        if self._store is None:
            self._store = self._open_store()
        return self._store.answer(entry)

    def _shut(self) -> None:
        if self._store is not None:
            self._store.close()


def _size(answer: CachedAnswer) -> int:
    return len(answer.body) + len(answer.usage or b"") + OVERHEAD_BYTES
