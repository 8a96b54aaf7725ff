"""Answers that go on: the live tail for as long as somebody looks, and exports of any length, row by row."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

import msgspec

from penstock.config.settings import Settings
from penstock.finops.live import Tail
from penstock.ports.journal import JournalReader
from penstock.ports.usage_store import Snapshot

Reading = Callable[[], AbstractContextManager[tuple[Snapshot, JournalReader]]]
"""opens a consistent view of store and journal"""


class Fragments(Protocol):
    """Renders a part of a page by its template's name."""

    def fragment(self, template: str, **given: object) -> str: ...


class Busy(Exception):
    """As many exports run as may; the message says so."""


class Last:
    """The bytes that were made last, with what they were made of: watchers without filters get the very same."""

    def __init__(self) -> None:
        self._of: object = None
        self._made = b""

    def made(self, of: object, make: Callable[[], bytes]) -> bytes:
        """What `make` makes of `of`, unless that was made last."""
        if of is not self._of:
            self._made, self._of = make(), of
        return self._made


class Sources(msgspec.Struct, frozen=True):
    """What a stream is made from. `exports` has a place for each export that may run at once."""

    settings: Settings
    reading: Reading
    fragments: Fragments
    tail: Tail
    clock_ns: Callable[[], int]
    exports: asyncio.Semaphore
    last: Last
