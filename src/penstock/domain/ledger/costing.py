"""Tokens and a price book -> the money fields of a record: cost, list cost, counterfactual. Nano-USD, None is unknown."""

from typing import Literal

import msgspec

from penstock.domain.dialects.tokens import Tokens
from penstock.domain.prices.book import PriceBook


class Priced(msgspec.Struct, frozen=True):
    """What a request cost, and by which entry of the price book. Field names are those of the usage record."""

    cost: int | None
    list_cost: int | None
    price_id: str | None
    price_version: str | None
    cost_basis: Literal["measured", "estimated", "unknown"]


UNPRICED = Priced(None, None, None, None, "unknown")


def price_call(book: PriceBook, model: str, tokens: Tokens, at_ns: int) -> Priced:
    """The cost of tokens that a model processed, at the rates in force at the instant of admission.

    The cost is None, and the basis unknown, when the model has no price then or a class of its tokens has none.
    """
    schedule = book.schedule(model)
    rates = None if schedule is None else schedule.at(at_ns)
    if rates is None:
        return UNPRICED
    cost = rates.cost(tokens)
    return Priced(cost, cost, rates.id, rates.version, "unknown" if cost is None else rates.basis)


def price_recall(book: PriceBook, model: str, recalled: Tokens, at_ns: int) -> Priced:
    """The cost of a replayed answer: exactly 0, whatever the model costs; its list cost is what the model would have cost."""
    would = price_call(book, model, recalled, at_ns)
    return Priced(0, would.cost, would.price_id, would.price_version, "measured")


def counterfactual(book: PriceBook, baseline: str | None, model: str, tokens: Tokens, at_ns: int) -> int | None:
    """What the same tokens would have cost on the baseline model; without a baseline, on the same model with nothing replayed.

    `tokens` are those processed, or for a cache hit those recalled. The baseline is priced class by class: tokens that the
    model read from its provider's cache count as read from cache there too.
    """
    schedule = book.schedule(model if baseline is None else baseline)
    rates = None if schedule is None else schedule.at(at_ns)
    return None if rates is None else rates.cost(tokens)
