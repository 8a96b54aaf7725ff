"""The traffic light of a fleet: green is used well, yellow is near its limits, red is larger than its work.

The first that holds decides:

- **unknown**: less than `LEAST_HOURS` of it are known, or nobody knows what of it was used.
- **yellow**, batch harder and shift what can wait: the P95 of the time to the first token is beyond its target, more than
  `WAITING` of the requests had to wait, the P95 of its KV memory in use is above `FULL`, or the P95 of its use is above `TIGHT`.
- **red**, shrink: its mean use is below `THIN`.
- **green**, allocate dynamically: everything else.

What is late is never told to shrink. Idle time makes the rest dearer by 1 / (1 - idle).
"""

from fractions import Fraction
from math import floor
from typing import Literal

import msgspec

LEAST_HOURS = 24
"""a whole day: nights and days are both in it"""
THIN = 0.3
"""mean use below which a fleet is over-provisioned"""
TIGHT = 0.9
"""P95 of its use above which it is nearly saturated"""
FULL = 0.9
"""P95 of the KV memory in use above which engines begin to preempt requests"""
WAITING = 0.05
HOURS_A_MONTH = 730
Colour = Literal["green", "yellow", "red", "unknown"]
MEANING: dict[Colour, str] = {
    "green": "allocate dynamically",
    "yellow": "batch harder, shift",
    "red": "over-provisioned: shrink",
    "unknown": "unknown",
}


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a fleet over a window; shares are 0 to 1, None is unknown."""

    hours: float
    """of the window that anything is known of"""
    use: float | None
    """mean share of the rented time that was at work"""
    use_p95: float | None = None
    """by hour"""
    is_bound: bool = False
    """the use is an upper bound only, so it cannot show that a fleet is saturated"""
    units: int = 0
    """GPUs, slices or replicas at the most"""
    enough: int | None = None
    """units that would have been enough"""
    serves: bool = True
    """it answers requests; one that only trains has nothing to be late with"""
    committed: bool = False
    """it is paid whether it runs or not"""
    unit_hour: Fraction | None = None
    """USD per unit and hour"""
    first_token_p95_s: float | None = None
    first_token_target_s: float | None = None
    waiting_share: float | None = None
    """requests that no engine took at once"""
    kv_use_p95: float | None = None


class Light(msgspec.Struct, frozen=True, kw_only=True):
    """One light: its colour, the law that decided, the figures that this rests on, and what to do."""

    colour: Colour
    meaning: str
    law: str
    why: tuple[str, ...]
    action: str
    spare_units: int | None = None
    """units that would not have been missed; only of red"""
    saves: int | None = None
    """nano-USD a month that giving these back saves; None: unknown, or nothing to give back"""
    dearer: float | None = None
    """1 / (1 - idle): by how much idle time multiplies the price of the rest; None where nothing was at work"""


def light(load: Load) -> Light:
    """The light of a fleet."""
    dearer = round(1 / load.use, 4) if load.use else None
    if load.use is None:
        return Light(colour="unknown", meaning=MEANING["unknown"], law="what of it was used is not known", why=(), action="see its note")
    if load.hours < LEAST_HOURS:
        known, law = f"{load.hours:.3g} hours are known", f"less than {LEAST_HOURS} hours are known: a day and a night"
        return Light(colour="unknown", meaning=MEANING["unknown"], law=law, why=(known,), action="wait, or look at a longer window")
    if strained := _strained(load):
        law = " and ".join(law for law, _ in strained)
        figures = (*(figure for _, figure in strained), f"mean use {_percent(load.use)}")
        return Light(colour="yellow", meaning=MEANING["yellow"], law=law, why=figures, action=_relief(load), dearer=dearer)
    if load.use < THIN:
        return _shrink(load, dearer)
    figures = (f"mean use {_percent(load.use)}", *_p95(load))
    spare = "" if load.enough is None or load.enough >= load.units else f": {load.enough} of {load.units} would do in 95 % of the hours"
    action = f"let a scaling policy follow the load{spare}" if load.serves else "keep it as it is"
    law = f"mean use of at least {_percent(THIN)}, and nothing waits, is late or full"
    return Light(colour="green", meaning=MEANING["green"], law=law, why=figures, action=action, dearer=dearer)


def _strained(load: Load) -> list[tuple[str, str]]:
    """Laws that say it is near its limits, each with its figure."""
    found = []
    target, late = load.first_token_target_s, load.first_token_p95_s
    if target is not None and late is not None and late > target:
        found.append(("P95 of the first token beyond its target", f"first token P95 {late:.3g} s, target {target:.3g} s"))
    if load.waiting_share is not None and load.waiting_share > WAITING:
        found.append((f"more than {_percent(WAITING)} of requests wait", f"{_percent(load.waiting_share)} of requests waited"))
    if load.kv_use_p95 is not None and load.kv_use_p95 > FULL:
        found.append((f"P95 of KV memory above {_percent(FULL)}", f"KV memory P95 {_percent(load.kv_use_p95)}"))
    if load.serves and not load.is_bound and load.use_p95 is not None and load.use_p95 > TIGHT:
        found.append((f"P95 of its use above {_percent(TIGHT)}", f"use P95 by hour {_percent(load.use_p95)}"))
    return found


def _relief(load: Load) -> str:
    if load.use is not None and load.use < THIN:
        return "spread its peaks: hold or spill them, or let a scaling policy start earlier; on average it is hardly used"
    return "batch harder (more sequences a step), shift what can wait to quiet hours or another tier, then add a unit"


def _shrink(load: Load, dearer: float | None) -> Light:
    spare = None if load.enough is None else max(0, load.units - load.enough)
    saves = None
    if spare and load.unit_hour is not None and not load.committed:
        saves = round(spare * load.unit_hour * HOURS_A_MONTH * 10**9)
    why = (f"mean use {_percent(load.use or 0)}{' at most' if load.is_bound and load.use else ''}", *_p95(load))
    if load.enough is not None:
        why += (f"{load.enough} of {load.units} would do in 95 % of the hours" if load.serves else f"{load.enough} of {load.units} worked",)
    return Light(
        colour="red", meaning=MEANING["red"], law=f"mean use below {_percent(THIN)}", why=why, action=_smaller(load, spare),
        spare_units=spare, saves=saves, dearer=dearer,
    )  # fmt: skip


def _smaller(load: Load, spare: int | None) -> str:
    if not load.use and load.committed:
        return "nobody used it, and it is paid all the same: give it work, or let the commitment lapse"
    if not load.use:
        return "nobody used it: give it back"
    if spare and load.committed:
        return f"{spare} of {load.units} would not be missed, and are paid all the same: give them work, or let that part lapse"
    if spare:
        return f"shrink by {spare} of {load.units}"
    return "a smaller GPU, a slice of one, scaling to zero, or an API would do"


def _p95(load: Load) -> tuple[str, ...]:
    return () if load.use_p95 is None else (f"P95 by hour {_percent(load.use_p95)}",)


def _percent(share: float) -> str:
    """Cut to a tenth, never rounded up: 29.97 % does not read as the 30 % that it is below."""
    return f"{floor(share * 1000) / 10:g} %"
