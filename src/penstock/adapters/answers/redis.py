"""`ports.answer_store.AnswerStore` in a Redis that all hosts share: a stream, hashes beside it, and one script for every change.

The scripts are in `lua/`; `lua/log.lua` says which keys there are. A Redis that was emptied, that has started again, or that dropped one of
the keys because its memory was full, has begun its log anew.
"""

import threading
from collections.abc import Sequence
from importlib import resources
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, OutOfMemoryError, RedisError
from redis.retry import Retry

from penstock.adapters.answers.following import POSITION_BITS, Following, Page, new_log, place_of, position_in
from penstock.adapters.answers.packing import answer_of, instant, packed
from penstock.ports.answer_store import AnswerStoreError, Event, Numbered
from penstock.ports.cache import CachedAnswer

CONNECT_S: Final = 1.0
ANSWER_S: Final = 10.0
AT_ONCE: Final = 1000
"""events that one script looks at when the log is trimmed: Redis does nothing else meanwhile"""
PREFIX: Final = "{penstock:answers:1}:"
"""braces keep all keys on one node of a cluster"""
_KEYS = [PREFIX + name for name in ("meta", "log", "entries", "vouched", "bodies", "digests", "others", "states")]
_META, _BODIES = _KEYS[0], _KEYS[4]
_pack = msgspec.msgpack.Encoder().encode


class RedisAnswers:
    """From any thread: calls wait for each other. Connects with the first call and whenever a connection was lost."""

    def __init__(self, url: str) -> None:
        """Raises `AnswerStoreError` for a URL that cannot be read."""
        address = urlsplit(url)
        self._place = f"redis at {address.hostname}"
        try:
            self._redis: Redis = Redis.from_url(
                url,
                socket_connect_timeout=CONNECT_S,
                socket_timeout=ANSWER_S,
                # Every call may be repeated: a connection that was dropped while idle is no error.
                retry=Retry(NoBackoff(), 1, supported_errors=(ConnectionError,)),
            )
        except ValueError as problem:
            raise AnswerStoreError(
                f"the address of {self._place} cannot be read: {problem}", "write it like `redis://host:6379/0`"
            ) from problem
        self._append, self._since, self._keep, self._state, self._trim = (
            self._redis.register_script(_script(name)) for name in ("append", "since", "keep", "state", "trim")
        )
        self._following, self._lock = Following(), threading.Lock()

    def append(self, events: Sequence[Event], answers: Sequence[tuple[str, CachedAnswer]] = ()) -> None:
        given: list[bytes | str | int] = []
        for row in packed(events, answers):
            of = _pack(row.entries) if row.kind == "removal" else "".join(row.entries)
            given += [row.kind, of, row.at_ns, row.digest, row.body, row.answer or b""]
        if given:
            self._ask(self._append, given)

    def since(self, place: int, most: int = 1000) -> Sequence[Numbered]:
        return self._following.since(place, most, self._page)

    @property
    def unreadable(self) -> int:
        return self._following.unreadable

    def answer(self, entry: str) -> CachedAnswer | None:
        found = self._do(lambda: self._redis.hget(_BODIES, entry))
        return None if found is None else answer_of(found)

    def keep_state(self, name: str, place: int, state: bytes) -> None:
        of, position = _split(place)
        log, last = self._ask(self._keep, [of, name, position, state])
        position_in(log, last, place)

    def state(self, name: str) -> tuple[int, bytes] | None:
        log, found = self._ask(self._state, [name])
        if found is None:
            return None
        position, _, state = found.partition(b" ")
        return place_of(log, int(position)), state

    def trim(self, place: int, before_ns: int) -> int:
        (log, until), after, gone = _split(place), 0, 0
        while after < until:
            now, last, some, after = self._ask(self._trim, [log, after, until, instant(before_ns), AT_ONCE])
            position_in(now, last, place)
            gone += some
        return gone

    def size(self) -> tuple[int, int]:
        entries, held = self._do(lambda: self._redis.hmget(_META, ["entries", "bytes"]))
        return int(entries or 0), int(held or 0)

    def close(self) -> None:
        with self._lock:
            self._redis.close()

    def _page(self, position: int, most: int) -> Page:
        log, last, rows = self._ask(self._since, [position, most])
        return Page(log, last, [(int(id.partition(b"-")[0]), fields[1]) for id, fields in rows])

    def _ask(self, script: Any, given: Sequence[bytes | str | int]) -> Any:
        return self._do(lambda: script(_KEYS, [new_log(), *given]))

    def _do(self, call: Any) -> Any:
        with self._lock:
            try:
                return call()
            except (RedisError, OSError, UnicodeError) as problem:
                raise self._error(problem) from problem

    def _error(self, problem: Exception) -> AnswerStoreError:
        if isinstance(problem, OutOfMemoryError):
            return AnswerStoreError(f"{self._place} has no memory left", "raise its maxmemory, or lower [cache.semantic] max_bytes")
        reason = " ".join(str(problem).split()) or type(problem).__name__
        return AnswerStoreError(
            f"{self._place} failed: {reason}", "check [cache.semantic] store, and that Redis runs and lets this host in"
        )


def _split(place: int) -> tuple[int, int]:
    """The number of the log, and the position in it."""
    return place >> POSITION_BITS, place % 2**POSITION_BITS


def _script(name: str) -> str:
    folder = resources.files("penstock.adapters.answers") / "lua"
    return "\n".join((folder / f"{part}.lua").read_text("utf-8") for part in ("log", name))
