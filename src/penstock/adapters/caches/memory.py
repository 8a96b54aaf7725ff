"""The exact cache in a process's own memory: least recently used goes first, bounded in bytes."""

import time
from collections import OrderedDict

from penstock.ports.cache import CachedAnswer

OVERHEAD_BYTES = 1024
"""what an entry takes beside its bodies: key, struct, dictionary slot, strings (measured with tracemalloc)"""


class MemoryCache:
    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._evicted = 0
        self._entries: OrderedDict[bytes, tuple[float, int, CachedAnswer]] = OrderedDict()

    async def get(self, key: bytes) -> CachedAnswer | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry[0] < time.monotonic():
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return entry[2]

    async def put(self, key: bytes, answer: CachedAnswer, ttl_s: float) -> None:
        size = len(answer.body) + len(answer.usage or b"") + OVERHEAD_BYTES
        if size > self._max_bytes:
            return
        if key in self._entries:
            self._drop(key)
        self._entries[key] = (time.monotonic() + ttl_s, size, answer)
        self._bytes += size
        while self._bytes > self._max_bytes:
            self._drop(next(iter(self._entries)))
            self._evicted += 1

    def stats(self) -> dict[str, int]:
        return {"entries": len(self._entries), "bytes": self._bytes, "evicted": self._evicted}

    def _drop(self, key: bytes) -> None:
        self._bytes -= self._entries.pop(key)[1]
