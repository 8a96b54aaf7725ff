"""Own hardware in the review: which fleets are too large or too small, and what the next contract should be."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from math import ceil

import msgspec

from penstock.config.fleets import holdings
from penstock.domain.ledger.entries import HOUR_NS, Entry, FleetHour
from penstock.domain.ledger.latency import Histogram, Latency
from penstock.domain.ledger.measures import CostQuery
from penstock.domain.prices.hardware import Holding
from penstock.domain.sizing.traffic_light import THIN, TIGHT
from penstock.finops.bills.document import Money
from penstock.finops.books import Books
from penstock.finops.fleets import BASES, FleetUse, fleet_use
from penstock.finops.latency_value import DEFAULT
from penstock.finops.showback.document import LOOK_BACK_DAYS, STEADY, Advice, FleetReview, Measured, Objective, Procurement
from penstock.finops.window import Window

LEAST_NS = 14 * 24 * HOUR_NS
"""less than two weeks say nothing about a commitment"""
LOOK_BACK_NS = LOOK_BACK_DAYS * 24 * HOUR_NS


def fleet_reviews(books: Books, window: Window) -> tuple[FleetReview, ...]:
    """Every fleet of the config, in its order."""
    timed = _timed(books, window)
    return tuple(_review(books, use, timed.get(use.name, ())) for use in fleet_use(books, window))


def look_back(window: Window) -> Window:
    """The time that procurement looks at: the window, or the days before its end if it is shorter."""
    return msgspec.structs.replace(window, since_ns=max(0, min(window.since_ns, window.until_ns - LOOK_BACK_NS)))


def procurement(books: Books, window: Window) -> tuple[Procurement, ...]:
    """How every fleet is held over a window, and what that says of the next contract."""
    held = holdings(books.settings)
    entries = books.ledger.snapshot.costs.entries(window.since_ns, window.until_ns)
    return tuple(_procured(use, held[use.name], entries) for use in fleet_use(books, window))


def enough_units(hours: Sequence[FleetHour], serves: bool = True) -> int | None:
    """Units that would have been enough; None where nothing is known, 0: nobody asked for any. `serves`: with these, 95 % of the hours
    would have kept some in hand; else the most that worked at once, for a run needs all of its units together."""
    busy = sorted(_busy_units(hour) for hour in hours)
    if not busy:
        return None
    if not serves:
        return ceil(busy[-1])
    return max(1 if busy[-1] else 0, ceil(_p95(busy) / Fraction(str(TIGHT))))


def unit_shares(hours: Sequence[FleetHour]) -> tuple[Fraction, ...]:
    """For the first unit, the second ...: the share of the time that it ran, when the last to start is the first to stop."""
    whole = sum(hour.until_ns - hour.since_ns for hour in hours)
    if not whole:
        return ()
    most = max(-(-hour.units_ns // (hour.until_ns - hour.since_ns)) for hour in hours)
    ran = (
        sum(min(max(hour.units_ns - unit * length, 0), length) for hour in hours for length in (hour.until_ns - hour.since_ns,))
        for unit in range(most)
    )
    return tuple(Fraction(part, whole) for part in ran)


def _busy_units(hour: FleetHour) -> Fraction:
    """Units at work, on average over the hour."""
    if not hour.gpu_ns:
        return Fraction(0)
    return Fraction(hour.work_gpu_ns * hour.units_ns, hour.gpu_ns * (hour.until_ns - hour.since_ns))


def _p95(ordered: Sequence[Fraction]) -> Fraction:
    return ordered[-(-95 * len(ordered) // 100) - 1]


def _review(books: Books, use: FleetUse, timed: Sequence[tuple[str | None, Latency]]) -> FleetReview:
    fleet = books.settings.fleets[use.name]
    known = use.rent is not None
    mean, p95 = use.utilization, use.utilization_p95
    upper = any(hour.basis == "occupied" for hour in use.hours)
    objectives = tuple(each for sla, latency in timed for each in _objectives(books, sla, latency))
    over = None if mean is None else _thin(use) or (None if upper else False)
    late = any(each.missed for each in objectives)
    tight = False if fleet.upstream is None else None if p95 is None else p95 > TIGHT and (None if upper else True)
    elapsed = sum(hour.until_ns - hour.since_ns for hour in use.hours)
    units = sum(hour.units_ns for hour in use.hours) / elapsed if known and elapsed else None
    return FleetReview(
        fleet=use.name,
        gpu=use.gpu,
        held=fleet.commitment if isinstance(fleet.commitment, str) else fleet.commitment.kind,
        units=None if units is None else round(units, 3),
        gpu_hours=None if use.gpu_hours is None else round(float(use.gpu_hours), 3),
        rent_usd=_money(use.rent),
        idle_usd=_money(None if use.idle is None else use.idle + (use.unallocated or 0)),
        utilization=None if mean is None else round(float(mean), 4),
        utilization_p95=None if p95 is None else round(p95, 4),
        upper_bound=upper,
        basis=BASES[use.basis],
        over_provisioned=over,
        enough_units=enough_units(use.hours, fleet.upstream is not None) if known else None,
        constrained=True if late else tight,
        objectives=objectives,
        note=use.note,
    )


def _timed(books: Books, window: Window) -> Mapping[str, Sequence[tuple[str | None, Latency]]]:
    """Fleet -> how long its answers of each SLA took."""
    found: dict[str, list[tuple[str | None, Latency]]] = {}
    if books.settings.objectives:
        query = CostQuery(since_ns=window.since_ns, until_ns=window.until_ns, by=("fleet", "sla"))
        for (fleet, sla), latency in sorted(books.ledger.latencies(query), key=lambda each: str(each[0])):
            if fleet is not None:
                found.setdefault(fleet, []).append((sla, latency))
    return found


def _procured(use: FleetUse, held: Holding, entries: Iterable[Entry]) -> Procurement:
    known = use.rent is not None
    shares = unit_shares(use.hours) if known else ()
    steady = sum(share >= Fraction(str(STEADY)) for share in shares) if known else None
    enough = enough_units(use.hours, use.upstream is not None) if known else None
    committed = _committed(held, use.until_ns)
    candidate = None
    if steady is not None and enough is not None and held.kind in ("on-demand", "reserved"):
        candidate = 0 if _thin(use) else max(0, min(steady, enough) - committed)
    too_short = sum(hour.until_ns - hour.since_ns for hour in use.hours) < LEAST_NS
    advice, note = _advice(use, held, candidate, enough, too_short)
    return Procurement(
        fleet=use.name,
        held=held.kind,
        serves=use.upstream is not None,
        rent_usd=_money(use.rent),
        unit_share=tuple(round(float(share), 4) for share in shares),
        steady_units=steady,
        enough_units=enough,
        committed_units=committed,
        candidate_units=None if too_short else candidate,
        breaks_even_discount=round(float(1 - shares[committed + candidate - 1]), 4) if candidate and not too_short else None,
        unused_usd=_money(use.unused),
        lost_gpu_hours=float(sum((Fraction(entry.lost_gpu_hours) for entry in entries if entry.fleet == use.name), Fraction(0))),
        advice=advice,
        note=note,
    )


def _thin(use: FleetUse) -> bool:
    return use.utilization is not None and use.utilization < Fraction(str(THIN))


def _committed(held: Holding, at_ns: int) -> int:
    """Units that are committed to at an instant."""
    given = held.committed
    if given is None or at_ns < given.since_ns or (given.until_ns is not None and at_ns >= given.until_ns):
        return 0
    return given.count


def _advice(use: FleetUse, held: Holding, candidate: int | None, enough: int | None, too_short: bool) -> tuple[Advice, str]:
    """What the figures say of the next contract, and why."""
    if use.rent is None or enough is None:
        return "unknown", use.note
    most = max((-(-hour.units_ns // (hour.until_ns - hour.since_ns)) for hour in use.hours), default=0)
    spare = most - enough
    if held.kind in ("on-demand", "spot") and use.upstream is None and _thin(use):
        return "release", "nobody used it" if not enough else "it stands idle between runs, so start it for a run and end it after"
    if held.kind in ("on-demand", "spot") and spare > 0 and _thin(use):
        if not enough:
            return "release", "nobody used it"
        return "release", f"{enough} of {most} would have been enough; give back what stands idle before committing to anything"
    if held.kind in ("reserved", "owned") and use.unused:
        return "let_lapse", "part of the commitment was paid and did not run: do not renew that part"
    if held.kind == "spot":
        return "keep", "spot: keep it for work that can be done again"
    if _thin(use):
        return "keep", "hardly used: see whether a smaller GPU, a slice of one or an API would do before committing"
    if too_short:
        return "unknown", "less than two weeks are known: too short to commit on"
    if held.kind == "on-demand" and use.upstream is None:
        return "spot", "it answers no requests: training with checkpoints can run on spot"
    if candidate:
        return "commit", "steady and needed, and paid on demand"
    return "keep", "nothing steady is paid on demand" if held.kind == "on-demand" else "the commitment is used"


def _objectives(books: Books, sla: str | None, latency: Latency) -> Iterator[Objective]:
    """Each objective of an SLA that answers are known of."""
    given = books.settings.objectives
    objective = given.get(sla or DEFAULT, given.get(DEFAULT))
    if objective is None:
        return
    asked: tuple[tuple[Measured, float | None, Histogram], ...] = (
        ("first_token", objective.first_token, latency.first_token),
        ("duration", objective.duration, latency.duration),
    )
    for what, within, histogram in asked:
        p95 = histogram.quantile(0.95)
        if within is not None and p95 is not None:
            yield Objective(sla=sla, what=what, within_s=float(within), answers=histogram.total, p95_s=round(p95, 3), missed=p95 > within)


def _money(nano: int | None) -> Money | None:
    return None if nano is None else Money(nano)
