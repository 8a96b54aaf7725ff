"""Store and journal as one ledger: sums and order are those of all records together, pages meet without gap or overlap."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.ledger.record import UsageRecord
from penstock.finops.ledger import Ledger, place
from penstock.finops.metrics import Gauges
from penstock.finops.serving import NO_QUEUE, NO_WORKER, serving
from tests.ledger_entries import record
from tests.unit.finops.ledgers import EVER, usage_records
from tests.unit.finops.ledgers import Ledger as Stored

_records = st.lists(usage_records(), max_size=20, unique_by=lambda record: record.id)


@given(_records, st.integers(0, 20), st.sampled_from([(), ("team",), ("day", "model")]))
def test_it_does_not_matter_where_a_record_stands(records: list[UsageRecord], cut: int, by: tuple[str, ...]) -> None:
    query = msgspec.structs.replace(EVER, by=by)
    split, whole = Ledger(Stored(records[cut:]), records[:cut]), Stored(records)
    assert dict(split.sums(query)) == dict(whole.sums(query))
    assert dict(split.latencies(query)) == dict(whole.latencies(query))
    assert split.span() == whole.span()
    assert [each.id for each in split.records(EVER)] == [each.id for each in whole.records(EVER)]
    assert split.asides("req_1") == whole.asides("req_1")
    alone = msgspec.structs.replace(query, requests_alone=True)
    assert dict(split.sums(alone)) == dict(whole.sums(alone))
    assert [each.id for each in split.newest(alone, 50)] == [each.id for each in whole.records(EVER) if each.purpose is None]


@given(_records, st.integers(0, 20), st.integers(1, 7))
def test_pages_meet(records: list[UsageRecord], cut: int, size: int) -> None:
    ledger = Ledger(Stored(records[cut:]), records[:cut])
    seen: list[str] = []
    after = None
    while page := list(ledger.records(EVER, after=after, limit=size)):
        seen += [each.id for each in page]
        after = place(page[-1])
    assert seen == [each.id for each in ledger.records(EVER)]


@given(_records, st.integers(0, 20), st.integers(1, 5), st.sampled_from(["search", "support"]))
def test_the_hours_that_hold_something_are_enough(records: list[UsageRecord], cut: int, size: int, team: str) -> None:
    ledger = Ledger(Stored(records[cut:]), records[:cut])
    query = msgspec.structs.replace(EVER, where=(("team", team),))
    seen: list[str] = []
    after = None
    while page := ledger.newest(query, size, after):
        seen += [each.id for each in page]
        after = place(page[-1])
    assert seen == [each.id for each in ledger.records(query)]


def test_serving_reads_times_and_gauges() -> None:
    records = [record(str(n), first_token_us=n * 1000, duration_us=n * 10_000, route="small") for n in range(1, 101)]
    records += [record("hit", cache="exact"), record("dear", route="large", first_token_us=90_000, duration_us=10**6)]
    gauges: Gauges = {
        "penstock_requests_in_flight": [((), 3.0), ((), 2.0)],
        "penstock_upstream_outstanding": [(("a", "1"), 2.0), (("a", "1"), 1.0), (("b", "2"), 0.0)],
        "penstock_circuit_open": [(("a", "1"), 1.0), (("a", "1"), 1.0), (("b", "2"), 0.0)],
    }
    found = serving(Ledger(Stored(records)), EVER, gauges)
    assert found.in_flight == 5
    assert [(each.name, each.replicas, each.outstanding, each.open_circuits) for each in found.upstreams] == [
        ("a", 1, 3, 1),
        ("b", 1, 0, 0),
    ]
    assert found.routes == (("small", 100), (None, 1), ("large", 1))
    assert found.first_token_p95_s is not None and 0.07 < found.first_token_p95_s < 0.12
    assert found.duration_p95_s is not None and 0.8 < found.duration_p95_s < 1.2
    assert (found.cache_hits, found.cache_share) == (1, 1 / 102)
    assert (found.queue_depth, found.queue_note) == (None, NO_QUEUE)


def test_serving_of_nothing_is_unknown() -> None:
    found = serving(Ledger(Stored([])), EVER, {})
    assert (found.first_token_p95_s, found.in_flight, found.in_flight_note, found.cache_share) == (None, None, NO_WORKER, None)
