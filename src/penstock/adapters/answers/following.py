"""How a log is read, wherever it lies: places that say which log they are of, and what could not be read.

A place is the number of the log, drawn when it began, and the position in it: so a place of a log that was lost is known as such,
whoever comes with it.
"""

import secrets
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from penstock.adapters.answers.packing import event_of
from penstock.ports.answer_store import LogBegunAnewError, Numbered

POSITION_BITS: Final = 40
_LOGS: Final = 2**22


class Page(msgspec.Struct, frozen=True):
    """What follows a position."""

    log: int
    """its number; another one for a log whose last events may have been lost; 0: there is none yet"""
    last: int
    """the position that was given last"""
    bodies: Sequence[tuple[int, bytes]]
    """positions and events"""


def new_log() -> int:
    """A number that no other log has, as good as certainly."""
    return 1 + secrets.randbelow(_LOGS - 1)


def place_of(log: int, position: int) -> int:
    """In 63 bits."""
    return log << POSITION_BITS | position


def position_in(log: int, last: int, place: int) -> int:
    """Place 0 is before all. Raises `LogBegunAnewError` for a place of another log, or beyond this one."""
    position = place - place_of(log, 0)
    if place and not 0 <= position <= last:
        raise LogBegunAnewError("the answers that were kept are gone, or some of them", "they are learned again from now on")
    return max(position, 0)


class Following:
    """Pages of one log after another."""

    def __init__(self) -> None:
        self.unreadable = 0
        self._counted: tuple[int, int] = (0, 0)
        """(log, the last position up to which unreadable ones were counted)"""
        self._past = (0, 0)
        """(place, the last of events after it that all cannot be read)"""

    def since(self, place: int, most: int, page: Callable[[int, int], Page]) -> list[Numbered]:
        """`page` is asked for what follows a position. Reads on where a whole page holds nothing that can be read."""
        start = self._past[1] if place and place == self._past[0] else place
        while True:
            found = page(start % 2**POSITION_BITS, most)
            position_in(found.log, found.last, place)
            events = [(place_of(found.log, position), event_of(body)) for position, body in found.bodies]
            read = [Numbered(at, event) for at, event in events if event is not None]
            self._count(found, [event is None for _, event in events])
            if read or len(events) < most:
                break
            start = events[-1][0]
        if events and not read:
            self._past = (place, events[-1][0])
        return read

    def _count(self, page: Page, unreadable: Sequence[bool]) -> None:
        """Every event once, however often it is read."""
        log, counted = self._counted
        counted = counted if log == page.log else 0
        self.unreadable += sum(bad and position > counted for (position, _), bad in zip(page.bodies, unreadable, strict=True))
        self._counted = (page.log, max([counted, *(position for position, _ in page.bodies[-1:])]))
