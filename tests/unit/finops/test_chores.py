"""Chores take turns: one in trouble says so once and is tried again, and keeps no other from its work."""

from collections.abc import Iterator

from penstock.finops.chores import PAUSE_S, TROUBLE_S, Chores
from penstock.ports.usage_store import StoreError


class Duty:
    """Answers its steps one after the other, raising what is an error."""

    def __init__(self, *answers: int | Exception) -> None:
        self._answers: Iterator[int | Exception] = iter(answers)
        self.steps = 0

    def step(self, now_ns: int) -> int:
        self.steps += 1
        answer = next(self._answers, 0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Day:
    """Chores over a clock that is turned by hand."""

    def __init__(self, *duties: Duty) -> None:
        self.now = 0.0
        self.said: list[str] = []
        self._chores = Chores(duties, self.said.append, clock=lambda: self.now)

    def turn(self, after: float = 0.0) -> bool:
        self.now += after
        return self._chores.turn(0)


def test_a_chore_with_work_left_goes_on_at_once_and_one_without_pauses() -> None:
    busy, idle = Duty(5, 3), Duty()
    day = Day(busy, idle)
    assert [day.turn(), day.turn(), day.turn(), day.turn()] == [True, True, False, False]
    assert (busy.steps, idle.steps) == (3, 1)
    assert not day.turn(PAUSE_S)
    assert (busy.steps, idle.steps) == (4, 2)


def test_a_chore_that_fails_is_told_of_and_tried_again_while_others_go_on() -> None:
    broken, other = Duty(KeyError("no such fleet"), KeyError("no such fleet"), 1), Duty(1, 1, 1)
    day = Day(broken, other)
    assert day.turn()
    assert day.turn()
    assert (broken.steps, other.steps) == (1, 2)
    [trace] = day.said
    assert trace.startswith("error: Duty failed")
    assert "test_chores.py" in trace
    assert "no such fleet" in trace
    day.turn(TROUBLE_S)
    assert (broken.steps, len(day.said)) == (2, 1), "the same trouble is told once"
    day.turn(TROUBLE_S)
    assert broken.steps == 3


def test_every_chore_has_a_trouble_of_its_own() -> None:
    away = [StoreError("the store is away", "start it")] * 3
    day = Day(Duty(1, 1, 1), Duty(*away), Duty(*away[:1], 1, *away[:1]))
    for _ in range(3):
        day.turn(TROUBLE_S)
    assert day.said == ["error: the store is away\nhint: start it"] * 3, "the last one stood up in between"
