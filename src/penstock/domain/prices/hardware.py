"""What own hardware is paid over any span of time, whether it runs or not: the rent of fleets, and costs that accrue by the month.

Amounts are nano-USD and exact under cuts: an amount over [a, b) is floor(rate x b) - floor(rate x a) in every stretch of a
constant rate, so the parts of any division of a window add up to the window's own amount.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from typing import Literal, TypeVar

import msgspec

from penstock.domain.prices.config_price import PriceError
from penstock.domain.prices.schedule import ALWAYS
from penstock.domain.prices.schedule import HOUR_NS as HOUR_NS
from penstock.domain.prices.slices import cards_for
from penstock.domain.units import NANO_PER_USD

Value = TypeVar("Value")
CostUnit = Literal["hour", "day", "month"]

YEAR_HOURS = 8_760
"""hours of a year in terms and depreciations: 365 days, as clouds count the terms of reservations"""

PER_HOUR = {"hour": 1, "day": 24}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TERM = re.compile(r"\s*(\d+)\s*(y|mo)\s*")
_AMOUNT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(?:USD)?\s*")

Steps = Sequence[tuple[int, int | None]]
"""(unix ns, units that run from then on), in order of time; None: not known from then on; before the first one none runs"""
Dated = tuple[tuple[int, Fraction], ...]
"""(unix ns, USD per hour from then on), in order of time"""


class Committed(msgspec.Struct, frozen=True):
    """Units that are paid in [since_ns, until_ns) whether they run or not; `usd_per_hour` is for each."""

    count: int
    usd_per_hour: Fraction
    since_ns: int = ALWAYS
    until_ns: int | None = None


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """How a fleet is held and paid. A unit is what it counts: a whole GPU, or a MIG slice.

    on-demand, spot: `usd_per_hour` for every unit while it runs.
    reserved: `committed` for every unit of the commitment and every hour of the term, running or not; what runs beyond it, before
    it and after it costs `usd_per_hour`.
    owned: the purchase price spread over the years (`committed`, nothing after them), and `usd_per_hour`, where given, for power
    and rack of every unit while it runs. What runs beyond the owned units has no known price.
    """

    name: str
    gpu: str
    kind: Literal["on-demand", "spot", "reserved", "owned"] = "on-demand"
    mig: str | None = None
    share: Fraction = Fraction(1)
    """of a card, per unit"""
    count: int = 1
    """units as planned by the config"""
    usd_per_hour: Dated = ()
    """of ONE running unit; before the first entry it is unknown"""
    committed: Committed | None = None
    by_card: bool = False
    """the price is that of whole cards, so the rest that no slice covers is paid as well: `unallocated`"""
    cards: int | None = None
    """whole cards that are rented, whatever runs on them; None: as few as hold what runs"""
    card: str | None = None
    """name of the cards that several fleets' slices lie on; None: it has cards of its own"""
    planned: Fraction | None = None
    """output tokens per second that ONE running unit is planned to generate"""

    @property
    def steps(self) -> Steps:
        """As many units as the config counts, always."""
        return ((ALWAYS, self.count),)


class Rent(msgspec.Struct, frozen=True):
    """What is paid for a span of time, in nano-USD, and what ran in it."""

    running: int = 0
    """units that ran"""
    unused: int = 0
    """committed units that did not"""
    unallocated: int = 0
    """the rest of cards that no slice covers; for cards of several fleets on the first one by name"""
    gpu_ns: int = 0
    """GPU time that ran: slices by their share"""
    units_ns: int = 0

    @property
    def total(self) -> int:
        return self.running + self.unused + self.unallocated


def rent(holding: Holding, runs: Steps | None, since_ns: int, until_ns: int) -> Rent | None:
    """The rent of a fleet that shares no card with others. None: unknown, and `rent_gap` says why. `runs` None: not known."""
    return rents([(holding, runs)], since_ns, until_ns)[holding.name]


def rents(fleets: Sequence[tuple[Holding, Steps | None]], since_ns: int, until_ns: int) -> dict[str, Rent | None]:
    """The rent of each fleet by its name; fleets that share cards must be given together."""
    return {name: found if isinstance(found, Rent) else None for name, found in _found(fleets, since_ns, until_ns).items()}


def rent_gaps(fleets: Sequence[tuple[Holding, Steps | None]], since_ns: int, until_ns: int) -> dict[str, str]:
    """Why rents are unknown, as a clause by the name of the fleet; those that are known are left out."""
    return {name: found for name, found in _found(fleets, since_ns, until_ns).items() if isinstance(found, str)}


def rent_gap(holding: Holding, runs: Steps | None, since_ns: int, until_ns: int) -> str | None:
    """Why `rent` is None, as a clause; None when it is known."""
    return rent_gaps([(holding, runs)], since_ns, until_ns).get(holding.name)


def begins_ns(holding: Holding) -> int | None:
    """The instant from which something is known to be paid; None: no price at all."""
    starts = [start for start, _ in holding.usd_per_hour[:1]]
    starts += [] if holding.committed is None else [holding.committed.since_ns]
    return min(starts, default=None)


def planned_rates(holding: Holding) -> Dated:
    """USD per hour of one unit when `count` units run, at every change: what provisional prices rest on. Instants at which it
    becomes unknown are left out, so the last known rate goes on."""
    units = max(holding.count, 1)
    starts = {start for start, _ in holding.usd_per_hour}
    if holding.committed is not None:
        starts |= {each for each in (holding.committed.since_ns, holding.committed.until_ns) if each is not None}
    rates = [(start, _hourly(holding, units, start)) for start in sorted(starts)]
    return tuple((start, (rate[0] + rate[1]) / units) for start, rate in rates if not isinstance(rate, str))


class OtherPrice(msgspec.Struct, frozen=True):
    """A cost of the config from `start_ns` on: `usd` per hour, day (24 h) or calendar month."""

    start_ns: int
    usd: Fraction
    per: CostUnit


def accrued(prices: Sequence[OtherPrice], since_ns: int, until_ns: int, months: Sequence[int]) -> int:
    """Nano-USD of a cost over a window: 12 USD/month over a calendar month is exactly 12 USD, however it is cut.

    `months` are the instants at which calendar months begin (in the report's zone), from at or before the window to at or after
    its end; `ValueError` otherwise. Before its first price the cost is not there yet: 0.
    """
    bounds = sorted(months)
    if since_ns < until_ns and not (bounds and bounds[0] <= since_ns and until_ns <= bounds[-1]):
        raise ValueError("months must reach from the window's begin to its end")
    total = 0
    dated = [(price.start_ns, price) for price in prices]
    for begin, end in _stretches({*bounds, *(start for start, _ in dated)}, since_ns, until_ns):
        price = _in_force(dated, begin)
        if price is None:
            continue
        if price.per != "month":
            total += _accrued(price.usd / PER_HOUR[price.per], begin, end)
            continue
        index = bisect_right(bounds, begin) - 1
        rate = price.usd * NANO_PER_USD / (bounds[index + 1] - bounds[index])
        total += _between(rate, begin - bounds[index], end - bounds[index])
    return total


def parse_intervals(rows: Iterable[Sequence[str]]) -> Steps:
    """Rows of (start, end, count) -> steps; intervals that overlap add up. Times are ISO 8601, UTC where they name no zone; an
    empty end is open. After the last end nothing is known, unless an interval is open (with a count of 0: none runs any more). A
    first row of the names is skipped, as are empty ones. Raises `PriceError` that names the row, from 1."""
    spans: list[tuple[int, int | None, int]] = []
    for number, row in enumerate(rows, start=1):
        cells = [cell.strip() for cell in row]
        if not any(cells) or (number == 1 and [cell.lower() for cell in cells] == ["start", "end", "count"]):
            continue
        spans.append(_interval(number, cells))
    steps = steps_of(spans)
    if not spans or any(end is None for _, end, _ in spans):
        return steps
    return known_until(steps, max(end for _, end, _ in spans if end is not None))


def known_until(steps: Steps, until_ns: int) -> Steps:
    """The same, of which nothing is known from an instant on."""
    return (*(step for step in steps if step[0] < until_ns), (until_ns, None))


def steps_of(spans: Iterable[tuple[int, int | None, int]]) -> Steps:
    """(start, end or None, units) in unix ns -> steps; spans that overlap add up."""
    changes: dict[int, int] = {}
    for start, end, units in spans:
        changes[start] = changes.get(start, 0) + units
        if end is not None:
            changes[end] = changes.get(end, 0) - units
    running, steps = 0, []
    for start in sorted(changes):
        if changes[start]:
            running += changes[start]
            steps.append((start, running))
    return tuple(steps)


def _interval(number: int, cells: Sequence[str]) -> tuple[int, int | None, int]:
    row = f"row {number} (`{','.join(cells)}`)"
    if len(cells) != 3:
        raise PriceError(f"{row} has {len(cells)} fields: write `start,end,count`")
    times: list[int | None] = []
    for name, text in zip(("start", "end"), cells, strict=False):
        try:
            instant = datetime.fromisoformat(text) if text or name == "start" else None
        except ValueError:
            raise PriceError(f"the {name} of {row} is not a time: write it like `2026-10-01T08:00:00Z`") from None
        if instant is not None and instant.tzinfo is None:
            instant = instant.replace(tzinfo=UTC)
        times.append(None if instant is None else (instant - EPOCH) // timedelta(microseconds=1) * 1000)
    start, end = times
    assert start is not None
    if end is not None and end <= start:
        raise PriceError(f"{row} ends before it begins: write `start,end,count`")
    if not (cells[2].isascii() and cells[2].isdecimal()):
        raise PriceError(f"the count of {row} is not a number of units: write a whole number such as `2`")
    return start, end, int(cells[2])


def parse_term(text: str) -> int:
    """Hours of a term such as `1y`, `3y` or `12mo` (a month is a twelfth of 8760 h). Raises `PriceError`."""
    match = _TERM.fullmatch(text)
    if match is None or not int(match[1]):
        raise PriceError(f"`{text}` is not a term: write it like `1y`, `3y` or `12mo`")
    return int(match[1]) * (YEAR_HOURS if match[2] == "y" else YEAR_HOURS // 12)


def parse_amount(text: str, what: str) -> Fraction:
    """USD of an amount such as `30000 USD` or `0.35`. Raises `PriceError`."""
    match = _AMOUNT.fullmatch(text)
    if match is None:
        raise PriceError(f"{what} `{text}` is not an amount: write it like `30000 USD`")
    return Fraction(match[1])


def _found(fleets: Sequence[tuple[Holding, Steps | None]], since_ns: int, until_ns: int) -> dict[str, Rent | str]:
    found = {holding.name: _alone(holding, runs, since_ns, until_ns) for holding, runs in fleets}
    for group in _card_groups(fleets).values():
        first = min(holding.name for holding, _ in group)
        rest, alone = _rest(group, since_ns, until_ns), found[first]
        if isinstance(alone, Rent):
            found[first] = rest if isinstance(rest, str) else msgspec.structs.replace(alone, unallocated=rest)
    return found


def _alone(holding: Holding, runs: Steps | None, since_ns: int, until_ns: int) -> Rent | str:
    """The rent without the rest of its cards, or why it is unknown."""
    if runs is None:
        return "when its units ran is not known"
    changes = {start for start, _ in (*runs, *holding.usd_per_hour)}
    if holding.committed is not None:
        changes |= {each for each in (holding.committed.since_ns, holding.committed.until_ns) if each is not None}
    running = unused = gpu_ns = units_ns = 0
    for begin, end in _stretches(changes, since_ns, until_ns):
        units = _running(runs, begin)
        if units is None:
            return f"when its units ran is not known at {_minute(begin)}"
        hourly = _hourly(holding, units, begin)
        if isinstance(hourly, str):
            return hourly
        running += _accrued(hourly[0], begin, end)
        unused += _accrued(hourly[1], begin, end)
        units_ns += units * (end - begin)
        gpu_ns += _between(units * holding.share, begin, end)
    return Rent(running, unused, 0, gpu_ns, units_ns)


def _hourly(holding: Holding, units: int, at_ns: int) -> tuple[Fraction, Fraction] | str:
    """USD per hour of what runs and of what is committed and does not, or why it is unknown."""
    price, committed = _in_force(holding.usd_per_hour, at_ns), holding.committed
    begun = committed is not None and at_ns >= committed.since_ns
    over = committed is not None and committed.until_ns is not None and at_ns >= committed.until_ns
    if committed is None or not begun or (over and holding.kind != "owned"):
        if price is None and units:
            return _no_price(holding)
        return units * (price or Fraction(0)), Fraction(0)
    beyond = max(0, units - committed.count)
    if beyond and holding.kind == "owned":
        return f"{units} units ran and {committed.count} are owned, so what the others cost is not known"
    if beyond and price is None:
        return f"{units} units ran and {committed.count} are reserved, and there is no price for the others"
    each = Fraction(0) if over else committed.usd_per_hour
    at_price = units if holding.kind == "owned" else beyond
    if at_price and price is None and holding.usd_per_hour:
        return _no_price(holding)
    return (units - beyond) * each + at_price * (price or Fraction(0)), max(0, committed.count - units) * each


def _no_price(holding: Holding) -> str:
    if not holding.usd_per_hour:
        return "it has no price per hour" if holding.committed is None else "it has no price per hour outside of its commitment"
    begin = datetime.fromtimestamp(holding.usd_per_hour[0][0] // 10**9, UTC)
    return f"its price begins on {begin:%Y-%m-%d}"


def _card_groups(fleets: Sequence[tuple[Holding, Steps | None]]) -> dict[str, list[tuple[Holding, Steps | None]]]:
    groups: dict[str, list[tuple[Holding, Steps | None]]] = {}
    for holding, runs in fleets:
        if holding.by_card and holding.mig is not None:
            groups.setdefault(f"fleet {holding.name}" if holding.card is None else f"card {holding.card}", []).append((holding, runs))
    return groups


def _rest(group: Sequence[tuple[Holding, Steps | None]], since_ns: int, until_ns: int) -> int | str:
    """Nano-USD of the cards less all slices on them, or why it is unknown. The cards' price is that of the first fleet by name."""
    first = min((holding for holding, _ in group), key=lambda holding: holding.name)
    unknown = next((holding.name for holding, runs in group if runs is None), None)
    if unknown is not None:
        return f"when the slices of `{unknown}` ran is not known, and they lie on its cards"
    placed = [(holding, runs) for holding, runs in group if runs is not None]
    fixed = max((holding.cards for holding, _ in placed if holding.cards is not None), default=None)
    total = 0
    for begin, end in _stretches({start for holding, runs in placed for start, _ in (*runs, *holding.usd_per_hour)}, since_ns, until_ns):
        running = [(holding, units) for holding, runs in placed if (units := _running(runs, begin)) is not None]
        if len(running) < len(placed):
            return f"when the slices on its cards ran is not known at {_minute(begin)}"
        cards = fixed if fixed is not None else cards_for(first.gpu, [(holding.mig or "", units) for holding, units in running])
        covered = sum((units * holding.share for holding, units in running), Fraction(0))
        price = _in_force(first.usd_per_hour, begin)
        if price is None and cards:
            return _no_price(first)
        total += _accrued(max(Fraction(0), cards - covered) * (price or Fraction(0)) / first.share, begin, end)
    return total


def _stretches(changes: Iterable[int], since_ns: int, until_ns: int) -> Iterator[tuple[int, int]]:
    """The window cut at every change."""
    marks = [since_ns, *sorted({each for each in changes if since_ns < each < until_ns}), until_ns]
    yield from ((begin, end) for begin, end in pairwise(marks) if begin < end)


def ran_ns(runs: Steps, since_ns: int, until_ns: int) -> int | None:
    """Running units times nanoseconds, as a `Rent` has them; None where they are not known all the time."""
    total = 0
    for begin, end in _stretches({start for start, _ in runs}, since_ns, until_ns):
        units = _running(runs, begin)
        if units is None:
            return None
        total += units * (end - begin)
    return total


def _running(runs: Steps, at_ns: int) -> int | None:
    units: int | None = 0
    for start, each in runs:
        if start > at_ns:
            break
        units = each
    return units


def _minute(at_ns: int) -> str:
    return f"{datetime.fromtimestamp(at_ns // 10**9, UTC):%Y-%m-%dT%H:%MZ}"


def _in_force(dated: Sequence[tuple[int, Value]], at_ns: int) -> Value | None:
    value: Value | None = None
    for start, each in dated:
        if start > at_ns:
            break
        value = each
    return value


def _between(rate: Fraction, begin: int, end: int) -> int:
    """Units of `rate` per nanosecond that fall into [begin, end)."""
    return rate.numerator * end // rate.denominator - rate.numerator * begin // rate.denominator


def _accrued(usd_per_hour: Fraction, begin: int, end: int) -> int:
    return _between(usd_per_hour * NANO_PER_USD / HOUR_NS, begin, end) if usd_per_hour else 0
