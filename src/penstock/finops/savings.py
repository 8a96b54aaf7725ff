"""What each lever earned: from what the baseline would have cost down to what was paid, exactly additive in nano-USD.

Only requests can be compared whose cost and counterfactual are both known; what cannot be compared is told apart, with its cost.
"""

from collections.abc import Iterable
from fractions import Fraction
from typing import Literal

import msgspec

from penstock.domain.ledger.measures import CostQuery, Sums
from penstock.domain.ledger.record import REPLAYED
from penstock.finops.ledger import Keys, Summed

LeverName = Literal["routing", "processing", "exact_cache", "normalised_cache", "semantic_cache", "embedding", "asides", "wasted_tries"]
CACHE_LEVERS: dict[str, LeverName] = {"exact": "exact_cache", "normalised": "normalised_cache", "semantic": "semantic_cache"}
"""layer of the cache -> the lever of what it replayed"""
OF_THE_CACHE: tuple[LeverName, ...] = (*CACHE_LEVERS.values(), "embedding")
"""levers that together are what the cache earned, less what looking into it cost"""
BY = ("cache", "model", "baseline", "processing")
"""what sums must be grouped by to tell the levers apart"""
BASELINE = (
    "The counterfactual prices the very tokens of each request on the baseline model, class by class, at that model's price on that day: "
    "nothing replayed, nothing routed. Tokens that a provider's own prompt cache served count as served there too."
)
NO_BASELINE = "No baseline tier is configured (`server.baseline`), so each request is compared with the same model and nothing replayed."
NOT_TOLD = (
    "What a provider's prompt cache took off the price of input is no lever: the tokens it served count as served on the baseline too. "
    "Requests on own hardware count at the rate that they were booked at when they were answered; what their hours' rent came to stands "
    "on Costs and Fleet."
)
MEANING: dict[LeverName, str] = {
    "routing": "the baseline's price less the list price of the model that answered, at the processing class that it was asked for",
    "processing": "standard price less that of batch, flex or priority, of requests that the baseline's own model answered",
    "exact_cache": "the list cost of answers to the very same request that were replayed instead of made again",
    "normalised_cache": "the same, of answers to the same words: case, space, punctuation and politeness aside",
    "semantic_cache": "the same, of answers to other words that mean the same; what wrong ones among them cost is no part of it",
    "embedding": "paid for turning questions into vectors, whether an answer was found or not",
    "asides": "paid for calls beside the answers that routing asks for: drafts that were not kept, votes, samples, verifiers, shadows",
    "wasted_tries": "paid for tries that brought no answer, each booked whole",
}


class Lever(msgspec.Struct, frozen=True):
    """One lever: `amount` in nano-USD lowers the cost, below 0 it raises it; `requests` it touched (of `asides`: calls)."""

    name: LeverName
    amount: int
    requests: int
    meaning: str


class Savings(msgspec.Struct, frozen=True):
    """`counterfactual` less every lever's amount is `paid`, to the last nano-USD; all over the `compared` requests and what was called
    beside requests."""

    baselines: tuple[str, ...]
    """models that requests were compared with; empty: each with its own"""
    definition: str
    compared: int
    counterfactual: int
    levers: tuple[Lever, ...]
    paid: int
    apart: int
    """answered requests that cannot be compared"""
    apart_cost: int
    """what of their cost is known, in nano-USD"""
    unpriced: int
    """those of them without a known cost"""
    asides_unpriced: int = 0
    """calls beside requests without a known cost: what they cost is not in `paid`"""

    @property
    def saved(self) -> int:
        """What all levers earned together."""
        return self.counterfactual - self.paid

    @property
    def by_cache(self) -> int:
        """What all layers of the cache earned, less embeddings."""
        return sum(lever.amount for lever in self.levers if lever.name in OF_THE_CACHE)

    @property
    def list_cost(self) -> int:
        """What is left of the counterfactual after routing and processing: the answers at list prices, nothing replayed."""
        return self.counterfactual - sum(lever.amount for lever in self.levers if lever.name in ("routing", "processing"))

    @property
    def saved_share(self) -> Fraction | None:
        """Saved over the counterfactual; None where nothing was compared or the baseline is free."""
        return Fraction(self.saved, self.counterfactual) if self.counterfactual else None


class SavingsRow(msgspec.Struct, frozen=True):
    """The savings of one group or day."""

    keys: Keys
    savings: Savings


def savings(ledger: Summed, query: CostQuery) -> Savings:
    """The levers over a window and its filters; the query's own keys are not looked at."""
    return of_groups(ledger.sums(msgspec.structs.replace(query, by=BY)))


def savings_by(ledger: Summed, query: CostQuery) -> tuple[SavingsRow, ...]:
    """The levers for every value of the query's keys, in their order (days in order of time)."""
    groups: dict[Keys, list[tuple[Keys, Sums]]] = {}
    width = len(query.by)
    for keys, sums in ledger.sums(msgspec.structs.replace(query, by=(*query.by, *BY))):
        groups.setdefault(keys[:width], []).append((keys[width:], sums))
    ordered = sorted(groups, key=lambda keys: tuple((value is None, value or "") for value in keys))
    return tuple(SavingsRow(keys, of_groups(groups[keys])) for keys in ordered)


def of_groups(groups: Iterable[tuple[Keys, Sums]]) -> Savings:
    """The levers over sums that are grouped by `BY`."""
    total, classed, routed = Sums(), Sums(), 0
    layers = {layer: Sums() for layer in REPLAYED}
    baselines: set[str] = set()
    for (cache, model, baseline, processing), sums in groups:
        total.add(sums)
        if cache in REPLAYED:
            layers[cache].add(sums)
        if baseline is not None and sums.compared:
            baselines.add(baseline)
            routed += sums.compared if model != baseline else 0
        if baseline is not None and model == baseline and processing is not None:
            classed.add(sums)
    by_class = classed.counterfactual - classed.list_cost
    replayed = {CACHE_LEVERS[layer]: (replayed_worth(sums), sums.compared) for layer, sums in layers.items()}
    earned = sum(amount for amount, _ in replayed.values())
    amounts: dict[LeverName, tuple[int, int]] = {
        "routing": (total.counterfactual - total.list_cost - by_class, routed),
        "processing": (by_class, classed.compared),
        **replayed,
        "embedding": (-total.embedding_cost, total.embedded),
        "asides": (-total.aside_cost, total.asides - total.asides_unpriced - total.asides_unbooked),
        "wasted_tries": (total.list_cost - total.compared_cost - earned + total.embedding_cost + total.aside_cost, total.wasting),
    }
    levers = tuple(Lever(name, amount, requests, MEANING[name]) for name, (amount, requests) in amounts.items())
    return Savings(
        baselines=tuple(sorted(baselines)),
        definition=BASELINE if baselines else NO_BASELINE,
        compared=total.compared,
        counterfactual=total.counterfactual,
        levers=levers,
        paid=total.compared_cost,
        apart=total.requests - total.compared,
        apart_cost=total.cost - total.compared_cost,
        unpriced=total.requests - total.priced,
        asides_unpriced=total.asides_unpriced + total.asides_unbooked,
    )


def replayed_worth(sums: Sums) -> int:
    """What replays of one layer earned: their list cost. What else they cost, an embedding or a try in vain, has a lever of its own."""
    return sums.list_cost - (sums.compared_cost - sums.aside_cost - sums.embedding_cost - sums.wasted)
