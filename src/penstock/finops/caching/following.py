"""One reader and writer of the cache's log in this process: what it comes to, what was learned from it, and what people add to it."""

from collections.abc import Callable, Sequence
from threading import RLock

import msgspec

from penstock.domain.routing.similarity.promise import Standing as PromiseStanding
from penstock.finops.caching.learning import Learning
from penstock.finops.caching.standing import STATE, ScopeStanding, Standing
from penstock.ports.answer_store import JUDGES, AnswerStore, Entry, Event, LogBegunAnewError, Numbered
from penstock.ports.cache import CachedAnswer

PAGE = 1000
"""events read at once"""


class AnswerLog:
    """The store of the semantic cache behind one lock: chores, pages and feedback ask from threads of their own.

    It is opened when it is first needed, and the same object goes on after a failure: it knows which log our place is of. Every method
    raises `AnswerStoreError`.
    """

    def __init__(
        self,
        opened: Callable[[], AnswerStore],
        log: Callable[[str], None],
        *,
        whole: bool = False,
        learning: Callable[[], Learning] | None = None,
    ) -> None:
        """`whole`: questions and tags are kept in memory; `learning`: what follows the judges of all scopes, made anew with the log."""
        self._opened, self._log, self._whole, self._learn = opened, log, whole, learning
        self._lock = RLock()
        self._store: AnswerStore | None = None
        self._restored = False
        self._size = (0, 0)
        self.standing = Standing(whole=whole)
        """what the log came to so far; the same object until the log begins anew"""
        self.learning: Learning | None = None
        self._begin_learning()

    def follow(self, most: int | None = None) -> int:
        """Reads what is new in the log, at most so many events; how many."""
        with self._lock:
            store, read = self._ready(), 0
            while most is None or read < most:
                try:
                    events = store.since(self.standing.place, PAGE)
                except LogBegunAnewError as problem:
                    self._log(f"warning: the log of the semantic cache begins anew: {problem}")
                    self.standing = Standing(whole=self._whole)
                    self._begin_learning()
                    events = store.since(0, PAGE)
                if not events:
                    break
                for event in events:
                    self._take(event)
                read += len(events)
            self._size = store.size()
            return read

    def append(self, events: Sequence[Event], answers: Sequence[tuple[str, CachedAnswer]] = ()) -> None:
        """Adds to the log, all or nothing."""
        with self._lock:
            self._ready().append(events, answers)

    def answer(self, entry: str) -> CachedAnswer | None:
        """The answer of an entry."""
        with self._lock:
            return self._ready().answer(entry)

    def entry(self, id: str) -> Entry | None:
        """An entry as it was put, its vector too: read again from its place in the log."""
        with self._lock:
            self.follow()
            if (kept := self.standing.kept.get(id)) is None:
                return None
            found = [numbered.event for numbered in self._ready().since(kept.place - 1, 1)]
            return next((event for event in found if isinstance(event, Entry) and event.id == id), None)

    def scopes(self) -> list[tuple[str, ScopeStanding, PromiseStanding | None]]:
        """Every scope in the order of names: what the log came to, and how its judge keeps the promise (None: nobody judges here)."""
        with self._lock:
            learned = self.learning
            return [
                (name, scope, None if learned is None else learned.standing(name))
                for name, scope in sorted(self.standing.scopes.items())
            ]  # fmt: skip

    def keep(self) -> None:
        """Keeps what was learned up to here, so that events before it need not be read again."""
        with self._lock:
            store, place = self._ready(), self.standing.place
            store.keep_state(STATE, place, self.standing.state())
            if self.learning is not None:
                store.keep_state(JUDGES, place, self.learning.state())

    def trim(self, before_ns: int) -> int:
        """Forgets events other than entries, up to what was read here, that are older; how many. None while nobody learns from them."""
        with self._lock:
            return self._ready().trim(self.standing.place, before_ns) if self.learning is not None or self._learn is None else 0

    @property
    def size(self) -> tuple[int, int]:
        """(entries, bytes) as the store told last."""
        return self._size

    def close(self) -> None:
        """Hands the store back; the next call opens it again."""
        with self._lock:
            if self._store is not None:
                self._store.close()

    def _take(self, event: Numbered) -> None:
        if self.learning is not None:
            try:
                self.learning.hear(event)
            except Exception as problem:  # whatever it is: entries are followed all the same, and workers learn by themselves
                self._log(f"error: what the semantic cache learns is not kept until the next start: {type(problem).__name__}: {problem}")
                self.learning = None
        self.standing.apply((event,))

    def _begin_learning(self) -> None:
        self.learning = self._learn() if self._learn is not None else None

    def _ready(self) -> AnswerStore:
        if self._store is None:
            self._store = self._opened()
        if not self._restored:
            self._restore(self._store)
            self._restored = True
        return self._store

    def _restore(self, store: AnswerStore) -> None:
        """What earlier readers learned. A state that can't be read is left: the log tells the most of it again."""
        if (kept := store.state(STATE)) is not None:
            try:
                self.standing.restore(*kept)
            except msgspec.DecodeError as problem:
                self._log(f"warning: the figures of the semantic cache cannot be read, they begin anew: {problem}")
                self.standing = Standing(whole=self._whole)
        if self.learning is not None and (kept := store.state(JUDGES)) is not None:
            try:
                self.learning.restore(*kept)
            except ValueError as problem:
                self._log(f"warning: what the semantic cache has learned cannot be read, it learns anew: {problem}")
                self._begin_learning()
