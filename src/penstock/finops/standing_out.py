"""What stands out: features that suddenly spend more, hardware that nobody uses, a cache that pays. Pure laws over daily sums.

The law for spend: a day stands out when it costs at least `RATIO` times the usual day and exceeds it by more than
`DEVIATIONS` robust standard deviations and by `LEAST_SHARE` of what all features usually cost a day together. Like is compared
with like: Monday to Friday among themselves, Saturday and Sunday among themselves (with all usual days while fewer than
`LEAST_DAYS` weekend days are known). The usual day is the median of the `DAYS` days of its kind before, at most `REACH` days
back; days that stood out do not count into it, so a runaway does not become its own excuse, until it has gone on for `DAYS`
days. Days are UTC. The day that is not over counts with what it has spent and a usual rest.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from fractions import Fraction
from statistics import median

import msgspec

from penstock.domain.ledger.measures import CostQuery, lines
from penstock.domain.prices.schedule import DAY_NS
from penstock.finops.fleets import FleetUse
from penstock.finops.ledger import Keys, Summed
from penstock.finops.savings import SavingsRow
from penstock.finops.window import iso

DAYS = 7
REACH = 28
"""days before that are looked through for them: four weekends"""
LEAST_DAYS = 4
"""usual days that must be known before a day can stand out"""
RATIO = 2
DEVIATIONS = 5
SPREAD = Fraction(14826, 10_000)
"""median absolute deviation -> standard deviation, of a normal distribution"""
LEAST_SHARE = Fraction(2, 100)
IDLE_SHARE = Fraction(9, 10)
CACHE_SHARE = Fraction(1, 4)
SPEND_RULE = (
    f"a day that costs at least {RATIO} times the median of the {DAYS} usual days of its kind before it (Monday to Friday, or Saturday and "
    f"Sunday), by more than {DEVIATIONS} robust standard deviations and {float(LEAST_SHARE * 100):g} % of all spend; today counts with "
    "what it has spent and a usual rest of the day"
)
IDLE_RULE = f"at least {float(IDLE_SHARE * 100):g} % of its rent was for what was idle, or committed to and not running, over the window"
CACHE_RULE = (
    f"replays by all layers of the cache, less embeddings, saved at least {float(CACHE_SHARE * 100):g} % of what its answers would have "
    "cost at list prices"
)


class Day(msgspec.Struct, frozen=True):
    """One day of one feature: nano-USD and answered requests."""

    cost: int
    requests: int


class Jump(msgspec.Struct, frozen=True):
    """A day that stood out, beside the usual day of its kind; `part` of that day is over."""

    day: str
    spent: Day
    usual_cost: Fraction
    usual_requests: Fraction
    part: Fraction


class Rise(msgspec.Struct, frozen=True):
    """Days in a row on which something cost far more than usual: nano-USD, summed over these days."""

    keys: Keys
    first_day: str
    last_day: str
    days: int
    cost: int
    usual: int
    """what as many usual days would have cost"""
    requests: int
    usual_requests: int
    ongoing: bool
    """the last of these days is today, or yesterday while today says nothing yet"""

    @property
    def excess(self) -> int:
        return self.cost - self.usual

    @property
    def ratio(self) -> Fraction | None:
        """How many times the usual; None where nothing was usual."""
        return Fraction(self.cost, self.usual) if self.usual else None


def spend_rises(ledger: Summed, now_ns: int, *, by: tuple[str, ...] = ("team", "feature"), back: int = 14) -> tuple[Rise, ...]:
    """What stood out in the last `back` days and today (UTC), judged with the `REACH` days before them."""
    today, into = divmod(now_ns, DAY_NS)
    days = [iso((today - ago) * DAY_NS)[:10] for ago in range(back + REACH, -1, -1)]
    series: dict[Keys, dict[str, Day]] = {}
    query = CostQuery(since_ns=(today - back - REACH) * DAY_NS, until_ns=now_ns, by=("day", *by))
    for (day, *keys), sums in ledger.sums(query):
        if day is not None and lines(sums):
            series.setdefault(tuple(keys), {})[day] = Day(sums.cost, sums.requests)
    return rises(series, days, Fraction(into, DAY_NS), back + 1)


def rises(series: Mapping[Keys, Mapping[str, Day]], days: Sequence[str], elapsed: Fraction, judged: int | None = None) -> tuple[Rise, ...]:
    """What stood out on any of `days` (in order, without gaps; the last is today, of which `elapsed` is over): largest excess first.

    A feature without a day spent nothing on it; it is judged from its own first day on, when there are usual days to compare with.
    `judged`: only what went on in so many of the last days is told.
    """
    usual_all = _usual_total(series, days[:-1])
    first = days[-judged] if judged is not None else days[0]
    found = [rise for keys, spent in series.items() for rise in _rises_of(keys, spent, days, elapsed, usual_all) if rise.last_day >= first]
    return tuple(sorted(found, key=lambda rise: (not rise.ongoing, -rise.excess)))


def _usual_total(series: Mapping[Keys, Mapping[str, Day]], days: Sequence[str]) -> Fraction:
    """The median of what all spent on a day, over the days on which anything was."""
    totals = [total for day in days if (total := sum(spent[day].cost for spent in series.values() if day in spent))]
    return Fraction(median(totals)) if totals else Fraction(0)


def _rises_of(keys: Keys, spent: Mapping[str, Day], days: Sequence[str], elapsed: Fraction, usual_all: Fraction) -> Iterable[Rise]:
    begun = next((index for index, day in enumerate(days) if day in spent), len(days))
    usual: dict[bool, list[Day]] = {False: [], True: []}
    run: list[Jump] = []
    for day in days[begun:]:
        here, part, own = spent.get(day, Day(0, 0)), elapsed if day == days[-1] else Fraction(1), usual[_at_weekend(day)]
        alike = [*usual[False], *own] if _at_weekend(day) and len(own) < LEAST_DAYS else own
        if _stands_out(here.cost, alike, 1 - part, usual_all):
            run.append(Jump(day, here, _middle([each.cost for each in alike]), _middle([each.requests for each in alike]), part))
            if alike is not own:
                own.append(here)  # perhaps weekends are just so: nothing like it was known
            if len(run) < DAYS:
                continue
            yield _rise(keys, run, days)  # it has become the usual
            usual = {kind: [jump.spent for jump in run if _at_weekend(jump.day) == kind] for kind in usual}
            run = []
        elif day != days[-1]:
            if run:
                yield _rise(keys, run, days)
            run = []
            usual[_at_weekend(day)] = [*own, here][-DAYS:]
    if run:
        yield _rise(keys, run, days)


def _at_weekend(day: str) -> bool:
    return date.fromisoformat(day).weekday() >= 5


def _middle(amounts: Sequence[int]) -> Fraction:
    return Fraction(median(amounts))


def _stands_out(cost: int, usual: Sequence[Day], rest: Fraction, usual_all: Fraction) -> bool:
    if len(usual) < LEAST_DAYS:
        return False
    costs = [day.cost for day in usual]
    middle = _middle(costs)
    spread = Fraction(median([abs(each - middle) for each in costs])) * SPREAD
    expected = cost + middle * rest
    excess = expected - middle
    return expected >= RATIO * middle and excess > DEVIATIONS * spread and excess > LEAST_SHARE * usual_all and excess > 0


def _rise(keys: Keys, run: Sequence[Jump], days: Sequence[str]) -> Rise:
    return Rise(
        keys=keys,
        first_day=run[0].day,
        last_day=run[-1].day,
        days=len(run),
        cost=sum(jump.spent.cost for jump in run),
        usual=round(sum((jump.usual_cost * jump.part for jump in run), Fraction(0))),
        requests=sum(jump.spent.requests for jump in run),
        usual_requests=round(sum((jump.usual_requests * jump.part for jump in run), Fraction(0))),
        ongoing=run[-1].day in days[-2:],
    )


def unused(fleets: Sequence[FleetUse]) -> tuple[FleetUse, ...]:
    """Fleets that stand idle almost all of the time, dearest first."""
    idle = [use for use in fleets if use.at_rest is not None and use.rent and use.at_rest >= IDLE_SHARE * use.rent]
    return tuple(sorted(idle, key=lambda use: -(use.at_rest or 0)))


def paying_cache(rows: Sequence[SavingsRow], least: int = 100) -> tuple[SavingsRow, ...]:
    """Groups of at least `least` compared requests whose replays saved a large share of their list cost, most saved first."""
    paying = [
        row
        for row in rows
        if row.savings.compared >= least and (whole := row.savings.list_cost) > 0 and row.savings.by_cache >= CACHE_SHARE * whole
    ]
    return tuple(sorted(paying, key=lambda row: -row.savings.by_cache))
