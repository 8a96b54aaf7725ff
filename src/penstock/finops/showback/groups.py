"""Teams, model versions and optimisation levels in the review: what each used and what its requests cost, beside the window before."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction

import msgspec

from penstock.domain.ledger.entries import HOUR_NS, Entry, FleetHour
from penstock.domain.ledger.measures import CostQuery, lines, priced_lines
from penstock.domain.ledger.recorded import key_of_entry
from penstock.finops.bills.document import Money
from penstock.finops.books import Books
from penstock.finops.fleet_costs import fleet_costs
from penstock.finops.showback.document import LevelCost, TeamModel, TeamUse, VersionCost
from penstock.finops.statement import Keys, Row, Statement, known
from penstock.finops.trends import DIMENSIONS_READ, growth, merged, workload_of
from penstock.finops.unit_costs import unit_costs
from penstock.finops.window import Window

BY = (*DIMENSIONS_READ, "team")
"""what statements of a review are grouped by: everything in it is a sum over their rows"""


class Capacity(msgspec.Struct, frozen=True):
    """GPU-hours of own fleets: by team what worked for it and what ran for it, and what ran for nobody."""

    worked: Mapping[str | None, Fraction]
    ran: Mapping[str | None, Fraction]
    nobody: Fraction
    whole: Fraction


def trains(workload: str | None) -> bool:
    """Whether a `workload_type` is training; requests that do not say are inference."""
    return workload_of(workload, "inference") == "training"


def groups(stated: Statement, by: tuple[str, ...], wanted: Callable[[Row], bool] = lambda row: True) -> dict[Keys, Row]:
    """The rows of a statement by fewer keys, dearest first."""
    places = [stated.query.by.index(key) for key in by]
    found: dict[Keys, list[Row]] = {}
    for row in filter(wanted, stated.rows):
        found.setdefault(tuple(row.keys[place] for place in places), []).append(row)
    together = {keys: merged(stated, rows) for keys, rows in found.items()}
    return dict(sorted(together.items(), key=lambda item: (-item[1].usage, _order(item[0]))))


def served(stated: Statement, by: tuple[str, ...], team: tuple[str | None, ...] = ()) -> dict[Keys, Row]:
    """As `groups`, of what answered requests and is not training; recorded costs are left out, for no request caused them.

    `team`: of this one alone.
    """
    workload, place = BY.index("workload_type"), BY.index("team")
    found = groups(stated, by, lambda row: not trains(row.keys[workload]) and (not team or row.keys[place] == team[0]))
    return {keys: msgspec.structs.replace(row, recorded=0) for keys, row in found.items() if lines(row.sums)}


def change(now: Decimal | Fraction | None, before: Decimal | Fraction | None) -> float | None:
    """Growth: 0.1 is 10 % more. None where one of the two is unknown, or there was nothing before."""
    grown = None if now is None or before is None else growth(Fraction(before), Fraction(now))
    return None if grown is None else round(float(grown), 4)


def versions(now: Statement, before: Statement) -> tuple[VersionCost, ...]:
    """Unit costs of every model version that answered in either window."""
    return tuple(_versions(now, before))


def levels(now: Statement, before: Statement) -> tuple[LevelCost, ...]:
    """Cost per request at every optimisation level."""
    found = []
    for keys, row, earlier in _paired(served(now, ("optimization",)), served(before, ("optimization",))):
        cost, cost_before = _per_request(row), _per_request(earlier)
        found.append(
            LevelCost(
                optimization=keys[0],
                requests=0 if row is None else row.sums.requests,
                usd_per_request=_text(cost),
                before_usd_per_request=_text(cost_before),
                change=change(cost, cost_before),
            )
        )
    return tuple(found)


def teams(books: Books, window: Window, now: Statement, before: Statement) -> tuple[tuple[TeamUse, ...], Capacity]:
    """Every team that used or bears something, dearest first, and the hardware that ran for it."""
    query = CostQuery(since_ns=window.since_ns, until_ns=window.until_ns, by=("team",))
    shares = {(keys[0], str(keys[1])): allocated.gpu_ns for keys, allocated in fleet_costs(books, query).groups}
    capacity = capacity_of(shares, now.hours)
    entries = books.ledger.snapshot.costs.entries(window.since_ns, window.until_ns)
    elsewhere = _elsewhere(entries, window)
    answered, answered_before = served(now, ("team",)), served(before, ("team",))
    found = []
    for keys, row in groups(now, ("team",)).items():
        cost, cost_before = _per_request(answered.get(keys)), _per_request(answered_before.get(keys))
        used, ran = capacity.worked.get(keys[0], Fraction(0)), capacity.ran.get(keys[0], Fraction(0))
        found.append(
            TeamUse(
                team=keys[0],
                requests=row.sums.requests,
                unpriced=lines(row.sums) - priced_lines(row.sums),
                usage_usd=usage_of(row),
                runs_usd=Money(row.usage - (answered[keys].usage if keys in answered else 0)),
                idle_usd=Money(sum(part for index, part in row.shares if now.pots[index].kind != "other")),
                usd_per_request=_text(cost),
                before_usd_per_request=_text(cost_before),
                change=change(cost, cost_before),
                gpu_hours=hours(used),
                other_gpu_hours=elsewhere.get(keys[0], 0.0),
                capacity_gpu_hours=hours(ran),
                share_of_gpu_hours=share(used, capacity.whole),
                utilization=share(used, ran),
                models=tuple(_models(now, keys[0])),
            )
        )
    return tuple(found), capacity


def capacity_of(worked_ns: Mapping[tuple[str | None, str], int], fleet_hours: Iterable[FleetHour]) -> Capacity:
    """(team, fleet) -> GPU time that worked, and the hours of the fleets: each fleet's GPU time goes to those who worked on it, in
    proportion; that of a fleet on which nobody did goes to nobody. All parts add up to what ran."""
    ran: dict[str, int] = {}
    for hour in fleet_hours:
        ran[hour.fleet] = ran.get(hour.fleet, 0) + hour.gpu_ns
    on_fleet = {fleet: sum(part for (_, each), part in worked_ns.items() if each == fleet) for fleet in ran}
    used: dict[str | None, Fraction] = {}
    given: dict[str | None, Fraction] = {}
    for (team, fleet), part in worked_ns.items():
        if part and on_fleet.get(fleet):
            used[team] = used.get(team, Fraction(0)) + Fraction(part, HOUR_NS)
            given[team] = given.get(team, Fraction(0)) + Fraction(ran[fleet] * part, on_fleet[fleet] * HOUR_NS)
    total = Fraction(sum(ran.values()), HOUR_NS)
    return Capacity(used, given, total - sum(given.values(), Fraction(0)), total)


def uncovered(stated: Statement) -> bool:
    """Nothing of a window is known: the ledger does not reach it."""
    return stated.since_ns >= stated.until_ns


def usage_of(row: Row) -> Money | None:
    """What a group caused; None where nothing of it is known."""
    return Money(row.usage) if known(row) else None


def hours(value: Fraction) -> float:
    return round(float(value), 3)


def share(part: Fraction, of: Fraction) -> float | None:
    """A share of 1; None of nothing."""
    return round(float(part / of), 4) if of else None


def run_gpu_hours(entry: Entry, since_ns: int, until_ns: int) -> Fraction | None:
    """GPU-hours of a recorded run within [since, until), spread evenly over its time; None: it does not say."""
    length = entry.until_ns - entry.since_ns
    whole = Fraction(entry.gpus) * length / HOUR_NS if entry.gpu_hours is None else Fraction(entry.gpu_hours)
    if not whole and entry.gpu_hours is None:
        return Fraction(0) if entry.kind == "other" else None
    if length <= 0:
        return whole if since_ns <= entry.since_ns < until_ns else Fraction(0)
    within = min(until_ns, entry.until_ns) - max(since_ns, entry.since_ns)
    return whole * max(0, within) / length


def _elsewhere(entries: Sequence[Entry], window: Window) -> dict[str | None, float | None]:
    """Team -> GPU-hours of its recorded runs on hardware that no fleet of the config stands for."""
    found: dict[str | None, Fraction | None] = {}
    for entry in entries:
        if entry.fleet is None:
            team = key_of_entry(entry, "team")
            part, sofar = run_gpu_hours(entry, window.since_ns, window.until_ns), found.get(team, Fraction(0))
            found[team] = None if part is None or sofar is None else sofar + part
    return {team: None if total is None else hours(total) for team, total in found.items()}


def _models(now: Statement, team: str | None) -> Iterator[TeamModel]:
    for keys, row in served(now, ("model",), (team,)).items():
        yield TeamModel(model=keys[0], requests=row.sums.requests, usage_usd=usage_of(row), usd_per_request=_text(_per_request(row)))


def _versions(now: Statement, before: Statement) -> Iterator[VersionCost]:
    by = ("model", "model_version", "optimization")
    for keys, row, earlier in _paired(served(now, by), served(before, by)):
        units, units_before = (None if each is None else unit_costs(each) for each in (row, earlier))
        cost, cost_before = _per_request(row), _per_request(earlier)
        yield VersionCost(
            model=keys[0],
            version=keys[1],
            optimization=keys[2],
            requests=0 if row is None else row.sums.requests,
            before_requests=(None if uncovered(before) else 0) if earlier is None else earlier.sums.requests,
            usage_usd=Money(0) if row is None else usage_of(row),
            usd_per_request=_text(cost),
            before_usd_per_request=_text(cost_before),
            change=change(cost, cost_before),
            cp1kt_usd=None if units is None else _text(units.cp1kt_usage),
            before_cp1kt_usd=None if units_before is None else _text(units_before.cp1kt_usage),
            cp1kt_input_usd=None if units is None else _text(units.cp1kt_input),
            before_cp1kt_input_usd=None if units_before is None else _text(units_before.cp1kt_input),
            cp1kt_output_usd=None if units is None else _text(units.cp1kt_output),
            before_cp1kt_output_usd=None if units_before is None else _text(units_before.cp1kt_output),
        )


def _paired(now: Mapping[Keys, Row], before: Mapping[Keys, Row]) -> Iterator[tuple[Keys, Row | None, Row | None]]:
    """Every group of either window, those of now first."""
    for keys in dict.fromkeys((*now, *before)):
        yield keys, now.get(keys), before.get(keys)


def _per_request(row: Row | None) -> Decimal | None:
    return None if row is None else unit_costs(row).usd_per_request


def _text(value: Decimal | None) -> str | None:
    return None if value is None else f"{value:f}"


def _order(keys: Keys) -> tuple[tuple[bool, str], ...]:
    return tuple((key is None, key or "") for key in keys)
