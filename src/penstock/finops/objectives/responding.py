"""What an objective that is missed asks for: its responses, each with what it is expected to save over one window."""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from fractions import Fraction
from math import ceil
from typing import Any, Final

from penstock.config.checks_spending import KNOWN_BY_MODEL
from penstock.config.fleets import holding
from penstock.config.settings import Settings
from penstock.domain.ledger.entries import FleetHour
from penstock.domain.ledger.measures import CostQuery, Sums, known_cost, tokens_of
from penstock.domain.prices.book import PriceBook
from penstock.domain.prices.hardware import rent
from penstock.finops.books import Books
from penstock.finops.fleets import FleetUse, fleet_use
from penstock.finops.objectives.episodes import Episode
from penstock.finops.objectives.measuring import Objective
from penstock.finops.window import Window
from penstock.ports.directives import Response

BUSY: Final = Fraction(8, 10)
"""how busy a fleet may be after it was scaled down"""
_KINDS: Final[tuple[Response, ...]] = ("shift_traffic", "downgrade", "hold_best_effort", "scale_down")


def responses(books: Books, prices: PriceBook, objective: Objective, now_ns: int) -> list[Episode]:
    """What begins now; a fleet that is as small as it may be is left alone."""
    return [each for kind, argument in directed(objective) if (each := _episode(books, prices, objective, kind, argument, now_ns))]


def directed(objective: Objective) -> Iterator[tuple[Response, str]]:
    """(kind, argument) of the responses that are more than words, each once."""
    for text in dict.fromkeys(objective.slo.respond):
        word, _, argument = text.partition(":")
        kind = next((each for each in _KINDS if each == word), None)
        if kind is not None:
            yield kind, argument


def recipients(objective: Objective) -> tuple[str, ...]:
    """Who hears of begins and ends."""
    return tuple(text.partition(":")[2] for text in objective.slo.respond if text.startswith("notify:"))


def renewed_target(books: Books, objective: Objective, episode: Episode, now_ns: int) -> int | None:
    """The target of a fleet that is being scaled down: raised when its load needs more, up to what ran before; never lowered."""
    units = _units(books, objective, episode.argument, now_ns)
    if units is None or episode.current_units is None or episode.target_units is None:
        return episode.target_units
    return min(episode.current_units, max(episode.target_units, units[1]))


def _episode(books: Books, prices: PriceBook, objective: Objective, kind: Response, argument: str, now_ns: int) -> Episode | None:
    figures: dict[str, Any]
    if kind == "scale_down":
        units = _units(books, objective, argument, now_ns)
        if units is None or units[1] >= units[0]:
            return None
        figures = {"current_units": units[0], "target_units": units[1], **_expected_of_scaling(books, objective, argument, units, now_ns)}
    elif kind == "hold_best_effort":
        figures = {"expected_note": "unknown: requests that wait come later, or are refused"}
    else:
        figures = _expected_of_steering(books, prices, objective, kind, argument, now_ns)
    stamp = datetime.fromtimestamp(now_ns / 1e9, UTC).strftime("%Y%m%dT%H%M%S")
    return Episode(
        id="-".join((_slug(objective.name), *filter(None, (kind, _slug(argument))), stamp)),
        objective=objective.name,
        kind=kind,
        argument=argument,
        where=objective.slo.where,
        since_ns=now_ns,
        dry_run=objective.slo.dry_run,
        **figures,
    )


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


# --- traffic that another model answers ---


def _expected_of_steering(
    books: Books, prices: PriceBook, objective: Objective, kind: Response, argument: str, now_ns: int
) -> dict[str, Any]:
    """The window's requests at the prices of the model that would have answered them, less what they cost."""
    settings, saved, moved = books.settings, 0, 0
    fills = kind == "shift_traffic" and _fills(settings, objective, argument)
    where = tuple(pair for pair in objective.where if pair[0] not in KNOWN_BY_MODEL) if fills else objective.where
    query = CostQuery(since_ns=now_ns - objective.times.window_ns, until_ns=now_ns, by=("model", "sla"), where=where, requests_alone=True)
    for (model, sla), sums in books.ledger.sums(query):
        other = _other_model(settings, model, kind, argument)
        if other is None or other == model or sla == "critical" or not sums.priced:
            continue
        cost, there = known_cost(sums), _at_prices_of(prices, other, sums, now_ns)
        if cost is None or there is None:
            return {"expected_note": f"unknown: `{other}` has no price"}
        saved, moved = saved + cost - there, moved + sums.requests
    return {"expected": saved, "expected_note": f"{moved:,} requests of the last window, at the other model's prices"}


def _fills(settings: Settings, objective: Objective, tier: str) -> bool:
    """Whether the objective is about the very model that traffic is shifted to: the others come to it."""
    model = settings.tiers[tier].model
    given = settings.models[model]
    fleet = next((name for name, each in settings.fleets.items() if each.upstream == given.upstream), None)
    said = {"model": model, "tier": tier, "upstream": given.upstream, "fleet": fleet}
    said |= {"model_version": given.version, "optimization": given.optimization}
    named = [(key, value) for key, value in objective.where if key in said]
    return bool(named) and all(said[key] == value for key, value in named)


def _other_model(settings: Settings, model: str | None, kind: Response, argument: str) -> str | None:
    ladder = [tier.model for tier in settings.tiers.values()]
    if model not in ladder:
        return None
    if kind == "shift_traffic":
        return settings.tiers[argument].model
    place = ladder.index(model)
    return ladder[place - 1] if place else None


def _at_prices_of(prices: PriceBook, model: str, sums: Sums, now_ns: int) -> int | None:
    """What the priced tokens of a group would cost there; prices that rise with the prompt are taken at its mean."""
    schedule, tokens = prices.schedule(model), tokens_of(sums)
    rates = None if schedule is None else schedule.at(now_ns)
    if rates is None:
        return None
    counts = (tokens.uncached_input, tokens.cache_read, tokens.cache_write, tokens.visible_output, tokens.reasoning)
    weights = rates.weights(tokens.input // sums.requests)
    if any(count and weight is None for count, weight in zip(counts, weights, strict=True)):
        return None
    whole = rates.per_call * sums.requests + sum(count * (weight or 0) for count, weight in zip(counts, weights, strict=True))
    return round(Fraction(whole, rates.denominator))


# --- fleets that are larger than their work ---


def _units(books: Books, objective: Objective, fleet: str, now_ns: int) -> tuple[int, int] | None:
    """(units that run, units that the work needs), at least 1; None while nothing is known of the fleet."""
    times = objective.times
    long, short = (_use(books, fleet, now_ns - span, now_ns) for span in (times.window_ns, times.short_ns))
    if long is None or short is None:
        return None
    needed = ceil(max(_busy_units(long.hours), _busy_units(short.hours)) / BUSY)
    last = long.hours[-1]
    return round(last.units_ns / (last.until_ns - last.since_ns)), max(1, needed)


def _use(books: Books, fleet: str, since_ns: int, until_ns: int) -> FleetUse | None:
    """The use of a fleet of which hours are known."""
    uses = fleet_use(books, Window(since_ns, until_ns, "UTC", ""))
    return next((use for use in uses if use.name == fleet and use.hours), None)


def _busy_units(hours: Sequence[FleetHour]) -> Fraction:
    """Units that were at work, on the mean of the time."""
    lasted, ran = sum(hour.until_ns - hour.since_ns for hour in hours), sum(hour.gpu_ns for hour in hours)
    worked, units = sum(hour.work_gpu_ns for hour in hours), sum(hour.units_ns for hour in hours)
    return Fraction(worked, ran) * Fraction(units, lasted) if ran and lasted else Fraction(0)


def _expected_of_scaling(books: Books, objective: Objective, fleet: str, units: tuple[int, int], now_ns: int) -> dict[str, Any]:
    until = now_ns + objective.times.window_ns
    rents = [rent_of_units(books.settings, fleet, each, now_ns, until) for each in units]
    if rents[0] is None or rents[1] is None:
        return {"expected_note": "unknown: so is the price of the fleet"}
    return {"expected": rents[0] - rents[1], "expected_note": f"the rent of {units[0]} units for one window, less that of {units[1]}"}


def rent_of_units(settings: Settings, fleet: str, units: int, since_ns: int, until_ns: int) -> int | None:
    """Nano-USD that a fleet costs while so many of its units run, commitments included; None: its price is unknown."""
    found = rent(holding(fleet, settings.fleets[fleet]), ((since_ns, units),), since_ns, until_ns)
    return None if found is None else found.total
