"""What stands out: features that suddenly spend more, hardware that nobody uses, a cache that pays. Pure laws over daily sums.

The law for spend: a day stands out when it costs at least `RATIO` times the usual day and exceeds it by more than
`DEVIATIONS` robust standard deviations and by `LEAST_SHARE` of what all features usually cost a day together. The usual day is
the median of the `DAYS` days before; days that stood out do not count into it, so a runaway does not become its own excuse,
until it has gone on for `DAYS` days. Days are UTC. The day that is not over counts with what it has spent and a usual rest.
"""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from statistics import median

import msgspec

from penstock.domain.ledger.measures import CostQuery
from penstock.domain.prices.schedule import DAY_NS
from penstock.finops.fleets import FleetUse
from penstock.finops.ledger import Keys, Summed
from penstock.finops.savings import SavingsRow
from penstock.finops.window import iso

DAYS = 7
LEAST_DAYS = 4
"""usual days that must be known before anything can stand out"""
RATIO = 2
DEVIATIONS = 5
SPREAD = Fraction(14826, 10_000)
"""median absolute deviation -> standard deviation, of a normal distribution"""
LEAST_SHARE = Fraction(2, 100)
IDLE_SHARE = Fraction(9, 10)
CACHE_SHARE = Fraction(1, 4)
SPEND_RULE = (
    f"a day that costs at least {RATIO} times the median of the {DAYS} usual days before it, by more than {DEVIATIONS} robust standard "
    f"deviations and {float(LEAST_SHARE * 100):g} % of all spend; today counts with what it has spent and a usual rest of the day"
)
IDLE_RULE = f"at least {float(IDLE_SHARE * 100):g} % of its rent was idle over the window"
CACHE_RULE = f"replays saved at least {float(CACHE_SHARE * 100):g} % of what its answers would have cost at list prices"


class Day(msgspec.Struct, frozen=True):
    """One day of one feature: nano-USD and answered requests."""

    cost: int
    requests: int


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
    """What stood out in the last `back` days and today (UTC), judged with the `DAYS` days before them as well."""
    today, into = divmod(now_ns, DAY_NS)
    days = [iso((today - ago) * DAY_NS)[:10] for ago in range(back + DAYS, -1, -1)]
    series: dict[Keys, dict[str, Day]] = {}
    query = CostQuery(since_ns=(today - back - DAYS) * DAY_NS, until_ns=now_ns, by=("day", *by))
    for (day, *keys), sums in ledger.sums(query):
        if day is not None and sums.requests:
            series.setdefault(tuple(keys), {})[day] = Day(sums.cost, sums.requests)
    return rises(series, days, Fraction(into, DAY_NS))


def rises(series: Mapping[Keys, Mapping[str, Day]], days: Sequence[str], elapsed: Fraction) -> tuple[Rise, ...]:
    """What stood out on any of `days` (in order, without gaps; the last is today, of which `elapsed` is over): largest excess first.

    A feature without a day spent nothing on it; it is judged from its own first day on, when there are usual days to compare with.
    """
    usual_all = _usual_total(series, days[:-1])
    found = [rise for keys, spent in series.items() for rise in _rises_of(keys, spent, days, elapsed, usual_all)]
    return tuple(sorted(found, key=lambda rise: (not rise.ongoing, -rise.excess)))


def _usual_total(series: Mapping[Keys, Mapping[str, Day]], days: Sequence[str]) -> Fraction:
    """The median of what all spent on a day, over the days on which anything was."""
    totals = [total for day in days if (total := sum(spent[day].cost for spent in series.values() if day in spent))]
    return Fraction(median(totals)) if totals else Fraction(0)


def _rises_of(keys: Keys, spent: Mapping[str, Day], days: Sequence[str], elapsed: Fraction, usual_all: Fraction) -> Iterable[Rise]:
    begun = next((index for index, day in enumerate(days) if day in spent), len(days))
    usual: list[Day] = []
    run: list[tuple[str, Day]] = []
    nothing = Day(0, 0)
    for day in days[begun:]:
        today = day == days[-1]
        here = spent.get(day, nothing)
        if _stands_out(here.cost, usual, (1 - elapsed) if today else Fraction(0), usual_all):
            run.append((day, here))
            if len(run) < DAYS:
                continue
            yield _rise(keys, run, usual, ongoing=today)  # it has become the usual
            usual, run = [each for _, each in run], []
        elif not today:
            if run:
                yield _rise(keys, run, usual, ongoing=False)
            run = []
            usual = [*usual, here][-DAYS:]
    if run:
        yield _rise(keys, run, usual, ongoing=run[-1][0] in days[-2:], elapsed=elapsed if run[-1][0] == days[-1] else None)


def _stands_out(cost: int, usual: Sequence[Day], rest: Fraction, usual_all: Fraction) -> bool:
    if len(usual) < LEAST_DAYS:
        return False
    costs = [day.cost for day in usual]
    middle = Fraction(median(costs))
    spread = Fraction(median([abs(each - middle) for each in costs])) * SPREAD
    expected = cost + middle * rest
    excess = expected - middle
    return expected >= RATIO * middle and excess > DEVIATIONS * spread and excess > LEAST_SHARE * usual_all and excess > 0


def _rise(keys: Keys, run: Sequence[tuple[str, Day]], usual: Sequence[Day], *, ongoing: bool, elapsed: Fraction | None = None) -> Rise:
    """`elapsed`: how much of the run's last day is over, when that is today."""
    days = len(run) if elapsed is None else len(run) - 1 + elapsed
    return Rise(
        keys=keys,
        first_day=run[0][0],
        last_day=run[-1][0],
        days=len(run),
        cost=sum(day.cost for _, day in run),
        usual=round(Fraction(median([day.cost for day in usual])) * days),
        requests=sum(day.requests for _, day in run),
        usual_requests=round(Fraction(median([day.requests for day in usual])) * days),
        ongoing=ongoing,
    )


def unused(fleets: Sequence[FleetUse]) -> tuple[FleetUse, ...]:
    """Fleets that stand idle almost all of the time, dearest first."""
    idle = [use for use in fleets if use.idle is not None and use.rent and use.idle >= IDLE_SHARE * use.rent]
    return tuple(sorted(idle, key=lambda use: -(use.idle or 0)))


def paying_cache(rows: Sequence[SavingsRow], least: int = 100) -> tuple[SavingsRow, ...]:
    """Groups of at least `least` compared requests whose replays saved a large share of their list cost, most saved first."""
    found = []
    for row in rows:
        levers = {lever.name: lever.amount for lever in row.savings.levers}
        list_cost = row.savings.counterfactual - levers["routing"]
        if row.savings.compared >= least and list_cost > 0 and levers["exact_cache"] >= CACHE_SHARE * list_cost:
            found.append((levers["exact_cache"], row))
    return tuple(row for _, row in sorted(found, key=lambda pair: -pair[0]))
