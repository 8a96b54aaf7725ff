"""Books for tests of bills: records over two months, hours of one fleet that are all allocated, recorded runs, closed months; in memory."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import cast

from hypothesis import strategies as st

from penstock.config.caching import Cache, SemanticCache
from penstock.config.hardware import Fleet, OtherCost
from penstock.config.settings import Bill as BillSettings
from penstock.config.settings import Model, Settings, Upstream
from penstock.domain.dialects.tokens import NO_TOKENS, Tokens
from penstock.domain.ledger.entries import HOUR_NS, Allocated, Allocation, Close, Entry, FleetHour
from penstock.domain.ledger.grouping import key_of
from penstock.domain.ledger.measures import CostQuery
from penstock.domain.ledger.record import UsageRecord
from penstock.domain.prices.rates import Rates, compile_rates
from penstock.domain.units import Rate, split
from penstock.finops.books import Books
from penstock.finops.fleet_costs import allocated_of
from penstock.finops.ledger import Ledger as WholeLedger
from penstock.ports.cost_store import CostView
from tests.unit.finops.ledgers import Ledger

OCTOBER, NOVEMBER, DECEMBER = 1_790_812_800 * 10**9, 1_793_491_200 * 10**9, 1_796_083_200 * 10**9
RENT = 700_000_001
PRICE = compile_rates("book:large", "2026", {"uncached_input": Fraction(3), "cache_read": Fraction("0.3"), "visible_output": Fraction(15)})
CHEAPER = compile_rates(
    "book:large", "2026-10-15", {"uncached_input": Fraction(2), "cache_read": Fraction("0.2"), "visible_output": Fraction(8)}
)
"""the same entry at its next version"""


class Costs:
    """A `CostView` over lists."""

    def __init__(self, records: Sequence[UsageRecord], entries: Sequence[Entry] = (), closes: Sequence[Close] = ()) -> None:
        self._records = {record.id: record for record in records}
        self._entries = {entry.id: entry for entry in entries}
        self._closes = list(closes)
        self.hours, self.shares = _hours(records)

    def fleet_hours(self, since_hour: int, until_hour: int) -> list[FleetHour]:
        return [each for each in self.hours if since_hour <= each.hour < until_hour]

    def allocated(self, query: CostQuery) -> list[tuple[tuple[str | None, ...], Allocated]]:
        found: dict[tuple[str | None, ...], Allocated] = {}
        for share in self.shares:
            if query.since_ns <= share.hour * HOUR_NS and (share.hour + 1) * HOUR_NS <= query.until_ns:
                keys = tuple(share.fleet if key == "fleet" else key_of(self._records[share.request_id], key) for key in query.by)
                found.setdefault(keys, Allocated()).add(allocated_of(share))
        return list(found.items())

    def entries(self, since_ns: int, until_ns: int) -> list[Entry]:
        return [each for each in self._entries.values() if each.since_ns < until_ns and since_ns < each.until_ns]

    def closes(self) -> list[Close]:
        return self._closes

    def price_entries(self) -> Mapping[tuple[str, str], Rates]:
        return {(rates.id, rates.version): rates for rates in (PRICE, CHEAPER)}

    def works(self, *_: object) -> list[object]:
        return []

    engine_hours = works


class Snapshot(Ledger):
    """A `Snapshot` with costs."""

    def __init__(self, records: Sequence[UsageRecord], entries: Sequence[Entry] = (), closes: Sequence[Close] = ()) -> None:
        super().__init__(records)
        self._costs = Costs(records, entries, closes)

    @property
    def costs(self) -> CostView:
        return cast(CostView, self._costs)


def settings_of(idle: str = "separate") -> Settings:
    return Settings(
        version=1,
        upstreams={"openai": Upstream(provider="openai"), "azure": Upstream(provider="azure.ai.openai"), "local": Upstream()},
        fleets={"l40s": Fleet(gpu="L40S", upstream="local", price="0.700000001 USD/hour")},
        costs={"weights": OtherCost(price=Rate("12 USD/month"))},
        models={
            "large": Model(upstream="openai", name="gpt-4o"),
            "small": Model(upstream="local"),
            "embed": Model(upstream="azure", name="text-embedding-3-small"),
        },
        cache=Cache(semantic=SemanticCache(embedder="embed")),
        bill=BillSettings(by=("team", "feature"), idle=idle),  # type: ignore[arg-type]
    )


def books_of(
    records: Sequence[UsageRecord],
    entries: Sequence[Entry] = (),
    closes: Sequence[Close] = (),
    *,
    idle: str = "separate",
    now_ns: int = DECEMBER,
    configured: Settings | None = None,
) -> Books:
    return Books(configured or settings_of(idle), WholeLedger(Snapshot(records, entries, closes)), now_ns, lambda fleet: None)


def _hours(records: Sequence[UsageRecord]) -> tuple[list[FleetHour], list[Allocation]]:
    """Every hour from the first record on: three quarters of its rent are split over the requests of the fleet, if there are any."""
    hours, shares = [], []
    begin = min((record.admitted_ns for record in records), default=DECEMBER) // HOUR_NS
    by_hour: dict[int, list[UsageRecord]] = {}
    for record in records:
        if record.fleet is not None:
            by_hour.setdefault(record.admitted_ns // HOUR_NS, []).append(record)
    for hour in range(begin, DECEMBER // HOUR_NS):
        served = by_hour.get(hour, [])
        busy, gpu_ns = (RENT * 3 // 4, HOUR_NS * 3 // 4) if served else (0, 0)
        weights = [record.tokens.total + 1 for record in served]
        parts, times = (split(busy, weights), split(gpu_ns, weights)) if served else ([], [])
        used = 0
        for record, part, time_ns in zip(served, parts, times, strict=True):
            ok = record.outcome == "ok"
            used += part if ok else 0
            shares.append(
                Allocation(
                    fleet="l40s",
                    hour=hour,
                    request_id=record.id,
                    amount=part if ok else 0,
                    wasted=0 if ok else part,
                    input_amount=part // 3 if ok else 0,
                    gpu_ns=time_ns,
                )
            )
        hours.append(
            FleetHour(
                fleet="l40s", hour=hour, since_ns=hour * HOUR_NS, until_ns=(hour + 1) * HOUR_NS, rent=RENT, used=used, waste=busy - used,
                idle=RENT - busy, gpu_ns=HOUR_NS, work_gpu_ns=gpu_ns, units_ns=HOUR_NS, requests=len(served),
            )
        )  # fmt: skip
    return hours, shares


_counts = st.integers(0, 10**6)


@st.composite
def records_of(draw: st.DrawFn, since_ns: int = OCTOBER, until_ns: int = DECEMBER) -> UsageRecord:
    """A record of either kind: served by the fleet, or by an API whose cost is its price, or anything; on a full hour."""
    own = draw(st.booleans())
    tokens = draw(st.builds(Tokens, _counts, _counts, st.just(0), _counts, _counts))
    outcome = draw(st.sampled_from(["ok", "ok", "ok", "error", "refused"]))
    if outcome == "refused":
        tokens, own = NO_TOKENS, False
    price = draw(st.sampled_from([PRICE, CHEAPER]))
    cost = draw(st.sampled_from([price.cost(tokens), None, 7])) if outcome != "refused" else None
    embedding = draw(st.sampled_from([0, 0, 1_000_003])) if outcome != "refused" else 0
    own_part = cost or 0 if own else 0
    return UsageRecord(
        id=draw(st.uuids()).hex,
        admitted_ns=draw(st.integers(since_ns // HOUR_NS, until_ns // HOUR_NS - 1)) * HOUR_NS,
        endpoint="chat.completions",
        status=200,
        outcome=outcome,  # type: ignore[arg-type]
        model="small" if own else "large",
        upstream="local" if own else "openai",
        fleet="l40s" if own else None,
        tags=draw(st.dictionaries(st.sampled_from(["team", "feature"]), st.sampled_from(["", "search", "support"]))),
        tokens=tokens,
        cost=None if cost is None else cost + embedding,
        provisional=own_part if embedding else None,
        embedding_cost=embedding,
        counterfactual=draw(st.sampled_from([cost, None])),
        price_id="book:large" if cost is not None and not own else None,
        price_version=price.version if cost is not None and not own else None,
        duration_us=1_000,
        purpose=draw(st.sampled_from([None, None, None, "vote", "shadow"])),
    )


runs = st.builds(
    Entry,
    id=st.uuids().map(lambda each: each.hex),
    kind=st.just("training_run"),
    name=st.just("night"),
    since_ns=st.integers(OCTOBER // HOUR_NS, DECEMBER // HOUR_NS - 200).map(lambda hour: hour * HOUR_NS),
    until_ns=st.just(DECEMBER - HOUR_NS),
    recorded_ns=st.just(DECEMBER),
    tags=st.dictionaries(st.sampled_from(["team", "feature"]), st.sampled_from(["search", "legal"])),
    gpu_cost=st.none() | st.integers(0, 10**12),
    storage_cost=st.integers(0, 10**9),
)
