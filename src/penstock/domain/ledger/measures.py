"""Sums over records and the measures read off them: cost per request, CP1KT, coverage. Definitions stand here once.

CP1KT = cost / tokens processed x 1000. Tokens processed are input (cached or not) + output (reasoning included) of the
requests that have a known cost; answers replayed from Penstock's own cache process no tokens, so they lower the cost per
request but do not flatter CP1KT.

An aside (a draft that was not kept, a vote, a shadow ...) is a line of the ledger with a purpose. It costs and processes tokens, but it
is no request: it is in no count of requests, and the baseline would not have made it, so its counterfactual is nothing.
"""

from decimal import ROUND_HALF_EVEN, Decimal

import msgspec

from penstock.domain.dialects.tokens import Tokens
from penstock.domain.ledger.record import (
    REPLAYED,
    UsageRecord,
    booked_of,
    is_aside,
    is_embedding_unknown,
    is_unbooked,
    provisional_of,
)

CP1KT_DEFINITION = (
    "CP1KT = cost / (input + output tokens processed by models, of priced requests and of what was called beside them) x 1000; "
    "answers from Penstock's cache process none"
)


class CostQuery(msgspec.Struct, frozen=True, kw_only=True):
    """A window [since, until) of admission instants, equality filters and grouping keys.

    Keys are record fields of `DIMENSIONS`, `day`/`hour` (in UTC), or any tag name. `requests_alone` leaves asides out.
    """

    since_ns: int
    until_ns: int
    by: tuple[str, ...] = ()
    where: tuple[tuple[str, str], ...] = ()
    requests_alone: bool = False


DIMENSIONS = (
    "endpoint", "model", "requested_model", "response_model", "model_version", "optimization", "tier", "sla", "upstream", "fleet",
    "gpu", "instance", "region", "cache", "route", "strategy", "outcome", "status", "key_id", "price_id", "price_version", "cost_basis",
    "baseline", "processing", "writer", "steered", "steered_from", "purpose",
)  # fmt: skip


class Sums(msgspec.Struct):
    """Exact integer sums over a group of records. Additive: merging groups is adding fields."""

    requests: int = 0
    """answered: by a model, the cache, or with an upstream's failure"""
    refused: int = 0
    failed: int = 0
    cache_hits: int = 0
    uncached_input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    visible_output: int = 0
    reasoning: int = 0
    recalled_input: int = 0
    recalled_output: int = 0
    priced: int = 0
    """answered requests whose cost is known"""
    priced_tokens: int = 0
    cost: int = 0
    """of the priced requests and asides, and of the unbooked ones what tries elsewhere cost"""
    estimated: int = 0
    """priced requests whose cost rests on an estimate"""
    compared: int = 0
    """priced requests with a known counterfactual"""
    compared_cost: int = 0
    """of these, and of all priced asides"""
    counterfactual: int = 0
    list_cost: int = 0
    """of the compared requests whose list cost is known"""
    wasted: int = 0
    """the part of `compared_cost` for tries that brought no answer, as far as it is known"""
    wasting: int = 0
    """compared requests of whose cost some was wasted"""
    provisional: int = 0
    """the part of `cost` for work of own fleets, which allocation replaces"""
    split: int = 0
    """priced requests whose cost is known for input and output apart"""
    split_input_cost: int = 0
    split_output_cost: int = 0
    split_input: int = 0
    """tokens of those"""
    split_output: int = 0
    unbooked: int = 0
    """answered by own fleets and booked at no price: their hours' allocation tells what they cost"""
    unbooked_tokens: int = 0
    looked: int = 0
    """answered requests that the semantic cache has made something of"""
    embedding_cost: int = 0
    """the part of `compared_cost` for embeddings that looked for an answer, as far as it is known"""
    embedded: int = 0
    """compared requests of whose cost some was for an embedding"""
    embedding_unknown: int = 0
    """answered requests whose embedding has no price"""
    would_normalised: int = 0
    """made by a model, though the cache had an answer to the same words: it only watched, or it measured itself"""
    would_normalised_cost: int = 0
    """what those of them that are priced cost beyond their embedding"""
    would_semantic: int = 0
    """the same for answers to other words"""
    would_semantic_cost: int = 0
    would_priced: int = 0
    """of both, those that are priced"""
    asides: int = 0
    """calls made for requests that are not their answer: they are in no count above, but in every sum of tokens and of money"""
    aside_cost: int = 0
    """of the priced ones: the part of `compared_cost` for them"""
    asides_unpriced: int = 0
    """those of which nothing tells the cost"""
    asides_unbooked: int = 0
    """those that own fleets made and that are booked at no price: their hours tell what they cost"""

    def add(self, other: "Sums") -> None:
        for field in self.__struct_fields__:
            setattr(self, field, getattr(self, field) + getattr(other, field))


def sums_of(record: UsageRecord) -> Sums:
    """One record as sums: the meaning of every column that stores add up in SQL."""
    if record.outcome == "refused":
        return Sums(refused=not is_aside(record))
    if is_aside(record):
        return _aside_sums(record)
    tokens, recalled, cost = record.tokens, record.recalled, record.cost
    compared = cost is not None and record.counterfactual is not None
    unbooked = is_unbooked(record)
    split = cost is not None and record.input_cost is not None and record.list_cost is not None and tokens.total > 0
    embedding, priced = record.embedding_cost or 0, cost is not None
    normalised, semantic = record.would_cache == "normalised", record.would_cache == "semantic"
    return Sums(
        requests=1,
        failed=record.outcome != "ok",
        cache_hits=record.cache in REPLAYED,
        uncached_input=tokens.uncached_input,
        cache_read=tokens.cache_read,
        cache_write=tokens.cache_write,
        visible_output=tokens.visible_output,
        reasoning=tokens.reasoning,
        recalled_input=recalled.input,
        recalled_output=recalled.output,
        priced=priced,
        priced_tokens=tokens.total if priced else 0,
        cost=booked_of(record) or 0,
        estimated=priced and record.cost_basis == "estimated",
        compared=compared,
        compared_cost=(cost or 0) if compared else 0,
        counterfactual=(record.counterfactual or 0) if compared else 0,
        list_cost=(record.list_cost or 0) if compared else 0,
        wasted=(record.wasted_cost or 0) if compared else 0,
        wasting=compared and bool(record.wasted_cost),
        provisional=provisional_of(record),
        split=split,
        split_input_cost=(record.input_cost or 0) if split else 0,
        split_output_cost=(record.list_cost or 0) - (record.input_cost or 0) if split else 0,
        split_input=tokens.input if split else 0,
        split_output=tokens.output if split else 0,
        unbooked=unbooked,
        unbooked_tokens=tokens.total if unbooked else 0,
        looked=record.cache_decision is not None,
        embedding_cost=embedding if compared else 0,
        embedded=compared and embedding > 0,
        embedding_unknown=is_embedding_unknown(record),
        would_normalised=normalised,
        would_normalised_cost=(cost or 0) - embedding if normalised and priced else 0,
        would_semantic=semantic,
        would_semantic_cost=(cost or 0) - embedding if semantic and priced else 0,
        would_priced=priced and (normalised or semantic),
    )


def _aside_sums(record: UsageRecord) -> Sums:
    tokens, cost, unbooked = record.tokens, record.cost, is_unbooked(record)
    priced = cost is not None
    split = priced and record.input_cost is not None and record.list_cost is not None and tokens.total > 0
    return Sums(
        uncached_input=tokens.uncached_input,
        cache_read=tokens.cache_read,
        cache_write=tokens.cache_write,
        visible_output=tokens.visible_output,
        reasoning=tokens.reasoning,
        priced_tokens=tokens.total if priced else 0,
        cost=booked_of(record) or 0,
        compared_cost=cost or 0,
        provisional=provisional_of(record),
        split_input_cost=(record.input_cost or 0) if split else 0,
        split_output_cost=(record.list_cost or 0) - (record.input_cost or 0) if split else 0,
        split_input=tokens.input if split else 0,
        split_output=tokens.output if split else 0,
        unbooked_tokens=tokens.total if unbooked else 0,
        asides=1,
        aside_cost=cost or 0,
        asides_unpriced=not priced and not unbooked,
        asides_unbooked=unbooked,
    )


def tokens_of(sums: Sums) -> Tokens:
    return Tokens(sums.uncached_input, sums.cache_read, sums.cache_write, sums.visible_output, sums.reasoning)


def cp1kt_usd(cost: int, tokens: int) -> Decimal | None:
    """Cost (nano-USD) per 1,000 tokens in USD, nine decimals; None when no token was processed."""
    if tokens <= 0:
        return None
    return (Decimal(cost) * 1000 / tokens).scaleb(-9).quantize(Decimal("0.000000001"), ROUND_HALF_EVEN)


def lines(sums: Sums) -> int:
    """What was answered, and what was called beside it: all that can cost."""
    return sums.requests + sums.asides


def priced_lines(sums: Sums) -> int:
    """Those of them with a known cost."""
    return sums.priced + sums.asides - sums.asides_unpriced - sums.asides_unbooked


def unpriced_lines(sums: Sums) -> int:
    """Those of them that nothing tells the cost of: no price, and no hours of own fleets."""
    return sums.requests - sums.priced - sums.unbooked + sums.asides_unpriced


def is_cost_known(sums: Sums) -> bool:
    """False when there were lines and not one of them is priced."""
    return bool(priced_lines(sums) or not lines(sums))


def known_cost(sums: Sums) -> int | None:
    """Nano-USD of the priced requests and asides; None when not one of them is priced."""
    return sums.cost if is_cost_known(sums) else None


def known_aside_cost(sums: Sums) -> int | None:
    """Nano-USD of the priced asides; None when there were some and not one of them is priced."""
    return sums.aside_cost if not sums.asides or sums.asides > sums.asides_unpriced + sums.asides_unbooked else None


def known_counterfactual(sums: Sums) -> int | None:
    """Nano-USD that the baseline would have cost, over the requests that can be compared; None when none can."""
    return sums.counterfactual if sums.compared or not sums.requests else None


def saved(sums: Sums) -> int | None:
    """Counterfactual less cost in nano-USD: over the compared requests, and less what was called beside requests; negative when the
    baseline is cheaper. None when no request can be compared."""
    return sums.counterfactual - sums.compared_cost if sums.compared or not sums.requests else None
