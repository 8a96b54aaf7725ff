"""Limits, rates and targets as people write them: `2500 USD / month`, `400 gpu-hours / month`, `600 / minute`, `<= 0.0040 USD`."""

import re
from decimal import Decimal
from typing import Literal

import msgspec

from penstock.config.spending import Budget
from penstock.domain.budgets.limits import WHOLE_UNITS, Law
from penstock.domain.units import Duration, UnitError

Period = Literal["hour", "day", "week", "month"]
PERIODS: tuple[Period, ...] = ("hour", "day", "week", "month")
_LIMIT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(USD|gpu-hours?)\s*/\s*(?:(hour|day|week|month)|rolling\s+(\S+))\s*")
_RATE = re.compile(r"\s*(\d+)\s*/\s*(second|minute|hour|day)\s*")
_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
_TARGET = re.compile(r"\s*<=\s*(\d+(?:\.\d+)?)\s*USD\s*")


class Limit(msgspec.Struct, frozen=True):
    """An amount per calendar period, or (`rolling_s`) per any window of that many seconds; exactly one of the two is set."""

    amount: Decimal
    unit: Literal["USD", "gpu-hours"]
    period: Period | None
    rolling_s: float | None


def parse_limit(text: str) -> Limit:
    """Raises `UnitError` for text that is no limit, and for a limit of nothing or over no time."""
    match = _LIMIT.fullmatch(text)
    if match is None:
        raise UnitError(f"`{text}` is not a limit: write it like `2500 USD / month`, `50 USD / rolling 24h` or `400 gpu-hours / month`")
    rolling = None if match[4] is None else float(Duration.parse(match[4]))
    amount = Decimal(match[1])
    if amount == 0 or rolling == 0:
        raise UnitError(f"`{text}` limits nothing: write an amount and a time above 0, or remove the budget")
    period = next((each for each in PERIODS if each == match[3]), None)
    return Limit(amount, "USD" if match[2] == "USD" else "gpu-hours", period, rolling)


def law_of(budget: Budget, timezone: str) -> Law:
    """A budget's limit in whole units, with calendar periods in its own zone, else in `timezone`. Raises `UnitError`."""
    limit = parse_limit(budget.limit)
    rolling_ns = None if limit.rolling_s is None else round(limit.rolling_s * 10**9)
    amount = int(limit.amount * WHOLE_UNITS[limit.unit])
    return Law(limit.unit, amount, limit.period, rolling_ns, budget.timezone or timezone)


def parse_rate(text: str) -> tuple[int, int]:
    """How many in how many seconds, of text such as `600 / minute`. Raises `UnitError`."""
    match = _RATE.fullmatch(text)
    if match is None or int(match[1]) == 0:
        raise UnitError(f"`{text}` is not a rate: write it like `600 / minute`, per {', '.join(_SECONDS)}")
    return int(match[1]), _SECONDS[match[2]]


def parse_target(text: str) -> Decimal:
    """USD that a measure should stay at or below. Raises `UnitError`."""
    match = _TARGET.fullmatch(text)
    if match is None:
        raise UnitError(f"`{text}` is not a target: write it like `<= 0.0040 USD`")
    return Decimal(match[1])
