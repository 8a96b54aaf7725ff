"""Sums over records and the measures read off them: cost per request, CP1KT, coverage. Definitions stand here once.

CP1KT = cost / tokens processed x 1000. Tokens processed are input (cached or not) + output (reasoning included) of the
requests that have a known cost; answers replayed from Penstock's own cache process no tokens, so they lower the cost per
request but do not flatter CP1KT.
"""

from decimal import ROUND_HALF_EVEN, Decimal

import msgspec

from penstock.domain.dialects.tokens import Tokens
from penstock.domain.ledger.record import REPLAYED, UsageRecord, booked_of, is_unbooked, provisional_of

CP1KT_DEFINITION = (
    "CP1KT = cost / (input + output tokens processed by models, of priced requests) x 1000; answers from Penstock's cache process none"
)


class CostQuery(msgspec.Struct, frozen=True, kw_only=True):
    """A window [since, until) of admission instants, equality filters and grouping keys.

    Keys are record fields of `DIMENSIONS`, `day`/`hour` (in UTC), or any tag name.
    """

    since_ns: int
    until_ns: int
    by: tuple[str, ...] = ()
    where: tuple[tuple[str, str], ...] = ()


DIMENSIONS = (
    "endpoint", "model", "requested_model", "response_model", "model_version", "optimization", "tier", "sla", "upstream", "fleet",
    "gpu", "instance", "region", "cache", "route", "strategy", "outcome", "status", "key_id", "price_id", "price_version", "cost_basis",
    "baseline", "processing", "writer", "steered", "steered_from",
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
    """of the priced requests, and of the unbooked ones what tries elsewhere cost"""
    estimated: int = 0
    """priced requests whose cost rests on an estimate"""
    compared: int = 0
    """priced requests with a known counterfactual"""
    compared_cost: int = 0
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

    def add(self, other: "Sums") -> None:
        for field in self.__struct_fields__:
            setattr(self, field, getattr(self, field) + getattr(other, field))


def sums_of(record: UsageRecord) -> Sums:
    """One record as sums: the meaning of every column that stores add up in SQL."""
    if record.outcome == "refused":
        return Sums(refused=1)
    tokens, recalled, cost = record.tokens, record.recalled, record.cost
    compared = cost is not None and record.counterfactual is not None
    unbooked = is_unbooked(record)
    split = cost is not None and record.input_cost is not None and record.list_cost is not None and tokens.total > 0
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
        priced=cost is not None,
        priced_tokens=tokens.total if cost is not None else 0,
        cost=booked_of(record) or 0,
        estimated=cost is not None and record.cost_basis == "estimated",
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
    )


def tokens_of(sums: Sums) -> Tokens:
    return Tokens(sums.uncached_input, sums.cache_read, sums.cache_write, sums.visible_output, sums.reasoning)


def cp1kt_usd(cost: int, tokens: int) -> Decimal | None:
    """Cost (nano-USD) per 1,000 tokens in USD, nine decimals; None when no token was processed."""
    if tokens <= 0:
        return None
    return (Decimal(cost) * 1000 / tokens).scaleb(-9).quantize(Decimal("0.000000001"), ROUND_HALF_EVEN)


def known_cost(sums: Sums) -> int | None:
    """Nano-USD of the priced requests; None when requests were answered and not one of them is priced."""
    return sums.cost if sums.priced or not sums.requests else None


def known_counterfactual(sums: Sums) -> int | None:
    """Nano-USD that the baseline would have cost, over the requests that can be compared; None when none can."""
    return sums.counterfactual if sums.compared or not sums.requests else None


def saved(sums: Sums) -> int | None:
    """Counterfactual less cost in nano-USD, both over the compared requests only; negative when the baseline is cheaper."""
    return sums.counterfactual - sums.compared_cost if sums.compared or not sums.requests else None
