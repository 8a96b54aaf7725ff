"""What a response brought, from the ledger: exact, or unknown and why."""

import msgspec

from penstock.domain.ledger.costing import counterfactual
from penstock.domain.ledger.measures import CostQuery
from penstock.domain.ledger.record import REPLAYED
from penstock.domain.prices.book import PriceBook
from penstock.finops.books import Books
from penstock.finops.fleets import fleet_use
from penstock.finops.objectives.episodes import Episode
from penstock.finops.objectives.responding import rent_of_units
from penstock.finops.window import Window


class Effect(msgspec.Struct, frozen=True):
    """Nano-USD saved so far (negative: it cost more); None is unknown."""

    saved: int | None
    note: str


def effect(books: Books, prices: PriceBook, episode: Episode) -> Effect:
    """What an episode has saved from its begin to its end, or until now."""
    if episode.dry_run:
        return Effect(None, "nothing was done: dry run")
    if episode.kind == "hold_best_effort":
        return Effect(None, "unknown: requests that waited came later, or were refused")
    return _of_scaling(books, episode) if episode.kind == "scale_down" else _of_steering(books, prices, episode)


def _of_steering(books: Books, prices: PriceBook, episode: Episode) -> Effect:
    """Every request that it sent to another model: its tokens at the price of the model that would have been asked, less what it cost.

    Until now, not until the end: what was under way at the end has its record later.
    """
    saved = requests = unknown = 0
    query = CostQuery(since_ns=episode.since_ns, until_ns=books.now_ns, where=(("steered", episode.id),), requests_alone=True)
    for record in books.ledger.records(query):
        if record.outcome == "refused" or record.cache in REPLAYED:
            continue
        requests += 1
        model = record.model or ""
        asked = counterfactual(prices, record.steered_from, model, record.tokens, record.admitted_ns, record.parts, record.processing)
        if record.cost is None or asked is None:
            unknown += 1
        else:
            saved += asked - record.cost
    if unknown:
        return Effect(None, f"unknown: {unknown:,} of {requests:,} steered requests have no price here or there")
    return Effect(saved, f"{requests:,} requests: their tokens at the prices of the models that were asked, less what they cost")


def _of_scaling(books: Books, episode: Episode) -> Effect:
    """The rent of the units that ran at the begin, had they run on, less the rent of those that did."""
    fleet = books.settings.fleets.get(episode.argument)
    if fleet is None or fleet.runs is None or episode.current_units is None:
        return Effect(None, "unknown: `runs` of the fleet does not say how many of its units ran")
    until = episode.ended_ns or books.now_ns
    use = next((each for each in fleet_use(books, Window(episode.since_ns, until, "UTC", "")) if each.name == episode.argument), None)
    if use is None or use.rent is None:
        return Effect(None, f"unknown: {use.note if use is not None else 'so is the rent'}")
    before = rent_of_units(books.settings, episode.argument, episode.current_units, use.since_ns, use.until_ns)
    if before is None:
        return Effect(None, "unknown: so is the price of the fleet")
    return Effect(before - use.rent, f"the rent of {episode.current_units} units, less that of those that ran")
