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
from penstock.domain.ledger.record import CacheDecision, UsageRecord
from penstock.domain.ledger.routed import RouteDecision
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


def test_sums_that_are_new_get_their_columns_and_hold_nothing_of_before(url: str, store: UsageStore) -> None:
    """An older penstock of the same schema wrote this store: its records knew nothing of a semantic cache."""
    take(store, *(record(f"old {n}", admitted_ns=ADMITTED_NS + n * 3_600 * 10**9, cost=5, counterfactual=9) for n in range(60)))
    new_sums = ("looked", "embedding_cost", "embedded", "embedding_unknown", "would_semantic", "would_semantic_cost")
    for table, names in (("records", ("cache_decision", "would_cache", "embedding_cost")), ("sums_hour", new_sums), ("sums_day", new_sums)):
        for name in names:
            execute(url, f"ALTER TABLE {table} DROP COLUMN {name}")
    later = open_store(url)
    with pytest.raises(StoreError, match=r"older schema|failed"), later.snapshot() as snapshot:
        snapshot.sums(ALL)
    later.prepare()
    decision = CacheDecision(verdict="probe", mode="shadow", entry="e", similarity=0.97, guards=("numbers",), embedding_us=900)
    seen = {"cache_decision": decision, "would_cache": "semantic", "cost": 7, "counterfactual": 9, "embedding_cost": 2}
    new = [record(f"new {n}", admitted_ns=ADMITTED_NS + n * 3_600 * 10**9, **seen) for n in range(60)]
    unknown = record("unknown", admitted_ns=ADMITTED_NS, **{**seen, "cost": 1, "embedding_cost": None})
    assert take(later, *new, unknown) == 61
    later.close()
    with store.snapshot() as snapshot:
        [(_, sums)] = snapshot.sums(ALL)
        assert (snapshot.find("new 3"), snapshot.find("unknown")) == (new[3], unknown)
        old = snapshot.find("old 3")
    assert old is not None and (old.embedding_cost, old.cache_decision, old.would_cache) == (0, None, None)
    assert (sums.requests, sums.looked, sums.embedding_cost, sums.embedded, sums.embedding_unknown) == (121, 61, 120, 60, 1)
    assert (sums.would_semantic, sums.would_semantic_cost, sums.would_priced, sums.would_normalised) == (61, 60 * 5 + 1, 61, 0)


def test_the_calls_made_for_a_request_are_found_in_order(store: UsageStore) -> None:
    beside = [record(f"d{n}", admitted_ns=ADMITTED_NS + n, purpose="draft", parent="r") for n in (2, 1, 3)]
    take(store, record("r"), record("other", purpose="vote", parent="q"), *beside)
    with store.snapshot() as snapshot:
        assert [each.id for each in snapshot.asides("r")] == ["d1", "d2", "d3"]
        assert (snapshot.asides("d1"), snapshot.asides("nobody")) == ([], [])
        alone = msgspec.structs.replace(ALL, requests_alone=True)
        assert [each.id for each in snapshot.records(alone)] == ["r"]
        assert [each.id for each in snapshot.records(msgspec.structs.replace(ALL, where=(("purpose", "vote"),)))] == ["other"]


def test_a_nul_in_a_tag_that_a_route_goes_by_is_made_storable(store: UsageStore) -> None:
    take(store, record("a", route_decision=RouteDecision(tag="te\0am", why="the cheap tier is open")))
    with store.snapshot() as snapshot:
        found = snapshot.find("a")
    assert found is not None and found.route_decision == RouteDecision(tag="te\ufffdam", why="the cheap tier is open")


def test_a_nul_in_what_the_cache_says_is_made_storable(store: UsageStore) -> None:
    decision = CacheDecision(verdict="unavailable", mode="zero-trust", reason="the store said \0")
    take(store, record("a", cache_decision=decision))
    with store.snapshot() as snapshot:
        found = snapshot.find("a")
    assert found is not None and found.cache_decision is not None
    assert found.cache_decision.reason == "the store said \ufffd"
