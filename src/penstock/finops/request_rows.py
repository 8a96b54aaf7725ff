"""One request as one row: what lists and exports of requests say of each, in the words of the record."""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from penstock.domain.ledger.record import CacheDecision, UsageRecord, is_embedding_unknown
from penstock.domain.prices.rates import TOKEN_CLASSES
from penstock.domain.units import format_usd
from penstock.finops.sheet import csv_text
from penstock.finops.window import iso

_BEFORE = (
    "admitted", "id", "endpoint", "status", "outcome", "requested_model", "model", "response_model", "tier", "route", "strategy",
    "upstream", "upstream_endpoint", "fleet",
    "cache", "cache_source", "cache_verdict", "cache_similarity", "cache_risk", "would_cache", "streamed", *TOKEN_CLASSES,
    "recalled_input", "recalled_output", "tokens_basis", "first_token_ms", "duration_ms", "cost_usd", "list_cost_usd", "wasted_usd",
    "embedding_usd", "counterfactual_usd", "cost_basis", "price_id", "price_version", "baseline", "key_id", "purpose", "parent",
)  # fmt: skip


def columns(declared: Sequence[str]) -> tuple[str, ...]:
    """The columns of an export: the record's own fields, one for each declared tag, and one for all further tags as JSON."""
    return (*_BEFORE, *(f"tag_{name}" for name in declared), "further_tags")


def rows(records: Iterable[UsageRecord], declared: Sequence[str]) -> Iterator[tuple[object, ...]]:
    """A row for each record, in the order of `columns`; None is unknown."""
    for record in records:
        further = {name: value for name, value in record.tags.items() if name not in declared}
        yield (
            iso(record.admitted_ns), record.id, record.endpoint, record.status, record.outcome, record.requested_model, record.model,
            record.response_model, record.tier, record.route, record.strategy, record.upstream, record.upstream_endpoint, record.fleet,
            record.cache, record.cache_source, *decided(record.cache_decision), record.would_cache,
            record.streamed, *(getattr(record.tokens, name) for name in TOKEN_CLASSES), record.recalled.input,
            record.recalled.output, record.tokens_basis, milliseconds(record.first_token_us), milliseconds(record.duration_us),
            format_usd(record.cost), format_usd(record.list_cost), format_usd(record.wasted_cost), embedding_usd(record),
            format_usd(record.counterfactual),
            record.cost_basis, record.price_id, record.price_version, record.baseline, record.key_id, record.purpose, record.parent,
            *(record.tags.get(name) for name in declared), msgspec.json.encode(further).decode() if further else None,
        )  # fmt: skip


def csv_piece(records: Iterable[UsageRecord], declared: Sequence[str], *, first: bool) -> bytes:
    """A piece of an export: the header line with the first one only."""
    header = columns(declared)
    text = csv_text(header, rows(records, declared))
    return (text if first else text[len(csv_text(header, ())) :]).encode()


def decided(decision: CacheDecision | None) -> tuple[str | None, float | None, float | None]:
    """Verdict, similarity (cosine) and risk of what the semantic cache made of a request; it was not asked where they are None."""
    return (None, None, None) if decision is None else (decision.verdict, decision.similarity, decision.risk)


def embedding_usd(record: UsageRecord) -> str | None:
    """What the embedding that looked for an answer cost; None where it has no price, 0 where there was none."""
    return None if is_embedding_unknown(record) else format_usd(record.embedding_cost or 0)


def milliseconds(microseconds: int | None) -> float | None:
    """Microseconds as milliseconds, exact to the microsecond."""
    return None if microseconds is None else microseconds / 1000
