"""Who asks the very same question again at once, after an answer from the cache, did not like it."""

import time
from collections import OrderedDict
from typing import Final

import msgspec

WITHIN_S: Final = 120.0
MOST: Final = 10_000


class Replayed(msgspec.Struct, frozen=True):
    """An answer that somebody got from the cache."""

    request: str
    entry: str
    risk: float | None
    until: float


class AskingAgain:
    """The last answers from the cache, by who got them and for which request. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._served: OrderedDict[tuple[str, bytes], Replayed] = OrderedDict()

    def served(self, user: str, asked: bytes, request: str, entry: str, risk: float | None) -> None:
        self._served[(user, asked)] = Replayed(request, entry, risk, time.monotonic() + WITHIN_S)
        self._served.move_to_end((user, asked))
        if len(self._served) > MOST:
            self._served.popitem(last=False)

    def of(self, user: str, asked: bytes) -> Replayed | None:
        """What the same user got for the same request a moment ago; it is told once."""
        served = self._served.pop((user, asked), None)
        return served if served is not None and served.until > time.monotonic() else None
