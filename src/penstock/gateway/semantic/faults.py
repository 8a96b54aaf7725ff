"""Faults inside the cache, told without a flood: requests go on without it, and each of them may meet the same fault."""

import time
import traceback
from collections.abc import Callable
from typing import Final

import msgspec

AGAIN_S: Final = 60.0
"""a fault that is still there is told again after so long"""

Place = tuple[type[BaseException], str, int]


class LastTold(msgspec.Struct):
    """When a kind of fault was told last (monotonic seconds), and how often it has happened since."""

    at: float
    more: int = 0


class Faults:
    """Faults are of one kind that have one type and come from one line."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self._told: dict[Place, LastTold] = {}

    def tell(self, where: str, problem: Exception) -> None:
        """Tells of a fault with its traceback, and how many of its kind have gone untold; not more than once a minute for each kind."""
        place, now = _place(problem), time.monotonic()
        told = self._told.get(place)
        if told is not None and now - told.at < AGAIN_S:
            told.more += 1
            return
        since = f" (and {told.more} times since it was told last)" if told is not None and told.more else ""
        self._told[place] = LastTold(now)
        self._log(f"error: the semantic cache failed {where}{since}\n{''.join(traceback.format_exception(problem))}")


def _place(problem: Exception) -> Place:
    at = problem.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    return (type(problem), "", 0) if at is None else (type(problem), at.tb_frame.f_code.co_filename, at.tb_lineno)
