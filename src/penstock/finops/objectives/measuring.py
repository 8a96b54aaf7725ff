"""CP1KT of an objective's requests over a window, from the ledger.

What a provider bills, and what mixes providers and own fleets, is measured as it was booked. What own fleets alone serve is measured by
allocation, with its share of what stands idle: their rent runs whether anybody asks or not, and that is what makes few tokens dear.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from fractions import Fraction

import msgspec

from penstock.config.limits import parse_target
from penstock.config.settings import Settings
from penstock.config.spending import Slo
from penstock.domain.budgets.objectives import Pace, Reading, pace
from penstock.domain.ledger.grouping import matches_all
from penstock.domain.ledger.measures import CostQuery, cp1kt_usd, lines, priced_lines, unpriced_lines
from penstock.finops.books import Books
from penstock.finops.statement import known, statement, whole


class Objective(msgspec.Struct, frozen=True):
    """One of `[[slos]]`, compiled."""

    name: str
    slo: Slo
    target: Fraction
    """nano-USD per 1,000 tokens"""
    times: Pace
    with_idle: bool
    """own fleets alone serve it: measured by allocation"""

    @property
    def where(self) -> tuple[tuple[str, str], ...]:
        return tuple(self.slo.where.items())


def objectives(settings: Settings) -> tuple[Objective, ...]:
    """All `[[slos]]`, each with a name of its own. Raises `UnitError`."""
    found: list[Objective] = []
    taken: set[str] = set()
    for slo in settings.slos:
        filters = " ".join(f"{key}={value}" for key, value in slo.where.items())
        given = slo.name or f"{slo.metric} {filters}".rstrip()
        name = next(each for number in range(1, len(settings.slos) + 1) if (each := _numbered(given, number)) not in taken)
        taken.add(name)
        times = pace(round(slo.window * 10**9))
        found.append(Objective(name, slo, Fraction(parse_target(slo.target)) * 10**9, times, _on_own_fleets(settings, slo)))
    return tuple(found)


def measure(books: Books, objective: Objective, since_ns: int, until_ns: int, steered: Sequence[str] = ()) -> Reading:
    """What the window shows of the objective's requests; with those that the directives `steered` sent to another model, which are
    still its own. Own fleets measured by allocation need none of them: what they no longer serve is no work of theirs."""
    query = CostQuery(since_ns=since_ns, until_ns=until_ns, where=objective.where)
    if objective.with_idle:
        return _by_allocation(books, query)
    sums, keys = books.ledger.total(query), tuple(objective.slo.where)
    for id in steered if keys else ():
        for values, group in books.ledger.sums(msgspec.structs.replace(query, by=keys, where=(("steered", id),))):
            if not matches_all(dict(zip(keys, values, strict=True)), objective.where):
                sums.add(group)
    priced = priced_lines(sums)
    return Reading(sums.cost if priced else None, sums.priced_tokens, priced, lines(sums) - priced)


def cp1kt(reading: Reading) -> Decimal | None:
    """USD per 1,000 tokens, as every report gives it."""
    return None if reading.cost is None else cp1kt_usd(reading.cost, reading.tokens)


def _by_allocation(books: Books, query: CostQuery) -> Reading:
    """The allocated CP1KT of `penstock cost`: `unit_costs.cp1kt_allocated`."""
    borne = statement(books, query, "proportional")
    row = whole(borne)
    sums, rent_known = row.sums, all(hour.rent is not None for hour in borne.hours)
    unpriced = unpriced_lines(sums)
    cost, tokens = row.cost if known(row) and rent_known else None, sums.priced_tokens + sums.unbooked_tokens
    return Reading(cost, tokens, lines(sums) - unpriced, unpriced)


def _on_own_fleets(settings: Settings, slo: Slo) -> bool:
    """Whether `where` names upstreams, all of which stand before own fleets."""
    owned = {fleet.upstream for fleet in settings.fleets.values()}
    named = set(_upstreams(settings, slo.where.items()))
    return bool(named) and named <= owned


def _upstreams(settings: Settings, where: Iterable[tuple[str, str]]) -> Iterable[str | None]:
    for key, value in where:
        if key == "upstream":
            yield value
        elif key == "fleet" and value in settings.fleets:
            yield settings.fleets[value].upstream
        elif key == "model" and value in settings.models:
            yield settings.models[value].upstream
        elif key == "tier" and value in settings.tiers:
            yield settings.models[settings.tiers[value].model].upstream


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name} #{number}"
