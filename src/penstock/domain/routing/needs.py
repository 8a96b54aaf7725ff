"""What a request needs, by rules of thumb: a class of tier by how demanding it looks and how much may be lost, and the cheapest tier of
that class or above that is quick enough.

A small error budget asks for the strongest tier whatever else a request looks like.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import msgspec

from penstock.domain.routing.complexity import FAST_BELOW, FRONTIER_FROM

Class = Literal["fast", "balanced", "frontier"]
CLASSES: Final[tuple[Class, ...]] = ("fast", "balanced", "frontier")
Task = Literal["simple", "demanding", "code", "maths", "steps", "open"]
"""`simple`: to classify, to extract, a plain question; `open`: none of the others"""

DEFAULT_BUDGET: Final = 0.05
"""loss of quality that is accepted where nobody says"""
LEAST_BUDGET: Final = 0.02
"""a budget must be above this for any but the strongest tier"""
_SHORT: Final = 160
"""points of length: 1,600 characters"""
_HARD: Final = 400
"""points of a demanding task, from which on it is no plain one"""


class Option(msgspec.Struct, frozen=True):
    """A tier as the choice sees it. `latency_s`: the 95th percentile of its answers lately; None: unknown."""

    tier: str
    latency_s: float | None = None


class Choice(msgspec.Struct, frozen=True):
    """The tier that is taken, and why. `met`: False where no tier is known to be quick enough."""

    tier: str
    why: str
    met: bool = True


def task_of(points: Mapping[str, int]) -> Task:
    """The kind of task, from the features of `complexity`."""
    if points["simple_task"] < 0 and not (points["demanding_task"] or points["maths"] or points["steps"]) and points["length"] <= _SHORT:
        return "simple"
    if points["demanding_task"] >= _HARD:
        return "demanding"
    for task, feature in (("code", "code"), ("maths", "maths"), ("steps", "steps")):
        if points[feature]:
            return task  # type: ignore[return-value]  # each is a Task
    return "demanding" if points["demanding_task"] else "open"


def class_of(score: float, task: Task, error_budget: float = DEFAULT_BUDGET) -> Class:
    """The class of tier for a complexity score in [0, 1] and a task. The budget is asked first: no branch passes it by."""
    if error_budget <= LEAST_BUDGET or score >= FRONTIER_FROM:
        return "frontier"
    return "fast" if task == "simple" or score < FAST_BELOW else "balanced"


def place_of(wanted: Class, tiers: int) -> int:
    """Where a class stands on a ladder of so many tiers, cheap to dear. Of two tiers the cheap one is for all but the frontier."""
    return {"fast": 0, "balanced": (tiers - 1) // 2, "frontier": tiers - 1}[wanted]


def quick_enough(options: Sequence[Option], place: int, latency_s: float) -> Choice:
    """The cheapest of the tiers from `place` on, cheap to dear, that is known to be quick enough.

    Where none is, the one that the task asks for is taken, and that is said: an answer too late may be of use, a wrong one is not.
    """
    for option in options[place:]:
        if option.latency_s is not None and option.latency_s <= latency_s:
            return Choice(option.tier, f"{option.tier} answers within {_told(option.latency_s)} (p95), {_told(latency_s)} is asked for")
    first = options[place]
    known = [f"{option.tier} {_told(option.latency_s)}" for option in options[place:] if option.latency_s is not None]
    if not known:
        return Choice(first.tier, f"how quick tiers are is not known yet, so {_told(latency_s)} is not looked at", met=False)
    told = f"no tier that is good enough is known to answer within {_told(latency_s)} (p95: {', '.join(known)})"
    return Choice(first.tier, told, met=False)


def _told(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 10 else f"{seconds:.0f} s"
