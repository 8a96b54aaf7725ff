"""What every usage store does: one law over SQLite and PostgreSQL."""

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.adapters.stores import open_store
from penstock.domain.dialects.tokens import Tokens
from penstock.domain.ledger.grouping import keys_of, matches
from penstock.domain.ledger.measures import DIMENSIONS, CostQuery, Sums, sums_of
from penstock.domain.ledger.record import UsageRecord
from penstock.ports.usage_store import Intake, StoreError, UsageStore
from tests.ledger_entries import ADMITTED_NS, ODD_TAGS, RECORD, record, reservation

ALL = CostQuery(since_ns=0, until_ns=2**63 - 1)
COMMON = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@pytest.fixture
def examples() -> Callable[[], str]:
    """Names that keep the records of one Hypothesis example apart from those of all others."""
    numbers = itertools.count()
    return lambda: f"example {next(numbers)}"


def take(store: UsageStore, *records: UsageRecord) -> int:
    return store.take_in(Intake(records, (), (), {}))


def all_records(store: UsageStore) -> list[UsageRecord]:
    with store.snapshot() as snapshot:
        return list(snapshot.records(ALL))


@COMMON
@given(st.lists(RECORD, min_size=1, max_size=5))
def test_a_record_comes_back_as_it_went_in(store: UsageStore, examples: Callable[[], str], records: list[UsageRecord]) -> None:
    example = examples()
    records = [msgspec.structs.replace(each, id=f"{example} {n}") for n, each in enumerate(records)]
    assert take(store, *records) == len(records)
    with store.snapshot() as snapshot:
        assert [snapshot.find(each.id) for each in records] == records


KEY = st.sampled_from((*DIMENSIONS, "day", "hour", *ODD_TAGS, "never given"))


@COMMON
@given(
    st.lists(RECORD, max_size=12),
    st.lists(KEY, max_size=3, unique=True),
    st.lists(KEY, max_size=1),
    st.integers(0, 11),
    st.integers(0, 4 * 10**18),
)
def test_sums_mean_what_python_adds_up(
    store: UsageStore,
    examples: Callable[[], str],
    records: list[UsageRecord],
    by: list[str],
    filters: list[str],
    pick: int,
    since: int,
) -> None:
    example = examples()
    marked = [msgspec.structs.replace(each, id=f"{example} {n}", tags={**each.tags, "example": example}) for n, each in enumerate(records)]
    take(store, *marked)
    chosen = marked[pick % len(marked)] if marked else None
    where = [("example", example)]
    if chosen is not None:
        where += [(key, value) for key, value in zip(filters, keys_of(chosen, tuple(filters)), strict=True) if value is not None]
        since = min(since, chosen.admitted_ns)
    query = CostQuery(since_ns=since, until_ns=2**63 - 1, by=tuple(by), where=tuple(where))
    expected: dict[tuple[str | None, ...], Sums] = {}
    for each in marked:
        if matches(each, query):
            expected.setdefault(keys_of(each, query.by), Sums()).add(sums_of(each))
    with store.snapshot() as snapshot:
        found = snapshot.sums(query)
        matching = [each.id for each in snapshot.records(query)]
    assert len(found) == len(dict(found)), "one row per group"
    assert dict(found) == expected
    assert sorted(matching) == sorted(each.id for each in marked if matches(each, query))


def test_sums_of_nothing_are_no_rows(store: UsageStore) -> None:
    with store.snapshot() as snapshot:
        assert snapshot.sums(ALL) == []
        assert snapshot.sums(msgspec.structs.replace(ALL, by=("model", "team"))) == []


def test_sums_beyond_64_bits_are_exact(store: UsageStore) -> None:
    most = 2**63 - 1
    take(store, *(record(str(n), cost=most, counterfactual=most - n, tokens=Tokens(2**53, 2**53, 1, 2, 3)) for n in range(5)))
    with store.snapshot() as snapshot:
        [(_, sums)] = snapshot.sums(msgspec.structs.replace(ALL, by=("endpoint",)))
    assert (sums.cost, sums.counterfactual) == (5 * most, 5 * most - 10)
    assert (sums.requests, sums.priced_tokens) == (5, 5 * (2**54 + 6))


def test_a_second_delivery_changes_nothing(store: UsageStore) -> None:
    first = [record(str(n), cost=n) for n in range(3)]
    assert take(store, *first) == 3
    assert take(store, *first) == 0
    assert take(store, record("1", cost=99), record("new"), record("new", cost=5)) == 1
    assert sorted(all_records(store), key=lambda each: each.id) == [*first, record("new")]


def test_what_no_database_takes_is_made_storable(store: UsageStore) -> None:
    hostile = [
        record("nul", tags={"te\0am": "a\0b"}, error="x\0y", model="\0"),
        record("money", cost=2**70, cost_basis="measured", counterfactual=-(2**70), duration_us=2**64),
        record("tokens", tokens=Tokens(2**80, 1, 1, 1, 2**53 + 1)),
        record("looks like nul", tags={"team": "\\u0000"}),
        record("good", cost=7),
    ]
    assert take(store, *hostile) == 5
    found = {each.id: each for each in all_records(store)}
    assert found["nul"].tags == {"te\ufffdam": "a\ufffdb"}
    assert found["money"].cost is None
    assert found["money"].cost_basis == "unknown"
    assert found["tokens"].tokens == Tokens(2**53, 1, 1, 1, 2**53)
    assert found["looks like nul"].tags == {"team": "\\u0000"}
    assert found["good"] == record("good", cost=7)
    with store.snapshot() as snapshot:
        assert {key for key, _ in snapshot.sums(msgspec.structs.replace(ALL, by=("te\0am",)))} == {(None,), ("a\ufffdb",)}


def test_records_are_newest_first_within_the_window(store: UsageStore) -> None:
    take(store, *(record(str(n), admitted_ns=ADMITTED_NS + n) for n in range(10)))
    query = CostQuery(since_ns=ADMITTED_NS + 2, until_ns=ADMITTED_NS + 8)
    with store.snapshot() as snapshot:
        assert [each.id for each in snapshot.records(query)] == ["7", "6", "5", "4", "3", "2"]
        assert [each.id for each in snapshot.records(query, limit=2)] == ["7", "6"]
        assert snapshot.find("absent") is None


def test_reservations_stay_open_until_settled(store: UsageStore) -> None:
    held = [reservation("r1", tags={"team": "search"}), reservation("r2", worst_case=None, worst_tokens=Tokens(1, 2, 3, 4, 5))]
    store.take_in(Intake((), held, (), {"w.0": 10}, {"r1": "w", "r2": "v"}))
    store.take_in(Intake((), held[:1], (), {"w.0": 20, "v.0": 5}, {"r1": "w"}))
    with store.snapshot() as snapshot:
        assert snapshot.open_reservations() == {"w": held[:1], "v": held[1:]}
        assert snapshot.offsets() == {"w.0": 20, "v.0": 5}
    store.take_in(Intake([record("r1")], (), ["r1", "never opened"], {"w.0": 30}))
    store.forget_segment("v.0")
    with store.snapshot() as snapshot:
        assert snapshot.open_reservations() == {"v": held[1:]}
        assert snapshot.offsets() == {"w.0": 30}
    store.flush()


def test_a_delivery_that_fails_leaves_nothing(store: UsageStore) -> None:
    broken = Intake([record("a")], [reservation("r")], (), {"w.0": 10}, {"r": object()})  # type: ignore[dict-item]
    with pytest.raises(StoreError):
        store.take_in(broken)
    with store.snapshot() as snapshot:
        assert snapshot.find("a") is None
        assert snapshot.offsets() == {}
    assert take(store, record("a")) == 1


def test_a_snapshot_sees_one_instant(store: UsageStore) -> None:
    store.take_in(Intake([record("before")], (), (), {"w.0": 1}))
    with store.snapshot() as snapshot:
        store.take_in(Intake([record("after")], (), (), {"w.0": 2}))
        assert [each.id for each in snapshot.records(ALL)] == ["before"]
        assert snapshot.offsets() == {"w.0": 1}
    with store.snapshot() as snapshot:
        assert [sums.requests for _, sums in snapshot.sums(ALL)] == [2]
        assert snapshot.offsets() == {"w.0": 2}


def test_two_hosts_prepare_and_write_at_once(url: str) -> None:
    def host(number: int) -> int:
        store = open_store(url)
        store.prepare()
        batches = ([record(f"{n}-{part}") for n in range(20)] for part in (number, "both"))
        new = sum(take(store, *batch) for batch in batches)
        store.close()
        return new

    with ThreadPoolExecutor(4) as pool:
        new = sum(pool.map(host, range(4)))
    assert new == 4 * 20 + 20
    assert len(all_records(open_store(url, read_only=True))) == new


def test_a_store_that_nobody_wrote_to_is_empty(url: str, tmp_path: Path) -> None:
    store = open_store(url, read_only=True)
    with store.snapshot() as snapshot:
        assert (snapshot.offsets(), snapshot.sums(ALL), list(snapshot.records(ALL))) == ({}, [], [])
        assert (snapshot.find("a"), snapshot.open_reservations()) == (None, {})
    with pytest.raises(StoreError, match="reading only"):
        store.prepare()
    assert list(tmp_path.iterdir()) == [], "looking creates nothing"


def test_a_field_that_is_new_gets_its_column(url: str, store: UsageStore) -> None:
    take(store, record("old", region="eu"))
    execute(url, "ALTER TABLE records DROP COLUMN region")
    later = open_store(url)
    with pytest.raises(StoreError, match=r"older schema|failed"), later.snapshot() as snapshot:
        snapshot.find("old")
    later.prepare()
    assert take(later, record("new", region="us")) == 1
    later.close()
    assert {each.id: each.region for each in all_records(store)} == {"old": None, "new": "us"}


def test_a_newer_schema_is_refused(url: str, store: UsageStore) -> None:
    execute(url, "UPDATE schema_version SET version = 999")
    later = open_store(url)
    with pytest.raises(StoreError, match="newer penstock") as refusal:
        later.prepare()
    assert "upgrade" in refusal.value.hint
    with pytest.raises(StoreError, match="schema 999"), later.snapshot():
        pass
    later.close()


def execute(url: str, statement: str) -> None:
    """Runs a statement past the store."""
    if url.startswith("sqlite"):
        import sqlite3

        db = sqlite3.connect(url.removeprefix("sqlite:///"))
        db.execute(statement)
        db.commit()
        db.close()
    else:
        import psycopg

        with psycopg.connect(url, autocommit=True) as server:
            server.execute(statement)
