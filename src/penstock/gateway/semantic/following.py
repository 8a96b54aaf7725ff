"""The log of the answer store, followed in a thread: what was learned here is appended, what is read is handed to the event loop.

The store may be away or slow for as long as it likes: requests go on, with what is in memory.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from threading import Event as Flag
from threading import Lock, Thread
from typing import Final, NamedTuple

from penstock.ports.answer_store import AnswerStore, AnswerStoreError, Event, LogBegunAnewError, Numbered
from penstock.ports.cache import CachedAnswer

POLL_S: Final = 0.2
READ: Final = 500
"""events at a time"""
APPEND: Final = 128
"""queued pieces at a time"""
MOST_WAITING: Final = 4_000
MOST_WAITING_BYTES: Final = 32_000_000
SLICE_S: Final = 0.004
"""how long the event loop takes events in at a stretch, and has for other things after it"""
Steps = Iterable[None] | None
"""what is left to do, a bounded piece at a time; None: nothing"""
FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 5.0
LAST_WORDS_S: Final = 3.0
"""how long the end of a worker waits for what is still to be appended"""


class Piece(NamedTuple):
    """What is appended in one, with the answers of its entries."""

    events: tuple[Event, ...]
    answers: tuple[tuple[str, CachedAnswer], ...] = ()

    @property
    def bytes(self) -> int:
        return sum(len(answer.body) + 2000 for _, answer in self.answers) + 500 * len(self.events)


class Following:
    """`take` is called on the event loop with each event, in the order of the log; `restore` before the first one, with the state that
    was kept under `state`, if there is one, and its place; `forget` when the log has begun anew. Steps that they return are taken in slices
    before anything else is handed over."""

    def __init__(
        self,
        open_store: Callable[[], AnswerStore],
        take: Callable[[Numbered], Steps],
        restore: Callable[[int, bytes], None],
        forget: Callable[[], Steps],
        state: str,
        log: Callable[[str], None],
    ) -> None:
        self._open_store, self._take, self._restore, self._forget = open_store, take, restore, forget
        self._state, self._log = state, log
        self._waiting: deque[Piece] = deque()
        self._waiting_bytes = 0
        self._lock = Lock()
        self._stop, self._wake = Flag(), Flag()
        self._thread = Thread(target=self._run, name="answer-log", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._place = 0
        self._told = self._told_dropped = self._restored = False
        self.ready = False
        """whether all that stood in the log at the start has been taken in"""
        self.away = False
        self.dropped = 0
        """pieces that found no room while the store was away"""

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def queue(self, piece: Piece, *, again: bool = False) -> bool:
        """For the next append, in a moment. False: there is no room for it while the store is away; `again`: then it is kept, and queued
        later on, so that nothing is lost."""
        size = piece.bytes
        with self._lock:
            fits = len(self._waiting) < MOST_WAITING and self._waiting_bytes + size <= MOST_WAITING_BYTES
            if fits:
                self._waiting.append(piece)
                self._waiting_bytes += size
        if not fits and not again:
            self.dropped += 1
            if not self._told_dropped:
                self._told_dropped = True
                self._log("warning: the semantic cache forgets what is new: its store has not taken anything for too long")
        return fits

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    async def close(self) -> None:
        """Appends what is queued, if the store takes it at once."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join, LAST_WORDS_S)

    def _run(self) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                store = self._open_store()
                try:
                    self._follow(store)
                    return
                finally:
                    store.close()
            except Exception as problem:  # whatever it is: who stops following goes on serving what others have purged
                if not self.away:
                    told = str(problem) if isinstance(problem, AnswerStoreError) else f"{type(problem).__name__}: {problem}"
                    hint = f"\nhint: {problem.hint}" if isinstance(problem, AnswerStoreError) and problem.hint else ""
                    self._log(f"error: the store of the semantic cache is away, requests go on without it: {told}{hint}")
                    pause_s = FIRST_PAUSE_S
                self.away = True
            if self._stop.wait(pause_s):
                return
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _follow(self, store: AnswerStore) -> None:
        """Until the end of the worker. Raises `AnswerStoreError`."""
        if not self._restored and (kept := store.state(self._state)) is not None:
            self._hand_over(lambda: self._restore(*kept))
        self._restored = True
        while True:
            ending = self._stop.is_set()
            self._append(store)
            if ending:
                return
            read = self._read(store)
            if self.away:
                self.away = self._told_dropped = False
                self._log("the store of the semantic cache answers again")
            if read:
                self._take_in(read)
            self.ready = self.ready or not read
            if self.ready and len(read) < READ:
                self._wake.wait(POLL_S)

    def _read(self, store: AnswerStore) -> Sequence[Numbered]:
        """What follows. A log that begins anew is read from its beginning, after everything has been forgotten."""
        try:
            return store.since(self._place, READ)
        except LogBegunAnewError:
            self._log("warning: the store of the semantic cache has begun anew: what it held is forgotten")
            self._in_slices(self._forget)
            self._place, self.ready = 0, False
            return store.since(0, READ)

    def _append(self, store: AnswerStore) -> None:
        while True:
            with self._lock:
                pieces = [self._waiting[at] for at in range(min(APPEND, len(self._waiting)))]
            if not pieces:
                return
            store.append([event for piece in pieces for event in piece.events], [each for piece in pieces for each in piece.answers])
            with self._lock:
                for _ in pieces:
                    self._waiting_bytes -= self._waiting.popleft().bytes

    def _take_in(self, read: Sequence[Numbered]) -> None:
        """Hands events to the loop, and waits until it has them: it is never given more than it takes."""

        def each() -> Iterator[None]:
            for numbered in read:
                yield from self._take(numbered) or ()
                yield

        self._in_slices(each)
        self._place = read[-1].place

    def _in_slices(self, begin: Callable[[], Steps]) -> None:
        left: Iterator[None] | None = None
        done = Flag()

        def slice_of_them() -> None:
            nonlocal left
            until = time.perf_counter() + SLICE_S
            left = iter(begin() or ()) if left is None else left
            for _ in left:
                if time.perf_counter() > until:
                    assert self._loop is not None
                    self._loop.call_later(SLICE_S, slice_of_them)
                    return
            done.set()

        self._hand_over(slice_of_them, done)

    def _hand_over(self, call: Callable[[], None], done: Flag | None = None) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(call)
        except RuntimeError:  # the loop has ended: so does this thread
            self._stop.set()
            return
        while done is not None and not done.wait(POLL_S) and not self._stop.is_set():
            pass
