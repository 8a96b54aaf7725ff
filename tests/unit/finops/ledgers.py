"""A ledger for tests: records that Hypothesis makes up, and a snapshot that holds them in memory."""

from collections.abc import Iterator, Sequence

from hypothesis import strategies as st

from penstock.adapters.stores.cost_view import EmptyCostView
from penstock.domain.dialects.tokens import NO_TOKENS, Tokens
from penstock.domain.ledger.grouping import keys_of, matches
from penstock.domain.ledger.latency import Latency, latency_of
from penstock.domain.ledger.measures import CostQuery, Sums, sums_of
from penstock.domain.ledger.record import REPLAYED, CacheOutcome, Reservation, UsageRecord
from penstock.domain.ledger.routed import Purpose
from penstock.ports.cost_store import CostView

EVER = CostQuery(since_ns=0, until_ns=2**63 - 1)
SECOND = 10**9

_counts = st.integers(0, 10**7)
_money = st.none() | st.integers(0, 10**13)


class Ledger:
    """A `Snapshot` over a list of records."""

    def __init__(self, records: Sequence[UsageRecord]) -> None:
        self._records = sorted(records, key=lambda record: (record.admitted_ns, record.id), reverse=True)

    @property
    def costs(self) -> CostView:
        """No hour is closed and nothing is recorded."""
        return EmptyCostView()

    def offsets(self) -> dict[str, int]:
        return {}

    def sums(self, query: CostQuery) -> list[tuple[tuple[str | None, ...], Sums]]:
        groups: dict[tuple[str | None, ...], Sums] = {}
        for record in self.records(query):
            groups.setdefault(keys_of(record, query.by), Sums()).add(sums_of(record))
        return list(groups.items())

    def latencies(self, query: CostQuery) -> list[tuple[tuple[str | None, ...], Latency]]:
        groups: dict[tuple[str | None, ...], Latency] = {}
        for record in self.records(query):
            groups.setdefault(keys_of(record, query.by), Latency()).add(latency_of(record))
        return list(groups.items())

    def span(self) -> tuple[int, int] | None:
        return (self._records[-1].admitted_ns, self._records[0].admitted_ns) if self._records else None

    def find(self, request_id: str) -> UsageRecord | None:
        return next((record for record in self._records if record.id == request_id), None)

    def asides(self, request_id: str) -> list[UsageRecord]:
        return [record for record in reversed(self._records) if record.parent == request_id]

    def records(self, query: CostQuery, limit: int | None = None) -> Iterator[UsageRecord]:
        found = [record for record in self._records if matches(record, query)]
        yield from found[:limit]

    def open_reservations(self) -> dict[str, list[Reservation]]:
        return {}


@st.composite
def usage_records(draw: st.DrawFn) -> UsageRecord:
    """Any record, refused, failed, cached and unpriced ones too, and calls beside requests; ids are distinct in practice."""
    cache: CacheOutcome = draw(st.sampled_from(["exact", "normalised", "semantic", "miss", "miss", "bypass"]))
    tokens = draw(st.builds(Tokens, _counts, _counts, _counts, _counts, _counts))
    purpose: Purpose | None = draw(st.sampled_from([None, None, None, "draft", "shadow"]))
    return UsageRecord(
        id=draw(st.uuids()).hex,
        admitted_ns=draw(st.integers(0, 400)) * 3600 * SECOND,
        endpoint="chat.completions",
        status=200,
        outcome=draw(st.sampled_from(["ok", "ok", "ok", "error", "refused", "client_closed", "interrupted"])),
        model=draw(st.sampled_from([None, "small", "large"])),
        upstream=draw(st.sampled_from([None, "local"])),
        cache=cache,
        tags=draw(st.dictionaries(st.sampled_from(["team", "feature"]), st.sampled_from(["", "search", "support"]))),
        tokens=NO_TOKENS if cache in REPLAYED else tokens,
        recalled=tokens if cache in REPLAYED else NO_TOKENS,
        cost=draw(_money),
        processing=draw(st.sampled_from([None, None, "batch", "priority"])),
        baseline=draw(st.sampled_from([None, "small", "large"])),
        cost_basis=draw(st.sampled_from(["measured", "estimated"])),
        counterfactual=draw(_money),
        list_cost=draw(_money),
        wasted_cost=draw(st.sampled_from([0, 0, 7, None])),
        embedding_cost=draw(st.sampled_from([0, 0, 3])),
        would_cache=draw(st.sampled_from([None, None, "normalised", "semantic"])),
        first_token_us=draw(st.none() | st.integers(0, 10**8)),
        duration_us=draw(st.integers(0, 10**9)),
        purpose=purpose,
        parent=None if purpose is None else "req_1",
    )
