"""Tokens and a price book -> the money fields of a record: cost, list cost, counterfactual; and a past record priced again.
Nano-USD, None is unknown."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from penstock.domain.dialects.tokens import NO_TOKENS, Tokens
from penstock.domain.ledger.record import UsageRecord
from penstock.domain.prices.book import PriceBook
from penstock.domain.prices.rates import NO_PARTS, Rates


class Priced(msgspec.Struct, frozen=True):
    """What a request cost, and by which entry of the price book. Field names are those of the usage record, but for `lacking`."""

    cost: int | None
    list_cost: int | None
    price_id: str | None
    price_version: str | None
    cost_basis: Literal["measured", "estimated", "unknown"]
    input_cost: int | None = None
    """the input side of `list_cost`"""
    lacking: tuple[str, ...] = ()
    """parts without a rate of their own, charged as their class: the cost is an estimate"""


UNPRICED = Priced(None, None, None, None, "unknown")


def price_call(
    book: PriceBook, model: str, tokens: Tokens, at_ns: int, parts: Mapping[str, int] = NO_PARTS, processing: str | None = None
) -> Priced:
    """The cost of tokens that a model processed, at the rates in force at the instant of admission.

    `parts`: counts by name of `dialects.tokens.PARTS`; `processing`: the class of the call, None for standard. The cost is None,
    and the basis unknown, when the model has no price of that class then or a token class of the call has none.
    """
    schedule = book.schedule(model, processing)
    rates = None if schedule is None else schedule.at(at_ns)
    if rates is None:
        return UNPRICED
    cost = rates.cost(tokens, parts)
    if cost is None:
        return Priced(None, None, rates.id, rates.version, "unknown")
    lacking = rates.lacks(parts) if parts else ()
    basis = "estimated" if lacking else rates.basis
    return Priced(cost, cost, rates.id, rates.version, basis, rates.input_cost(tokens, parts), lacking)


def price_recall(
    book: PriceBook, model: str, recalled: Tokens, at_ns: int, parts: Mapping[str, int] = NO_PARTS, processing: str | None = None
) -> Priced:
    """The cost of a replayed answer: exactly 0, whatever the model costs; its list cost is what the model would have cost."""
    would = price_call(book, model, recalled, at_ns, parts, processing)
    return Priced(0, would.cost, would.price_id, would.price_version, "measured", would.input_cost, would.lacking)


def counterfactual(
    book: PriceBook,
    baseline: str | None,
    model: str,
    tokens: Tokens,
    at_ns: int,
    parts: Mapping[str, int] = NO_PARTS,
    processing: str | None = None,
) -> int | None:
    """What the same tokens would have cost on the baseline model; without a baseline, on the same model with nothing replayed.

    `tokens` are those processed, or for a cache hit those recalled. The baseline is priced class by class: tokens that the
    model read from its provider's cache count as read from cache there too. A baseline is priced at its standard processing:
    that a request went by batch is a saving.
    """
    schedule = book.schedule(model, processing) if baseline is None else book.schedule(baseline)
    rates = None if schedule is None else schedule.at(at_ns)
    return None if rates is None else rates.cost(tokens, parts)


def rerated(record: UsageRecord, rates: Rates) -> int | None:
    """The cost of a past record priced again by an entry of a price book; by its own entry exactly the cost that was booked.

    What other tries and the embedding cost stands as it was booked, for it has entries of its own; beside that a replayed answer
    costs 0. None: unpriced by this entry.
    """
    cost = 0 if record.recalled != NO_TOKENS else rates.cost(record.tokens, record.parts)
    if cost is None or record.wasted_cost is None or record.embedding_cost is None:
        return None
    return cost + record.wasted_cost + record.embedding_cost
