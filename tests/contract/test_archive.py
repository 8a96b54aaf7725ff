"""What is sealed is answered as before: any window, any key, whatever day is sealed, half deleted from the store, or came late."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.adapters.archive import archived, open_archive
from penstock.adapters.archive.analytics import duckdb_source, postgres_source
from penstock.adapters.archive.analytics import sums as ibis_sums
from penstock.adapters.archive.parts import Parts
from penstock.adapters.archive.places import place_of
from penstock.adapters.stores import open_costs
from penstock.domain.ledger.entries import HOUR_NS, Allocated, Allocation, FleetHour
from penstock.domain.ledger.grouping import keys_of, matches
from penstock.domain.ledger.measures import DIMENSIONS, CostQuery, Sums, sums_of
from penstock.domain.ledger.record import UsageRecord
from penstock.domain.ledger.request_id import request_id
from penstock.ports.archive import Archive, ArchiveError
from penstock.ports.usage_store import Intake, UsageStore
from tests.contract.test_cubes import expected_latencies, expected_sums, modest
from tests.ledger_entries import ODD_TAGS, RECORD, record

DAY_NS = 24 * HOUR_NS
STRETCH_DAYS = 20
ALL = CostQuery(since_ns=-(2**63), until_ns=2**63 - 1)
COMMON = settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
KEY = st.sampled_from((*DIMENSIONS, "day", "hour", "user", *ODD_TAGS))


@pytest.fixture
def place(tmp_path: Path) -> str:
    return str(tmp_path / "it's [the] archive*")


@pytest.fixture
def archive(place: str, url: str) -> Archive:
    return open_archive(place, url)


@pytest.fixture
def both(store: UsageStore, place: str, url: str) -> UsageStore:
    """The store with its archive behind it."""
    return archived(store, place, url)


@pytest.fixture
def stretches() -> Iterator[int]:
    """First days of stretches of time, one for each Hypothesis example."""
    return itertools.count(2, STRETCH_DAYS)


def take(store: UsageStore, *records: UsageRecord) -> int:
    return store.take_in(Intake(records, (), (), {}))


def finish(archive: Archive) -> None:
    while archive.forget(10**6):
        pass


def held(store: UsageStore) -> list[str]:
    """Ids that the store itself still holds, by time."""
    with store.snapshot() as snapshot:
        return [each.id for each in snapshot.records(ALL)][::-1]


def days_of_records(count: int, *, a_day: int = 4, first: int = 100) -> list[UsageRecord]:
    """Records of several days, every six hours."""
    return [
        record(
            str(n),
            admitted_ns=first * DAY_NS + n * DAY_NS // a_day,
            cost=n,
            model=f"m{n % 3}",
            key_id=f"k{n % 2}",
            tags={"user": f"u{n % 5}"},
        )
        for n in range(count)
    ]


@COMMON
@given(
    st.lists(st.tuples(RECORD.map(modest) | RECORD, st.integers(0, 4 * DAY_NS - 1)), max_size=16),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), max_size=4),
    st.lists(KEY, max_size=3, unique=True),
    st.lists(KEY, max_size=1),
    st.integers(0, 15),
    st.tuples(st.integers(-DAY_NS, 5 * DAY_NS), st.integers(-DAY_NS, 5 * DAY_NS)),
)
def test_any_question_is_answered_as_before(
    both: UsageStore,
    archive: Archive,
    stretches: Iterator[int],
    drawn: list[tuple[UsageRecord, int]],
    acts: list[tuple[int, int]],
    by: list[str],
    filters: list[str],
    pick: int,
    window: tuple[int, int],
) -> None:
    start = next(stretches)
    records = [msgspec.structs.replace(each, id=f"{start} {n}", admitted_ns=start * DAY_NS + at) for n, (each, at) in enumerate(drawn)]
    late = len(records) // 4
    take(both, *records[late:])
    chosen = records[pick % len(records)] if records else record("none")
    where = [(key, value) for key, value in zip(filters, keys_of(chosen, tuple(filters)), strict=True) if value is not None]
    since, until = start * DAY_NS + min(window), start * DAY_NS + max(window)
    query = CostQuery(since_ns=since, until_ns=until, by=tuple(by), where=tuple(where))
    known = records[late:]
    for number, (day, some) in enumerate([*acts, (0, 9)]):
        archive.seal(start + day)
        archive.forget(some) if some else None
        if number == 1:
            take(both, *records)
            known = records
        newest = sorted((each for each in known if matches(each, query)), key=lambda each: (each.admitted_ns, each.id), reverse=True)
        with both.snapshot() as snapshot:
            assert dict(snapshot.sums(query)) == expected_sums(known, query)
            assert dict(snapshot.latencies(query)) == expected_latencies(known, query)
            assert list(snapshot.records(query)) == newest
            assert list(snapshot.records(query, limit=2)) == newest[:2]
            assert [snapshot.find(each.id) for each in known] == known
    assert take(both, *known) == 0, "each record once, sealed or not"
    finish(archive)
    if records and acts:
        with both.snapshot() as snapshot:
            last = max(each.admitted_ns for each in known)
            assert snapshot.span() is not None and (snapshot.span() or (0, 0))[1] == last


def test_a_day_moves_step_by_step(both: UsageStore, store: UsageStore, archive: Archive) -> None:
    records = days_of_records(12)
    take(both, *records)
    assert list(archive.days(102 * DAY_NS)) == [100, 101], "the last day has not ended by then"
    part = archive.seal(100)
    assert part is not None
    assert (part.records, part.cost, part.first_ns, part.path[:22]) == (4, 6, 100 * DAY_NS, "records/day=1970-04-11")
    assert len(held(store)) == 12, "sealed, and not yet deleted"
    assert archive.seal(101) is None, "one day at a time"
    assert archive.forget(3) == 3
    assert held(store) == [str(n) for n in range(3, 12)]
    assert archive.forget(3) == 1
    assert archive.forget(3) == 0
    assert list(archive.days(102 * DAY_NS)) == [101]
    with both.snapshot() as snapshot:
        assert [each.id for each in snapshot.records(ALL)] == [str(n) for n in range(11, -1, -1)]
        assert snapshot.span() == (100 * DAY_NS, records[-1].admitted_ns)
    with store.snapshot() as snapshot:
        assert snapshot.find("0") is None


def test_records_of_one_instant_go_together(both: UsageStore, store: UsageStore, archive: Archive) -> None:
    take(both, *(record(str(n), admitted_ns=100 * DAY_NS + n // 4) for n in range(10)))
    archive.seal(100)
    assert archive.forget(3) == 4
    assert held(store) == ["4", "5", "6", "7", "8", "9"]


def test_a_late_record_gets_a_file_of_its_own(both: UsageStore, archive: Archive, place: str) -> None:
    records = days_of_records(4)
    take(both, *records[1:])
    archive.seal(100)
    assert take(both, records[0], records[2]) == 1
    assert archive.forget(10) == 3
    first = archive.seal(100)
    assert first is not None and first.records == 1
    assert archive.forget(10) == 1
    assert len(list(Path(place).glob("records/day=1970-04-11/part-*.parquet"))) == 2
    with both.snapshot() as snapshot:
        assert [each.id for each in snapshot.records(ALL)] == ["3", "2", "1", "0"]


def test_a_snapshot_that_is_open_while_a_day_moves_sees_it_as_it_was(both: UsageStore, archive: Archive) -> None:
    records = days_of_records(8)
    take(both, *records)
    query = msgspec.structs.replace(ALL, by=("key_id",))
    with both.snapshot() as before:
        assert before.span() is not None
        archive.seal(100)
        archive.forget(2)
        with both.snapshot() as between:
            finish(archive)
            for snapshot in (before, between):
                assert dict(snapshot.sums(query)) == expected_sums(records, query)
                assert [each.id for each in snapshot.records(ALL)] == [each.id for each in records][::-1]


def test_a_damaged_file_is_never_trusted(both: UsageStore, store: UsageStore, archive: Archive, place: str) -> None:
    take(both, *days_of_records(8))
    part = archive.seal(100)
    assert part is not None
    file = Path(place) / part.path
    whole = file.read_bytes()
    for damaged in (whole[:-100], whole[: len(whole) // 2] + b"\0\1\2\3" + whole[len(whole) // 2 + 4 :]):
        file.write_bytes(damaged)
        with pytest.raises(ArchiveError):
            archive.forget(10)
        assert len(held(store)) == 8, "nothing is deleted before the file is read again"
    file.unlink()
    with pytest.raises(ArchiveError):
        archive.forget(10)
    file.write_bytes(whole)
    assert archive.forget(10) == 4
    file.unlink()
    with both.snapshot() as snapshot, pytest.raises(ArchiveError, match="cannot be read"):
        snapshot.find("0")


def test_what_the_store_lost_meanwhile_stops_the_deletion(both: UsageStore, store: UsageStore, archive: Archive, url: str) -> None:
    from penstock.adapters.archive import _database

    take(both, *days_of_records(8))
    assert archive.seal(100) is not None
    with _database(url).writing() as db:
        db.execute("DELETE FROM records WHERE id = '1'")
    with pytest.raises(ArchiveError, match="3 of 4"):
        archive.forget(10)
    assert held(store) == ["0", "2", "3", "4", "5", "6", "7"]


def test_costs_of_sealed_requests(both: UsageStore, archive: Archive, url: str) -> None:
    records = [
        msgspec.structs.replace(each, fleet="f", duration_us=3_600_000_000, outcome="error" if n == 5 else "ok")
        for n, each in enumerate(days_of_records(12))
    ]
    take(both, *records)
    hours = sorted({each.admitted_ns // HOUR_NS for each in records})
    costs = open_costs(url)
    costs.put_fleet_hours(
        [FleetHour(fleet="f", hour=hour, since_ns=hour * HOUR_NS, until_ns=(hour + 1) * HOUR_NS, rent=1) for hour in hours],
        [
            Allocation(fleet="f", hour=each.admitted_ns // HOUR_NS, request_id=id, amount=n + 1, gpu_ns=7)
            for n, each in enumerate(records)
            for id in ([each.id, "gone"] if n == 2 else [each.id])
        ],
    )
    queries = [
        CostQuery(since_ns=100 * DAY_NS, until_ns=103 * DAY_NS, by=by, where=where)
        for by in ((), ("user",), ("key_id", "day"), ("fleet", "user", "hour"), ("model",), ("requested_model",))
        for where in ((), (("key_id", "k1"),), (("fleet", "f"),), (("model", "m1"), ("user", "u1")))
    ]

    def answers() -> list[object]:
        with both.snapshot() as snapshot:
            sums: list[object] = [dict(snapshot.costs.allocated(query)) for query in queries]
            works = list(snapshot.costs.works(["f"], 101 * DAY_NS + 1, 103 * DAY_NS))
            return [*sums, works, snapshot.costs.allocations("3"), len(snapshot.costs.fleet_hours(0, 10**6))]

    before = answers()
    assert before[0] == {(): Allocated(entries=13, amount=81, gpu_ns=91)}
    for day, some in ((100, 2), (None, 2), (101, 9)):
        if day is not None:
            assert archive.seal(day) is not None
        archive.forget(some)
        assert answers() == before


@COMMON
@given(
    st.lists(st.tuples(RECORD.map(modest) | RECORD, st.integers(0, 3 * DAY_NS - 1)), min_size=1, max_size=12),
    st.lists(KEY, max_size=3, unique=True),
    st.lists(KEY, max_size=2),
    st.integers(0, 11),
    st.integers(0, 3 * DAY_NS),
)
def test_the_same_expression_adds_up_files_and_live_tables(
    store: UsageStore,
    both: UsageStore,
    archive: Archive,
    place: str,
    url: str,
    stretches: Iterator[int],
    drawn: list[tuple[UsageRecord, int]],
    by: list[str],
    filters: list[str],
    pick: int,
    since: int,
) -> None:
    start = next(stretches)
    records = [msgspec.structs.replace(each, id=f"{start} {n}", admitted_ns=start * DAY_NS + at) for n, (each, at) in enumerate(drawn)]
    take(store, *records)
    chosen = records[pick % len(records)]
    where = [(key, value) for key, value in zip(filters, keys_of(chosen, tuple(filters)), strict=True) if value is not None]
    query = CostQuery(since_ns=start * DAY_NS + since, until_ns=(start + 4) * DAY_NS, by=tuple(by), where=tuple(where))
    expected = expected_sums(records, query)
    if url.startswith("postgresql"):
        with postgres_source(url) as source:
            assert dict(ibis_sums(source, query)) == expected, "over the live table"
    for day in range(start, start + 3):
        archive.seal(day)
        finish(archive)
    from penstock.adapters.archive import _database

    parts = [part for part in Parts(_database(url)).all() if part.day >= start]
    with duckdb_source(place_of(place), parts) as source:
        assert dict(ibis_sums(source, query)) == expected, "over the files"


def test_a_request_is_found_by_the_time_in_its_id(both: UsageStore, archive: Archive) -> None:
    records = [msgspec.structs.replace(each, id=request_id(each.admitted_ns, n)) for n, each in enumerate(days_of_records(12))]
    odd = record(request_id(7 * DAY_NS, 1), admitted_ns=101 * DAY_NS)
    take(both, *records, odd)
    for day in (100, 101):
        archive.seal(day)
        finish(archive)
    with both.snapshot() as snapshot:
        assert [snapshot.find(each.id) for each in (*records, odd)] == [*records, odd]
        assert snapshot.find(request_id(100 * DAY_NS, 99)) is None


def test_the_calls_made_for_a_sealed_request_are_found(both: UsageStore, archive: Archive) -> None:
    at = 100 * DAY_NS + 5
    own, foreign = request_id(at, 1), "chosen by somebody"
    records = [
        record(own, admitted_ns=at),
        *(record(request_id(at, 10 + n), admitted_ns=at + n, purpose="vote", parent=own) for n in range(2)),
        record(request_id(at, 20), admitted_ns=101 * DAY_NS, purpose="shadow", parent=own),
        record(request_id(at, 30), admitted_ns=at, purpose="vote", parent=foreign),
        record("later", admitted_ns=102 * DAY_NS),
    ]
    take(both, *records)
    archive.seal(100)
    finish(archive)
    with both.snapshot() as snapshot:
        assert snapshot.asides(own) == records[1:4], "two from the archive, one from the store"
        assert snapshot.asides(foreign) == records[4:5]
        assert [each.id for each in snapshot.records(msgspec.structs.replace(ALL, requests_alone=True))] == ["later", own]


def test_a_file_of_an_older_penstock_lacks_what_came_later(both: UsageStore, archive: Archive, place: str) -> None:
    from pyarrow import parquet

    records = days_of_records(8)
    take(both, *(msgspec.structs.replace(each, processing="batch", first_token_us=5) for each in records))
    part = archive.seal(100)
    finish(archive)
    assert part is not None
    file = Path(place) / part.path
    new = ["processing", "first_token_us", "parts", "cache_decision", "would_cache", "embedding_cost", "purpose", "parent", "observed"]
    parquet.write_table(parquet.read_table(file).drop_columns(new), file)
    with both.snapshot() as snapshot:
        assert snapshot.find("1") == records[1]
        assert [each.processing for each in snapshot.records(ALL)] == ["batch"] * 4 + [None] * 4


def test_money_beyond_64_bits_adds_up_over_files(both: UsageStore, archive: Archive, url: str, place: str) -> None:
    most = 2**63 - 1
    records = [record(str(n), admitted_ns=100 * DAY_NS + n, cost=most, counterfactual=most, key_id="k") for n in range(5)]
    take(both, *records)
    archive.seal(100)
    finish(archive)
    query = msgspec.structs.replace(ALL, by=("key_id",))
    expected = Sums()
    for each in records:
        expected.add(sums_of(each))
    with both.snapshot() as snapshot:
        assert snapshot.sums(query) == [(("k",), expected)]
