"""What the controller does beside taking the journal in: hours are closed, meters read, old days sealed. Each a small step at a time."""

import time
import traceback
from collections.abc import Callable, Sequence
from typing import Protocol

from penstock.domain.prices.book import PriceBook
from penstock.ports.cost_store import CostStore
from penstock.ports.usage_store import StoreError

PAUSE_S = 20.0
"""until a chore that found nothing to do looks again"""
TROUBLE_S = 60.0


class Chore(Protocol):
    """One duty. State lies in the store, so a step may be cut off at any time and is taken up again."""

    def step(self, now_ns: int) -> int | None:
        """Does a little; returns how much, 0 when there is nothing to do, None when it is another host's to do or keeps its own time.
        Raises `StoreError`."""


class Chores:
    """Takes turns: a chore with work left goes on at the next turn, one without looks again after a pause.

    One that another host does is asked at every turn, so that it goes on where that one stopped.
    """

    def __init__(
        self,
        chores: Sequence[Chore],
        log: Callable[[str], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` (seconds, monotonic) times the pauses."""
        self._due = dict.fromkeys(range(len(chores)), 0.0)
        self._chores, self._log, self._clock = chores, log, clock
        self._told: dict[int, str] = {}
        """chore -> its trouble, as long as it lasts"""

    def turn(self, now_ns: int) -> bool:
        """A step of every chore that is due; whether any has work left."""
        busy = False
        for index, chore in enumerate(self._chores):
            now = self._clock()
            if now < self._due[index]:
                continue
            try:
                done = chore.step(now_ns)
            except StoreError as problem:
                self._tell(index, f"error: {problem}\nhint: {problem.hint}")
                self._due[index] = now + TROUBLE_S
                continue
            except Exception as problem:  # whatever it is: the other chores go on, and this one tries again
                trace = "".join(traceback.format_exception(problem)).rstrip()
                self._tell(index, f"error: {type(chore).__name__} failed, and tries again every {TROUBLE_S:.0f} s\n{trace}")
                self._due[index] = now + TROUBLE_S
                continue
            self._told.pop(index, None)
            if done:
                busy = True
            elif done is not None:
                self._due[index] = now + PAUSE_S
        return busy

    def _tell(self, index: int, trouble: str) -> None:
        """Logs a trouble once."""
        if self._told.get(index) != trouble:
            self._log(trouble)
        self._told[index] = trouble


class Paced:
    """A chore with a pace of its own: how soon it looks again, and how long it rests after a step that took long."""

    def __init__(self, chore: Chore, pause_s: float, rest: float = 0.0, *, clock: Callable[[], float] = time.monotonic) -> None:
        """`rest`: times the length of a step, so that pages and the intake have the rest of a core; 0: only after the last one."""
        self._chore, self._pause_s, self._rest, self._clock, self._due = chore, pause_s, rest, clock, 0.0

    def step(self, now_ns: int) -> int | None:
        """As the chore's; None while it rests. Raises `StoreError`."""
        begun = self._clock()
        if begun < self._due:
            return None
        done = self._chore.step(now_ns)
        ended = self._clock()
        self._due = ended + max(self._rest * (ended - begun), 0.0 if done else self._pause_s)
        return done if done and not self._rest else None


class PriceKeeper:
    """Keeps every price entry as it was when it was first in the book, so that a record can be priced again by the very entry it names."""

    def __init__(self, book: PriceBook, costs: CostStore) -> None:
        self._book, self._costs, self._done = book, costs, False

    def step(self, now_ns: int) -> int:
        """Writes them once; 0 when that is done."""
        if self._done:
            return 0
        entries = list(self._book.entries())
        self._costs.put_price_entries(entries)
        self._done = True
        return len(entries)
