"""Rows of cells -> rows of values. Columns that hardly change are compared with the row before as a whole: most of a bill repeats."""

from collections.abc import Callable, Sequence
from operator import getitem, itemgetter
from typing import Any

from penstock.adapters.bills.cells import Column, NotPlain, NumberColumn, PlainNumbers

Pick = Callable[[Sequence[Any]], tuple[Any, ...]]


class Conversion:
    """Values of a row in the order of `columns`; `sample` shows which columns hardly change."""

    def __init__(self, columns: Sequence[Column], positions: Sequence[int], sample: Sequence[Sequence[Any]]) -> None:
        steady = [at for at, position in enumerate(positions) if len({row[position] for row in sample}) <= 1] if sample else []
        moving = [at for at in range(len(columns)) if at not in set(steady)]
        numbers = [at for at in moving if isinstance(columns[at], NumberColumn)]
        moving = [at for at in moving if not isinstance(columns[at], NumberColumn)]
        self._steady, self._moving, self._numbers = ([columns[at] for at in part] for part in (steady, moving, numbers))
        self._pick_steady, self._pick_moving, self._pick_numbers = (
            picker([positions[at] for at in part]) for part in (steady, moving, numbers)
        )
        self._plain = PlainNumbers().__getitem__
        self._cells: tuple[Any, ...] | None = None
        self._values: list[Any] = []
        self.order = [*steady, *moving, *numbers]
        """of the values, as indices of `columns`"""

    def __call__(self, fields: Sequence[Any]) -> list[Any]:
        """Raises `CellError` for a cell without which the row cannot be read."""
        cells = self._pick_steady(fields)
        if cells != self._cells:
            # a cell that cannot be read leaves what was there before
            self._values = list(map(getitem, self._steady, cells))
            self._cells = cells
        numbers = self._pick_numbers(fields)
        try:
            return [*self._values, *map(getitem, self._moving, self._pick_moving(fields)), *map(self._plain, numbers)]
        except NotPlain:
            return [*self._values, *map(getitem, self._moving, self._pick_moving(fields)), *map(getitem, self._numbers, numbers)]


def picker(positions: Sequence[int]) -> Pick:
    """Takes those places of a row, as a tuple also of none and of one."""
    if len(positions) > 1:
        return itemgetter(*positions)
    if positions:
        only = positions[0]
        return lambda fields: (fields[only],)
    return lambda fields: ()
