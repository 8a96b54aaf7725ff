"""Sums by hour and day are the sums of the records: whatever is delivered twice, rolled back or older than they are."""

import itertools
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.adapters.stores import open_store
from penstock.adapters.stores.cubes import CUBED, CUBES, HOUR_NS, LATENCY_CUBE
from penstock.adapters.stores.sql import SCHEMA_VERSION
from penstock.domain.dialects.tokens import Tokens
from penstock.domain.ledger.grouping import keys_of, matches
from penstock.domain.ledger.latency import Latency, latency_of
from penstock.domain.ledger.measures import CostQuery, Sums, sums_of
from penstock.domain.ledger.record import CacheDecision, UsageRecord, billed_of
from penstock.ports.usage_store import Intake, StoreError, UsageStore
from tests.ledger_entries import RECORD, TEXT, record

DAY_NS = 24 * HOUR_NS
STRETCH_NS = 20 * DAY_NS
COMMON = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
ALL = CostQuery(since_ns=-(2**63), until_ns=2**63 - 1)
Execute = Callable[[str], list[tuple[object, ...]]]


@pytest.fixture
def execute(url: str) -> Execute:
    """Runs a statement past the store, and returns its rows."""

    def sqlite(statement: str) -> list[tuple[object, ...]]:
        db = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
        rows = db.execute(statement).fetchall()
        db.close()
        return rows

    def postgres(statement: str) -> list[tuple[object, ...]]:
        import psycopg

        with psycopg.connect(url, autocommit=True) as server:
            cursor = server.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    return sqlite if url.startswith("sqlite") else postgres


@pytest.fixture
def stretches() -> Iterator[int]:
    """Starts of stretches of time, one for each Hypothesis example."""
    return itertools.count(0, STRETCH_NS)


def take(store: UsageStore, *records: UsageRecord) -> int:
    return store.take_in(Intake(records, (), (), {}))


def expected_sums(records: list[UsageRecord], query: CostQuery) -> dict[tuple[str | None, ...], Sums]:
    groups: dict[tuple[str | None, ...], Sums] = {}
    for each in records:
        if matches(each, query):
            groups.setdefault(keys_of(each, query.by), Sums()).add(sums_of(each))
    return groups


def expected_latencies(records: list[UsageRecord], query: CostQuery) -> dict[tuple[str | None, ...], Latency]:
    groups: dict[tuple[str | None, ...], Latency] = {}
    for each in records:
        if matches(each, query) and each.outcome == "ok" and each.purpose is None:
            groups.setdefault(keys_of(each, query.by), Latency()).add(latency_of(each))
    return groups


def contents(execute: Execute) -> dict[str, list[tuple[object, ...]]]:
    """Every cube's rows with their words instead of their numbers."""
    found = {}
    for cube, level in itertools.product(CUBES, ("hour", "day")):
        columns = ", ".join(("c.period", "k.name", *(f"c.{name}" for name in cube.columns)))
        found[f"{cube.name}_{level}"] = sorted(
            execute(f"SELECT {columns} FROM {cube.name}_{level} c JOIN {cube.name}_keys k ON k.id = c.key_id")
        )
    return found


def forget_cubes(execute: Execute) -> None:
    """Turns the store into one that an older penstock wrote."""
    for cube, part in itertools.product(CUBES, ("hour", "day", "keys")):
        execute(f"DROP TABLE {cube.name}_{part}")
    execute("UPDATE schema_version SET version = 1")


INSTANT = st.builds(
    lambda hours, offset: hours * HOUR_NS + offset,
    st.integers(0, STRETCH_NS // HOUR_NS - 2) | st.integers(0, 60) | st.sampled_from([24, 48, 72]),
    st.sampled_from([0, 1, HOUR_NS - 1]) | st.integers(0, HOUR_NS - 1),
)
KEY = st.sampled_from((*CUBED, "day", "hour"))
_MONEY = ("cost", "list_cost", "wasted_cost", "counterfactual", "input_cost", "provisional", "embedding_cost")


def modest(given: UsageRecord) -> UsageRecord:
    """The same record with sums of money that are added to others' rather than kept apart."""
    small = {name: value % 1_000_000 for name in _MONEY if (value := getattr(given, name)) is not None}
    return msgspec.structs.replace(given, **small)


ANY_RECORD = RECORD.map(modest) | RECORD


@COMMON
@given(
    st.lists(st.tuples(ANY_RECORD, INSTANT), max_size=20),
    st.lists(st.tuples(st.integers(0, 19), st.integers(1, 20), st.booleans()), max_size=4),
    st.lists(KEY, max_size=3, unique=True),
    st.lists(KEY, max_size=1),
    st.integers(0, 19),
    st.tuples(INSTANT, INSTANT),
)
def test_any_window_adds_up_as_its_records_do(
    store: UsageStore,
    stretches: Iterator[int],
    drawn: list[tuple[UsageRecord, int]],
    deliveries: list[tuple[int, int, bool]],
    by: list[str],
    filters: list[str],
    pick: int,
    window: tuple[int, int],
) -> None:
    start = next(stretches)
    records = [msgspec.structs.replace(each, id=f"{start} {n}", admitted_ns=start + at) for n, (each, at) in enumerate(drawn)]
    for first, count, fails in deliveries:
        some = records[first : first + count]
        if fails:
            with pytest.raises(StoreError):
                store.take_in(Intake(some, (), (), {"w": object()}, {}))  # type: ignore[dict-item]
        else:
            take(store, *some, *some[:1])
    take(store, *records)
    chosen = records[pick % len(records)] if records else record("none")
    where = [(key, value) for key, value in zip(filters, keys_of(chosen, tuple(filters)), strict=True) if value is not None]
    since, until = min(window), max(window)
    query = CostQuery(since_ns=start + since, until_ns=start + until, by=tuple(by), where=tuple(where))
    timed = msgspec.structs.replace(query, by=tuple(key for key in by if key in (*LATENCY_CUBE.keys, "day", "hour")))
    with store.snapshot() as snapshot:
        assert dict(snapshot.sums(query)) == expected_sums(records, query)
        for each in (query, timed):
            assert dict(snapshot.latencies(each)) == expected_latencies(records, each)
        newest = sorted((each for each in records if matches(each, query)), key=lambda each: -each.admitted_ns)
        assert [each.admitted_ns for each in snapshot.records(query)] == [each.admitted_ns for each in newest]
        assert [each.admitted_ns for each in snapshot.records(query, limit=2)] == [each.admitted_ns for each in newest[:2]]


@settings(COMMON, max_examples=15)
@given(st.lists(st.tuples(ANY_RECORD, st.integers(-(10**15), 10**15)), min_size=1, max_size=12))
def test_cubes_made_later_are_the_same(
    store: UsageStore, execute: Execute, stretches: Iterator[int], drawn: list[tuple[UsageRecord, int]]
) -> None:
    example = next(stretches)
    records = [msgspec.structs.replace(each, id=f"{example} {n}", admitted_ns=at) for n, (each, at) in enumerate(drawn)]
    for part in (records[:5], records[3:]):
        take(store, *part)
    kept = contents(execute)
    with store.snapshot() as snapshot:
        sums, latencies = snapshot.sums(ALL), snapshot.latencies(ALL)
    forget_cubes(execute)
    with store.snapshot() as snapshot:
        assert (snapshot.sums(ALL), snapshot.latencies(ALL)) == (sums, latencies), "from the records, while there are no cubes"
    for _ in range(2):
        store.prepare()
        assert contents(execute) == kept
    with store.snapshot() as snapshot:
        assert (snapshot.sums(ALL), snapshot.latencies(ALL)) == (sums, latencies)


def test_cubes_of_the_schema_before_are_made_anew(store: UsageStore, execute: Execute) -> None:
    take(store, *(record(str(n), admitted_ns=n * HOUR_NS, cost=5, fleet="f", tags={"team": "a"}) for n in range(30)))
    kept = contents(execute)
    for level, column in itertools.product(("hour", "day"), ("provisional", "split")):
        execute(f"ALTER TABLE sums_{level} DROP COLUMN {column}")
    for column in ("processing", "price_version"):
        execute(f"ALTER TABLE sums_keys DROP COLUMN {column}")
    for column in ("provisional", "parts", "processing", "wasted_work"):
        execute(f"ALTER TABLE records DROP COLUMN {column}")
    for table in ("fleet_hours", "allocations", "allocated_hour", "allocated_day", "entries"):
        execute(f"DROP TABLE {table}")
    execute("UPDATE schema_version SET version = 2")
    with store.snapshot() as snapshot:
        assert snapshot.costs.fleet_hours(0, 100) == []
        with pytest.raises(StoreError) as refusal:
            snapshot.sums(ALL)
    assert "older schema" in str(refusal.value)
    for _ in range(2):
        store.prepare()
        assert contents(execute) == kept
    with store.snapshot() as snapshot:
        assert [sums.provisional for _, sums in snapshot.sums(ALL)] == [150]
        assert snapshot.costs.fleet_hours(0, 100) == []


def test_a_store_of_before_asides_keeps_its_sums_and_learns_what_they_are(store: UsageStore, execute: Execute) -> None:
    """Its cubes are not made anew: of sealed days nothing else is left in the store."""
    old = [record(f"old {n}", admitted_ns=n * HOUR_NS, cost=5, tags={"team": "a"}, duration_us=7) for n in range(30)]
    take(store, *old)
    for level, column in itertools.product(("hour", "day"), ("asides", "aside_cost", "asides_unpriced", "asides_unbooked")):
        execute(f"ALTER TABLE sums_{level} DROP COLUMN {column}")
    execute("ALTER TABLE sums_keys DROP COLUMN purpose")
    for row in execute("SELECT id, name FROM sums_keys"):
        shorter = msgspec.json.encode(msgspec.json.decode(str(row[1]))[:-1]).decode().replace("'", "''")
        execute(f"UPDATE sums_keys SET name = '{shorter}' WHERE id = {row[0]}")
    execute("DROP INDEX records_parent")
    for column in ("purpose", "parent", "route_decision", "observed"):
        execute(f"ALTER TABLE records DROP COLUMN {column}")
    execute("DROP TABLE observations")
    with store.snapshot() as snapshot, pytest.raises(StoreError, match="older schema"):
        snapshot.sums(ALL)
    for _ in range(2):
        store.prepare()
    drafts = [record(f"new {n}", admitted_ns=n * HOUR_NS, cost=2, tags={"team": "a"}, purpose="draft", parent="old 3") for n in range(30)]
    take(store, *drafts, record("last", admitted_ns=40 * HOUR_NS, cost=1, tags={"team": "a"}))
    execute("DELETE FROM records WHERE id NOT IN ('old 0', 'last')")
    with store.snapshot() as snapshot:
        by_purpose = {
            keys: (sums.requests, sums.asides, sums.cost) for keys, sums in snapshot.sums(msgspec.structs.replace(ALL, by=("purpose",)))
        }
        assert by_purpose == {(None,): (31, 0, 151), ("draft",): (0, 30, 60)}
        [(_, drafted)] = snapshot.sums(msgspec.structs.replace(ALL, where=(("purpose", "draft"),)))
        [(_, alone)] = snapshot.sums(msgspec.structs.replace(ALL, requests_alone=True, where=(("team", "a"),)))
        [(_, latency)] = snapshot.latencies(ALL)
    assert (drafted.aside_cost, alone.cost, alone.asides, latency.duration.total) == (60, 151, 0, 31)


def test_whole_days_and_hours_are_not_read_from_records(store: UsageStore, execute: Execute) -> None:
    take(store, *(record(str(n), admitted_ns=n * HOUR_NS, cost=1, model="m", tags={"team": "a"}) for n in range(100)))
    execute("DELETE FROM records WHERE id NOT IN ('0', '99')")
    with store.snapshot() as snapshot:
        window = CostQuery(since_ns=HOUR_NS, until_ns=90 * HOUR_NS, by=("team", "day"), where=(("model", "m"),))
        assert [(keys[1], sums.cost) for keys, sums in sorted(snapshot.sums(window))] == [
            ("1970-01-01", 23), ("1970-01-02", 24), ("1970-01-03", 24), ("1970-01-04", 18)
        ]  # fmt: skip
        by_hour = CostQuery(since_ns=HOUR_NS, until_ns=4 * HOUR_NS, by=("hour",), where=(("hour", "1970-01-01T02"),))
        assert [(keys, sums.requests) for keys, sums in snapshot.sums(by_hour)] == [(("1970-01-01T02",), 1)]
        assert [latency.duration.total for _, latency in snapshot.latencies(msgspec.structs.replace(window, by=()))] == [89]
        assert snapshot.sums(msgspec.structs.replace(window, by=("key_id",))) == [], "what no cube is kept by comes from the records"


def test_filtered_records_are_found_wherever_they_are(store: UsageStore) -> None:
    hours = (1, 2, 3, 30, 31, 55, 200, 201, 203)
    take(store, *(record(str(n), admitted_ns=n * HOUR_NS + 5, model="rare" if n in hours else "m") for n in range(300)))
    query = CostQuery(since_ns=2 * HOUR_NS, until_ns=203 * HOUR_NS, where=(("model", "rare"),))
    with store.snapshot() as snapshot:
        assert [each.id for each in snapshot.records(query)] == ["201", "200", "55", "31", "30", "3", "2"]
        assert [each.id for each in snapshot.records(query, limit=3)] == ["201", "200", "55"]
        today = msgspec.structs.replace(query, where=(("model", "rare"), ("day", "1970-01-02")))
        assert [each.id for each in snapshot.records(today)] == ["31", "30"]
        assert list(snapshot.records(msgspec.structs.replace(query, where=(("model", "none"),)))) == []


def test_figures_beyond_64_bits_are_exact(store: UsageStore) -> None:
    most = 2**63 - 1
    records = [
        record(f"{part} {n}", admitted_ns=n * 20 * HOUR_NS, cost=most, counterfactual=most - n, tokens=Tokens(2**53, 2**53))
        for part in range(3)
        for n in range(5)
    ]
    for part in (records[:7], records[5:]):
        take(store, *part)
    with store.snapshot() as snapshot:
        for by in ((), ("day",), ("hour", "model")):
            query = msgspec.structs.replace(ALL, by=by)
            assert dict(snapshot.sums(query)) == expected_sums(records, query)


def test_hosts_that_write_at_once_count_each_record_once(url: str) -> None:
    def host(number: int) -> int:
        store = open_store(url)
        store.prepare()
        own = [record(f"{number}-{n}", tags={"team": f"t{n % 7}"}, cost=1, admitted_ns=n * HOUR_NS) for n in range(60)]
        both = [record(f"both-{n}", tags={"team": f"t{n % 7}"}, cost=1, admitted_ns=n * HOUR_NS) for n in range(60)]
        new = sum(take(store, *batch) for batch in (own[::-1], both if number % 2 else both[::-1], own))
        store.close()
        return new

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(host, range(4))) == 300
    with open_store(url, read_only=True).snapshot() as snapshot:
        assert sum(sums.cost for _, sums in snapshot.sums(msgspec.structs.replace(ALL, by=("team",)))) == 300
        assert sum(sums.cost for _, sums in snapshot.sums(msgspec.structs.replace(ALL, by=("hour",)))) == 300


def embedded(cost: int | None) -> dict[str, Any]:
    """Of a record whose question was embedded, at that cost in nano-USD."""
    return {"cache_decision": CacheDecision("nothing", "zero-trust"), "embedding_cost": cost}


def test_what_providers_bill_is_summed_where_fleets_book_no_price(store: UsageStore) -> None:
    """Answers of a provider and of a fleet, with a price and without, each after tries at both."""
    tried: dict[str, Any] = {"admitted_ns": 5 * HOUR_NS, "tokens": Tokens(1, 0, 0, 1, 0), "wasted_cost": 30}
    records = [
        record("fleet, no price", **tried, fleet="f", cost=None, provisional=10),
        record("fleet", **tried, fleet="f", cost=130, provisional=110),
        record("provider", **tried, cost=130, provisional=10),
        record("provider, no price", **tried, cost=None, provisional=10),
        record("fleet, and a try that nothing bounds", **tried | {"wasted_cost": None}, fleet="f", cost=None, provisional=10),
        record("fleet, nothing tried", **tried | {"wasted_cost": 0}, fleet="f", cost=None),
        record("fleet, and an embedding", **tried | {"wasted_cost": 0}, fleet="f", cost=None, **embedded(4)),
        record("fleet, tries and an own embedding", **tried, fleet="f", cost=None, provisional=14, **embedded(4)),
        record("fleet, and an embedding of no price", **tried, fleet="f", cost=None, provisional=10, **embedded(None)),
    ]
    take(store, *records)
    with store.snapshot() as snapshot:
        for by in ((), ("fleet",), ("fleet", "status")):
            query = msgspec.structs.replace(ALL, by=by)
            assert dict(snapshot.sums(query)) == expected_sums(records, query)
        [(_, sums)] = snapshot.sums(ALL)
    assert sums.cost - sums.provisional == 20 + 20 + 120 + 4 + 20 == sum(billed_of(each) for each in records)
    assert (sums.requests, sums.priced, sums.unbooked, sums.embedding_unknown) == (9, 2, 4, 1)


def test_a_new_file_that_another_process_writes_to_is_waited_for(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    other = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    other.execute("CREATE TABLE another (x)")
    other.execute("BEGIN IMMEDIATE")
    store = open_store(f"sqlite:///{file}")
    with ThreadPoolExecutor(1) as pool:
        prepared = pool.submit(store.prepare)
        while not prepared.running():
            pass
        with pytest.raises(TimeoutError):
            prepared.result(0.2)
        other.execute("COMMIT")
        prepared.result(5)
    assert take(store, record("a")) == 1
    store.close()
    other.close()


def test_a_tag_with_thousands_of_values(store: UsageStore) -> None:
    for part in range(2):
        take(store, *(record(f"{part} {n}", tags={"team": f"{n}"}) for n in range(10_000)))
    with store.snapshot() as snapshot:
        rows = snapshot.sums(msgspec.structs.replace(ALL, by=("team",)))
        assert (len(rows), {sums.requests for _, sums in rows}) == (10_000, {2})


def test_a_tag_longer_than_an_index_takes(store: UsageStore) -> None:
    long = "".join(chr(0x4E00 + n) for n in range(9_000))
    take(store, *(record(str(n), tags={"feature": long if n % 2 else long[:-1]}) for n in range(4)))
    with store.snapshot() as snapshot:
        assert [sums.requests for _, sums in snapshot.sums(msgspec.structs.replace(ALL, where=(("feature", long),)))] == [2]


@given(st.lists(TEXT, min_size=2, max_size=2), st.sampled_from(("team", "cost_center")))
@COMMON
def test_words_come_back_as_they_were(store: UsageStore, stretches: Iterator[int], words: list[str], tag: str) -> None:
    start = next(stretches)
    take(store, record(f"{start}", admitted_ns=start, model=words[0], tags={tag: words[1]}), record(f"{start} b", admitted_ns=start))
    with store.snapshot() as snapshot:
        query = CostQuery(since_ns=start, until_ns=start + DAY_NS, by=("model", tag))
        assert {keys for keys, _ in snapshot.sums(query)} == {(words[0], words[1]), (None, None)}
        [(_, sums)] = snapshot.sums(msgspec.structs.replace(query, where=((tag, words[1]), ("model", words[0]))))
        assert sums.requests == 1


def test_words_with_a_nul_in_them_are_told_apart(store: UsageStore) -> None:
    take(store, *(record(word, admitted_ns=5 * HOUR_NS, response_model=word, cost=1) for word in ("m", "m\0a", "m\0b")), record("last"))
    query = msgspec.structs.replace(ALL, by=("response_model",), until_ns=6 * HOUR_NS)
    with store.snapshot() as snapshot:
        words = {keys: sums.cost for keys, sums in snapshot.sums(query)}
        assert words == {("m",): 1, ("m\ufffda",): 1, ("m\ufffdb",): 1}
        finer = msgspec.structs.replace(query, by=("response_model", "key_id"))
        assert {keys[:1]: sums.cost for keys, sums in snapshot.sums(finer)} == words, "from the records"


def test_nothing_is_written_once_a_newer_penstock_has_been_there(store: UsageStore, execute: Execute) -> None:
    take(store, record("a"))
    execute("UPDATE schema_version SET version = 99")
    with pytest.raises(StoreError, match="newer penstock"):
        take(store, record("b"))
    execute(f"UPDATE schema_version SET version = {SCHEMA_VERSION}")
    assert take(store, record("a"), record("b")) == 1


def test_span_is_first_and_last_admission(store: UsageStore) -> None:
    with store.snapshot() as snapshot:
        assert snapshot.span() is None
    take(store, record("a", admitted_ns=7), record("b", admitted_ns=5), record("c", admitted_ns=9))
    with store.snapshot() as snapshot:
        assert snapshot.span() == (5, 9)


def test_what_is_unknown_of_wasted_money_stays_unknown(store: UsageStore) -> None:
    take(store, record("a", wasted_cost=None), record("b"))
    with store.snapshot() as snapshot:
        assert [each.wasted_cost for each in (snapshot.find("a"), snapshot.find("b")) if each] == [None, 0]
