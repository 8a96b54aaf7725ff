"""What is rented, what of it is used, and what stands idle: per fleet, in nano-USD over a window.

Rent is exact: units x the dated price per hour x the hours of the window. What the requests were booked at is provisional (the
planned work rate, or the model's own price), so the shares that rest on it are estimates until each hour is allocated.
"""

from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction

import msgspec

from penstock.config.fleets import fleet_plan
from penstock.config.settings import Fleet, Settings
from penstock.domain.ledger.measures import CostQuery, Sums, known_cost
from penstock.domain.prices.schedule import ALWAYS
from penstock.domain.units import NANO_PER_USD, format_usd
from penstock.finops.ledger import Summed
from penstock.finops.window import Window, iso

HOUR_NS = 3600 * 10**9
ESTIMATED = "used is estimated: what its requests were booked at, until their hours are allocated"


class FleetUse(msgspec.Struct, frozen=True):
    """One fleet over [since_ns, until_ns): money in nano-USD; None is unknown, and `note` says why."""

    name: str
    gpu: str
    count: int
    upstream: str | None
    requests: int
    """answered by the fleet, replays from the cache left out; of the whole pool when several fleets share an upstream"""
    since_ns: int
    until_ns: int
    gpu_hours: Fraction | None
    rent: int | None
    used: int | None
    note: str

    @property
    def idle(self) -> int | None:
        """Rent less what was used; below 0 when the fleet did more work than was planned of it."""
        return None if self.rent is None or self.used is None else self.rent - self.used

    @property
    def utilization(self) -> Fraction | None:
        """Used over rent; above 1 when the fleet did more work than was planned of it."""
        return None if not self.rent or self.used is None else Fraction(self.used, self.rent)

    @property
    def effective_usd_per_gpu_hour(self) -> Decimal | None:
        """Rent / (GPU-hours x utilisation): what an hour of a GPU at work costs. None where nothing was at work."""
        if not self.gpu_hours or not self.utilization or self.rent is None:
            return None
        hourly = Fraction(self.rent, NANO_PER_USD) / (self.gpu_hours * self.utilization)
        return (Decimal(hourly.numerator) / hourly.denominator).quantize(Decimal("0.0001"), ROUND_HALF_EVEN)


def fleet_use(settings: Settings, ledger: Summed, window: Window, now_ns: int) -> tuple[FleetUse, ...]:
    """The use of every fleet of the config, in its order.

    The window is clipped to `now`, to the ledger's first record (before it nobody would have written down a request) and,
    for each fleet, to the begin of its price. Fleets behind one upstream share its requests in proportion to their rents.
    """
    span = ledger.span()
    since = max(window.since_ns, span[0]) if span else None
    until = min(window.until_ns, now_ns)
    pools: dict[str, list[FleetUse]] = {}
    for name, fleet in settings.fleets.items():
        pools.setdefault(f"fleet {name}" if fleet.upstream is None else f"upstream {fleet.upstream}", []).append(
            _rented(name, fleet, since, until)
        )
    served: dict[int, dict[str | None, Sums]] = {}
    found: dict[str, FleetUse] = {}
    for pool in pools.values():
        begin = min(use.since_ns for use in pool)
        if begin not in served:
            served[begin] = {keys[0]: sums for keys, sums in ledger.sums(CostQuery(since_ns=begin, until_ns=until, by=("fleet",)))}
        found |= {use.name: use for use in _shared(pool, served[begin])}
    return tuple(found[name] for name in settings.fleets)


def _rented(name: str, fleet: Fleet, since: int | None, until: int) -> FleetUse:
    """The rent of a fleet, before anything is known of its use."""
    gpu = fleet.gpu if fleet.mig is None else f"{fleet.gpu} {fleet.mig}"
    bare = FleetUse(name, gpu, fleet.count, fleet.upstream, 0, until if since is None else min(since, until), until, None, None, None, "")
    if since is None:
        return msgspec.structs.replace(bare, note="unknown: the ledger is empty, so there is nothing to compare the rent with")
    if fleet.runs is not None:
        return msgspec.structs.replace(bare, note="unknown: when it ran stands in `runs`, which is not read yet")
    prices = sorted(fleet_plan(name, fleet).usd_per_hour)
    if not prices:
        return msgspec.structs.replace(bare, note="unknown: it has no price per hour of what it counts (a GPU, or a slice)")
    begin = max(since, prices[0][0])
    if begin >= until:
        late = prices[0][0] if prices[0][0] != ALWAYS else since
        return msgspec.structs.replace(bare, note=f"unknown: its price and the ledger begin at {iso(max(late, since))}, after this window")
    rent = sum((usd * hours for usd, hours in _pieces(prices, begin, until)), Fraction(0)) * fleet.count * NANO_PER_USD
    hours = Fraction(until - begin, HOUR_NS) * fleet.count
    return msgspec.structs.replace(bare, since_ns=begin, gpu_hours=hours, rent=round(rent))


def _pieces(prices: Sequence[tuple[int, Fraction]], since: int, until: int) -> list[tuple[Fraction, Fraction]]:
    """(USD per hour, hours) of each price that was in force between two instants."""
    ends = [start for start, _ in prices[1:]] + [until]
    spans = [(usd, max(start, since), min(end, until)) for (start, usd), end in zip(prices, ends, strict=True)]
    return [(usd, Fraction(end - start, HOUR_NS)) for usd, start, end in spans if end > start]


def _shared(pool: Sequence[FleetUse], served: Mapping[str | None, Sums]) -> list[FleetUse]:
    """The requests of a pool and their cost, split over its fleets by rent: largest remainder, so that nothing is lost."""
    sums = Sums()
    for use in pool:
        sums.add(served.get(use.name, Sums()))
    cost, requests = known_cost(sums), sums.requests - sums.cache_hits
    unpriced = sums.requests - sums.priced
    notes = [f"{unpriced:,} of its requests have no price and count as not used"] if unpriced and cost is not None else []
    notes += ["its requests have no price, so what is used is unknown"] if cost is None else []
    notes += [f"shares its requests with {', '.join(use.name for use in pool)}: split by rent"] if len(pool) > 1 else []
    rents = [use.rent for use in pool]
    known = [rent for rent in rents if rent is not None]
    parts = _split(cost, known) if cost is not None and len(known) == len(pool) else [None] * len(pool)
    found = []
    for use, used in zip(pool, parts, strict=True):
        idle = "no request reached it: all of it is idle" if use.rent and not requests else ESTIMATED
        over = "did more than was planned of it: raise planned_tokens_per_second" if used is not None and used > (use.rent or 0) else None
        note = use.note or "; ".join(filter(None, [idle if cost is not None else None, over, *notes]))
        found.append(msgspec.structs.replace(use, used=used, requests=requests, note=note))
    return found


def _split(amount: int, weights: Sequence[int]) -> list[int | None]:
    total = sum(weights)
    if not total:
        return [amount] if len(weights) == 1 else [None] * len(weights)
    parts = [amount * weight // total for weight in weights]
    by_rest = sorted(range(len(weights)), key=lambda index: -(amount * weights[index] % total))
    for index in by_rest[: amount - sum(parts)]:
        parts[index] += 1
    return list(parts)


def fleets_json(uses: Sequence[FleetUse]) -> list[dict[str, object]]:
    """The fleets as the JSON twin tells them: money as decimal strings, shares as numbers, unknown as null."""
    return [
        {
            "fleet": use.name,
            "gpu": use.gpu,
            "count": use.count,
            "upstream": use.upstream,
            "requests": use.requests,
            "since": iso(use.since_ns),
            "until": iso(use.until_ns),
            "gpu_hours": None if use.gpu_hours is None else round(float(use.gpu_hours), 3),
            "rent_usd": format_usd(use.rent),
            "used_usd": format_usd(use.used),
            "used_basis": "unknown" if use.used is None else "estimated",
            "idle_usd": format_usd(use.idle),
            "utilization": None if use.utilization is None else round(float(use.utilization), 4),
            "effective_usd_per_gpu_hour": None if use.effective_usd_per_gpu_hour is None else str(use.effective_usd_per_gpu_hour),
            "note": use.note,
        }
        for use in uses
    ]
