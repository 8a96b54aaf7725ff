"""The live tail: every request as it is taken in, handed to whoever looks on. Bounded: who is slow loses batches, and is told so."""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress

import msgspec

from penstock.domain.ledger.record import UsageRecord, is_aside

MOST_BATCHES = 8
"""that wait for one subscriber; the oldest goes first"""


class Batch(msgspec.Struct, frozen=True):
    """Records that were taken in together, and how many earlier ones this subscriber has missed."""

    records: tuple[UsageRecord, ...]
    missed: int = 0


class Tail:
    """Publishes to any number of subscribers, of one event loop. A batch is held once, however many wait for it."""

    def __init__(self, most_batches: int = MOST_BATCHES) -> None:
        self._most = most_batches
        self._subscribers: set[Subscription] = set()

    def publish(self, records: Sequence[UsageRecord]) -> None:
        """Hands a batch to every subscriber; costs nothing while there is none."""
        if self._subscribers and (batch := tuple(record for record in records if not is_aside(record))):
            for subscriber in self._subscribers:
                subscriber.put(batch, self._most)

    def subscribe(self) -> "Subscription":
        """A place in the tail, from now on; `close` gives it back."""
        subscription = Subscription(self)
        self._subscribers.add(subscription)
        return subscription

    def leave(self, subscription: "Subscription") -> None:
        self._subscribers.discard(subscription)

    @property
    def watched(self) -> int:
        """How many look on."""
        return len(self._subscribers)


class Subscription:
    """What waits for one subscriber."""

    def __init__(self, tail: Tail) -> None:
        self._tail = tail
        self._waiting: deque[tuple[UsageRecord, ...]] = deque()
        self._missed = 0
        self._news = asyncio.Event()

    def put(self, batch: tuple[UsageRecord, ...], most: int) -> None:
        if len(self._waiting) >= most:
            self._missed += len(self._waiting.popleft())
        self._waiting.append(batch)
        self._news.set()

    async def next(self, wait_s: float) -> Batch | None:
        """The next batch, or None when none came within `wait_s`."""
        if not self._waiting:
            self._news.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._news.wait()
        if not self._waiting:
            return None
        missed, self._missed = self._missed, 0
        return Batch(self._waiting.popleft(), missed)

    def close(self) -> None:
        self._tail.leave(self)
