"""What every store does with the ledger's other rows: hours of fleets and their split, readings, recorded costs, closes, prices."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.adapters.stores import open_costs, open_store
from penstock.domain.dialects.tokens import Tokens
from penstock.domain.ledger.entries import HOUR_NS, Allocated, Allocation, Close, EngineHour, Entry, FleetHour, Work
from penstock.domain.ledger.grouping import PERIODS, keys_of
from penstock.domain.ledger.measures import CostQuery
from penstock.domain.ledger.record import UsageRecord, WastedWork
from penstock.domain.ledger.recorded import key_of_entry
from penstock.domain.prices.rates import compile_rates
from penstock.ports.cost_store import CostStore
from penstock.ports.usage_store import Intake, StoreError, UsageStore
from tests.ledger_entries import ODD_TAGS, record

COMMON = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
DAY = 24
FLEETS = ("l40s", "a100")
ALL_HOURS = (-(10**6), 10**7)
ALWAYS = CostQuery(since_ns=-(2**63), until_ns=2**63 - 1)
MINUTE_US = 60 * 10**6


@pytest.fixture
def costs(url: str, store: UsageStore) -> CostStore:
    return open_costs(url)


def take(store: UsageStore, *records: UsageRecord) -> int:
    return store.take_in(Intake(records, (), (), {}))


def fleet_hour(hour: int, fleet: str = "l40s", **fields: Any) -> FleetHour:
    given: dict[str, Any] = {"rent": 790_000_000, "since_ns": hour * HOUR_NS, "until_ns": (hour + 1) * HOUR_NS}
    return FleetHour(fleet=fleet, hour=hour, **given | fields)


def share(id: str, hour: int, amount: int, fleet: str = "l40s", **fields: Any) -> Allocation:
    return Allocation(fleet=fleet, hour=hour, request_id=id, amount=amount, **fields)


def entry(id: str, **fields: Any) -> Entry:
    given: dict[str, Any] = {"kind": "training_run", "name": id, "since_ns": 5 * HOUR_NS, "until_ns": 9 * HOUR_NS, "recorded_ns": 1}
    return Entry(id=id, **given | fields)


def added_up(shares: list[Allocation], keys: Callable[[Allocation], tuple[str | None, ...]]) -> dict[tuple[str | None, ...], Allocated]:
    groups: dict[tuple[str | None, ...], Allocated] = {}
    for each in shares:
        known = each.energy_mj is not None
        one = Allocated(1, each.amount, each.wasted, each.input_amount, each.gpu_ns, each.energy_mj or 0, int(known))
        groups.setdefault(keys(each), Allocated()).add(one)
    return groups


def allocated(store: UsageStore, *by: str, where: tuple[tuple[str, str], ...] = ()) -> dict[tuple[str | None, ...], Allocated]:
    query = msgspec.structs.replace(ALWAYS, by=by, where=where)
    with store.snapshot() as snapshot:
        found = snapshot.costs.allocated(query)
    assert len(found) == len(dict(found)), "each group once"
    return dict(found)


def test_a_store_that_nobody_wrote_to_has_no_costs(url: str) -> None:
    with open_store(url, read_only=True).snapshot() as snapshot:
        view = snapshot.costs
        assert (view.fleet_hours(*ALL_HOURS), view.engine_hours(*ALL_HOURS), view.entries(0, 10**18)) == ([], [], [])
        assert (view.allocated(ALWAYS), view.allocations("a"), list(view.works(FLEETS, 0, 10**18))) == ([], [], [])
        assert (view.closes(), view.price_entries()) == ([], {})


def test_hours_come_back_as_they_went_in(store: UsageStore, costs: CostStore) -> None:
    odd = fleet_hour(
        7, "a b'\"ü", rent=None, used=3, waste=2, idle=1, unallocated=4, unused=5, gpu_ns=2**60, work_gpu_ns=6, units_ns=7, requests=8,
        basis="engine", active=0.25, active_p95=0.5, energy_j=9, note="Prometheus was away",
    )  # fmt: skip
    costs.put_fleet_hours([fleet_hour(6), odd, fleet_hour(5, "z"), fleet_hour(5, "a")], [])
    costs.put_fleet_hours([], [])
    with store.snapshot() as snapshot:
        view = snapshot.costs
        assert [(each.hour, each.fleet) for each in view.fleet_hours(5, 7)] == [(5, "a"), (5, "z"), (6, "l40s")]
        assert view.fleet_hours(7, 8) == [odd]


ID = st.integers(0, 11)
KEY = st.sampled_from(
    ("team", "feature", "model", "fleet", "hour", "day", "workload_type", "sla", "user", "key_id", "requested_model", "status")
)
SHARE = st.builds(
    lambda id, hour, fleet, amount, wasted, gpu_ns, energy: share(
        f"r{id}", hour, amount, fleet, wasted=wasted, input_amount=amount // 3, gpu_ns=gpu_ns, energy_mj=energy
    ),
    ID, st.integers(0, 80), st.sampled_from(FLEETS), st.integers(0, 10**12), st.integers(0, 10**12), st.integers(0, 2**62),
    st.none() | st.integers(0, 9),
)  # fmt: skip


@COMMON
@given(
    st.lists(SHARE, max_size=25, unique_by=lambda each: (each.fleet, each.hour, each.request_id)),
    st.lists(SHARE, max_size=8, unique_by=lambda each: (each.fleet, each.hour, each.request_id)),
    st.lists(KEY, max_size=3, unique=True),
    st.lists(KEY, max_size=1),
    st.tuples(st.integers(0, 81), st.integers(0, 81)),
    st.integers(0, 30),
)
def test_sums_by_any_keys_are_those_of_the_allocations(
    store: UsageStore,
    costs: CostStore,
    first: list[Allocation],
    again: list[Allocation],
    by: list[str],
    filters: list[str],
    window: tuple[int, int],
    pick: int,
) -> None:
    records = {each.id: each for each in bearers(store, costs)}
    standing = {(each.fleet, each.hour, each.request_id): each for each in first}
    clear(store, costs)
    costs.put_fleet_hours([fleet_hour(hour, fleet) for fleet, hour in {(each.fleet, each.hour) for each in first}], first)
    replaced = {(each.fleet, each.hour) for each in again}
    costs.put_fleet_hours([fleet_hour(hour, fleet) for fleet, hour in replaced], again)
    kept = [each for each in standing.values() if (each.fleet, each.hour) not in replaced] + again

    def keys(each: Allocation, names: list[str]) -> tuple[str | None, ...]:
        return tuple(word(records.get(each.request_id), each, name) for name in names)

    inside = [each for each in kept if min(window) <= each.hour < max(window)]
    where = []
    if inside:
        [value] = keys(inside[pick % len(inside)], filters[:1]) if filters else [None]
        where = [(filters[0], value)] if value is not None else []
    passing = [each for each in inside if all(keys(each, [name]) == (value,) for name, value in where)]
    query = CostQuery(since_ns=min(window) * HOUR_NS - 5, until_ns=max(window) * HOUR_NS + 5, by=tuple(by), where=tuple(where))
    with store.snapshot() as snapshot:
        found = snapshot.costs.allocated(query)
        assert len(found) == len(dict(found)), "each group once"
        assert dict(found) == added_up(passing, lambda each: keys(each, by))
        for id in {each.request_id for each in kept}:
            mine = sorted((each for each in kept if each.request_id == id), key=lambda each: (each.hour, each.fleet))
            assert snapshot.costs.allocations(id) == mine


def bearers(store: UsageStore, costs: CostStore) -> list[UsageRecord | Entry]:
    """What the drawn ids stand for: records that last until the last hour, recorded runs, and two that nobody knows."""
    records: list[UsageRecord | Entry] = [
        record(
            f"r{n}", admitted_ns=n, duration_us=100 * 60 * MINUTE_US, model=("m", None)[n % 2], fleet="l40s", key_id=f"k{n % 3}",
            status=200 + n % 2, requested_model=f"{n}", sla=(None, "critical")[n % 2],
            tags={"team": f"t{n % 3}", "user": f"u{n}"} if n % 4 else {},
        )
        for n in range(7)
    ]  # fmt: skip
    runs: list[UsageRecord | Entry] = [
        entry("r7", since_ns=0, until_ns=90 * HOUR_NS, tags={"team": "t1", "user": "u1", "sla": "best_effort", "model": "m"}),
        entry("r8", since_ns=0, until_ns=90 * HOUR_NS, tags={"workload_type": "tuning"}),
        entry("r9", since_ns=0, until_ns=90 * HOUR_NS, kind="other"),
    ]
    take(store, *(each for each in records if isinstance(each, UsageRecord)))
    for each in runs:
        if isinstance(each, Entry):
            costs.put_entry(each)
    return records + runs


def clear(store: UsageStore, costs: CostStore) -> None:
    """Hours with nothing in them, in the place of those that stand."""
    with store.snapshot() as snapshot:
        standing = snapshot.costs.fleet_hours(*ALL_HOURS)
    costs.put_fleet_hours(standing, [])
    with store.snapshot() as snapshot:
        assert snapshot.costs.allocated(ALWAYS) == []


def word(bearer: UsageRecord | Entry | None, each: Allocation, key: str) -> str | None:
    if key == "fleet":
        return each.fleet
    if key in PERIODS:
        return keys_of(record("any", admitted_ns=each.hour * HOUR_NS), (key,))[0]
    if bearer is None:
        return None
    return keys_of(bearer, (key,))[0] if isinstance(bearer, UsageRecord) else key_of_entry(bearer, key)


def test_what_is_put_again_takes_the_place_of_what_stood(store: UsageStore, costs: CostStore) -> None:
    take(store, record("a", tags={"team": "x"}), record("b", tags={"team": "y"}))
    hours = [fleet_hour(hour) for hour in range(100, 150)]
    costs.put_fleet_hours(hours, [share(id, each.hour, 10) for each in hours for id in ("a", "b")])
    assert {keys: sums.amount for keys, sums in allocated(store, "team").items()} == {("x",): 500, ("y",): 500}
    costs.put_fleet_hours([fleet_hour(120)], [share("a", 120, 3)])
    costs.put_fleet_hours([fleet_hour(121)], [])
    for by in (("team",), ("team", "user")):
        assert {keys[0]: sums.amount for keys, sums in allocated(store, *by).items()} == {"x": 483, "y": 480}
    assert {keys[0]: sums.entries for keys, sums in allocated(store, "day").items()} == {
        "1970-01-05": 40,
        "1970-01-06": 45,
        "1970-01-07": 12,
    }
    assert sum(sums.entries for sums in allocated(store, "day", where=(("team", "x"),)).values()) == 49


def test_only_whole_hours_of_the_window_count(store: UsageStore, costs: CostStore) -> None:
    take(store, record("a"))
    hours = [fleet_hour(hour) for hour in range(20, 80)]
    costs.put_fleet_hours(hours, [share("a", each.hour, 1) for each in hours])
    with store.snapshot() as snapshot:
        for since, until, whole in ((20, 80, 60), (21, 79, 58), (24, 48, 24), (30, 31, 1), (30, 30, 0), (25, 73, 48)):
            exact = CostQuery(since_ns=since * HOUR_NS, until_ns=until * HOUR_NS)
            assert sum(sums.amount for _, sums in snapshot.costs.allocated(exact)) == whole
            narrower = CostQuery(since_ns=since * HOUR_NS + 1, until_ns=until * HOUR_NS - 1, by=("key_id",))
            assert sum(sums.amount for _, sums in snapshot.costs.allocated(narrower)) == max(0, whole - 2)
        today = CostQuery(since_ns=0, until_ns=90 * HOUR_NS, by=("hour", "fleet"), where=(("day", "1970-01-02"), ("hour", "1970-01-02T05")))
        assert [(keys, sums.amount) for keys, sums in snapshot.costs.allocated(today)] == [(("1970-01-02T05", "l40s"), 1)]


def test_sums_beyond_64_bits_are_exact(store: UsageStore, costs: CostStore) -> None:
    most = 2**63 - 1
    hours = [fleet_hour(hour) for hour in range(5 * DAY)]
    costs.put_fleet_hours(hours, [share("a", each.hour, 1, gpu_ns=most if each.hour % DAY == 0 else 0) for each in hours])
    assert [sums.gpu_ns for sums in allocated(store).values()] == [5 * most]
    assert [sums.gpu_ns for sums in allocated(store, "user").values()] == [5 * most]
    with pytest.raises(StoreError, match="64 bits"):
        costs.put_fleet_hours([fleet_hour(1)], [share("a", 1, 2**63)])
    assert [sums.entries for sums in allocated(store).values()] == [5 * DAY], "nothing of it was written"


def test_an_allocation_needs_its_hour(store: UsageStore, costs: CostStore) -> None:
    with pytest.raises(ValueError, match="hour 2 of fleet l40s"):
        costs.put_fleet_hours([fleet_hour(1), fleet_hour(2, "other")], [share("a", 2, 1)])
    with store.snapshot() as snapshot:
        assert snapshot.costs.fleet_hours(*ALL_HOURS) == []


def test_hours_that_fail_leave_what_stood(store: UsageStore, costs: CostStore) -> None:
    costs.put_fleet_hours([fleet_hour(1)], [share("a", 1, 1)])
    with pytest.raises(StoreError):
        costs.put_fleet_hours([fleet_hour(1)], [share("a", 1, 5), share("a", 1, 5)])
    assert [sums.amount for sums in allocated(store).values()] == [1]


def test_hosts_that_allocate_at_once_count_each_hour_once(url: str, store: UsageStore) -> None:
    take(store, *(record(f"{n}", tags={"team": f"t{n}"}) for n in range(5)))
    hours = [fleet_hour(hour) for hour in range(30)]
    shares = [share(f"{n}", each.hour, 1) for each in hours for n in range(5)]

    def host(number: int) -> None:
        own = open_costs(url)
        for _ in range(3):
            own.put_fleet_hours(hours, shares)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(host, range(3)))
    assert {sums.amount for sums in allocated(store, "team").values()} == {30}
    assert len(allocated(store, "team")) == 5


def work(id: str, **fields: Any) -> Work:
    given: dict[str, Any] = {"admitted_ns": 50 * HOUR_NS, "duration_us": 0, "fleet": "l40s", "model": "m", "input": 14, "output": 7}
    return Work(id=id, answered=True, **given | fields)


def test_works_are_what_touched_the_fleets_in_the_window(store: UsageStore, costs: CostStore) -> None:
    start = 50 * HOUR_NS
    given: dict[str, Any] = {"admitted_ns": start, "fleet": "l40s", "model": "m", "tokens": Tokens(10, 3, 4, 5, 2)}
    tried = (WastedWork("a100", Tokens(1, 2, 3, 4, 5)), WastedWork("gone", Tokens(1, 0, 0, 0, 0)))
    take(
        store,
        record("now", **given),
        record("last instant", **given | {"admitted_ns": start + HOUR_NS - 1}),
        record("too late", **given | {"admitted_ns": start + HOUR_NS}),
        record("reaches in", **given | {"admitted_ns": start - HOUR_NS, "duration_us": 61 * MINUTE_US}),
        record("ended before", **given | {"admitted_ns": start - HOUR_NS, "duration_us": 60 * MINUTE_US}),
        record("a day long", **given | {"admitted_ns": start - 24 * HOUR_NS, "duration_us": 25 * 60 * MINUTE_US}),
        record("longer than anybody waits", **given | {"admitted_ns": start - 25 * HOUR_NS, "duration_us": 30 * 60 * MINUTE_US}),
        record("replayed", **given | {"cache": "exact"}),
        record("refused", **given | {"outcome": "refused"}),
        record("other fleet", **given | {"fleet": "b200"}),
        record("no fleet", **given | {"fleet": None}),
        record("tried", **given | {"fleet": None, "model": "gpt-4o", "wasted_work": tried}),
        record("tried another", **given | {"fleet": None, "wasted_work": tried[1:]}),
        record("went away", **given | {"outcome": "client_closed", "status": 499}),
        record("went away after tries", **given | {"outcome": "client_closed", "status": 499, "wasted_work": tried}),
        record("answered after tries", **given | {"wasted_work": tried}),
        record("crashed before work was kept", **given | {"outcome": "interrupted", "status": 500}),
    )
    with store.snapshot() as snapshot:
        found = list(snapshot.costs.works(FLEETS, start, start + HOUR_NS))
        assert list(snapshot.costs.works([], start, start + HOUR_NS)) == []
        assert list(snapshot.costs.works(FLEETS, start, start)) == []
    assert found == [
        work("a day long", admitted_ns=start - 24 * HOUR_NS, duration_us=25 * 60 * MINUTE_US),
        work("reaches in", admitted_ns=start - HOUR_NS, duration_us=61 * MINUTE_US),
        work("answered after tries", wasted=(("a100", 4, 9), ("gone", 1, 0))),
        msgspec.structs.replace(work("crashed before work was kept", input=0, output=0), answered=False),
        work("now"),
        work("tried", fleet=None, model="gpt-4o", wasted=(("a100", 4, 9), ("gone", 1, 0))),
        msgspec.structs.replace(work("went away"), answered=False),
        msgspec.structs.replace(work("went away after tries", input=0, output=0, wasted=(("a100", 4, 9), ("gone", 1, 0))), answered=False),
        work("last instant", admitted_ns=start + HOUR_NS - 1),
    ]


def test_works_stream_while_other_rows_are_read(store: UsageStore) -> None:
    take(store, *(record(f"{n:05}", admitted_ns=n, fleet="l40s") for n in range(3000)))
    with store.snapshot() as snapshot:
        pairs = zip(snapshot.costs.works(FLEETS, 1, 10), snapshot.costs.works(FLEETS, 1, 3000), strict=False)
        assert [(a.id, b.id) for a, b in pairs] == [(f"{n:05}", f"{n:05}") for n in range(1, 10)]
        for each in snapshot.costs.works(FLEETS, 0, 3):
            assert snapshot.find(each.id) is not None


def test_readings_take_the_place_of_earlier_ones(store: UsageStore, costs: CostStore) -> None:
    told = EngineHour(
        fleet="l40s", hour=6, runs=((6 * HOUR_NS, 2), (6 * HOUR_NS + 5, 0)), active=0.5, active_p95=0.75, prefill_s={"meta/llama": 1.5},
        decode_s={"meta/llama": 20.25}, energy_j=7, note="two of three scrapes",
    )  # fmt: skip
    costs.put_engine_hours(
        [EngineHour(fleet="l40s", hour=6, note="no answer"), EngineHour(fleet="a", hour=6), EngineHour(fleet="l40s", hour=5)]
    )
    costs.put_engine_hours([told])
    costs.put_engine_hours([])
    with store.snapshot() as snapshot:
        assert snapshot.costs.engine_hours(6, 7) == [EngineHour(fleet="a", hour=6), told]
        assert len(snapshot.costs.engine_hours(5, 7)) == 3


def test_a_cost_is_recorded_once(store: UsageStore, costs: CostStore) -> None:
    take(store, record("req_1"))
    run = entry("run", tags={"te\0am": "a", "a b": "'x'"}, fleet="l40s", gpus="1.5", gpu_cost=None, storage_cost=2**70)
    assert costs.put_entry(run)
    assert not costs.put_entry(msgspec.structs.replace(run, recorded_ns=77)), "the same one, sent again"
    with pytest.raises(StoreError, match="another cost was recorded as `run`") as refusal:
        costs.put_entry(msgspec.structs.replace(run, gpus="2"))
    assert "never changed" in refusal.value.hint
    with pytest.raises(StoreError, match="`req_1` is a request"):
        costs.put_entry(entry("req_1"))
    with store.snapshot() as snapshot:
        assert snapshot.costs.entries(0, 10**18) == [msgspec.structs.replace(run, tags={"te\ufffdam": "a", "a b": "'x'"})]


def test_recorded_costs_of_a_window(store: UsageStore, costs: CostStore) -> None:
    for number, (since, until) in enumerate([(5, 9), (2, 5), (9, 12), (7, 7), (5, 5), (0, 30)]):
        costs.put_entry(entry(f"{number}", since_ns=since, until_ns=until))
    with store.snapshot() as snapshot:
        assert [each.id for each in snapshot.costs.entries(5, 9)] == ["5", "0", "4", "3"]
        assert [each.id for each in snapshot.costs.entries(-(2**70), 2**70)] == ["5", "1", "0", "4", "3", "2"]


@pytest.mark.parametrize("name", ODD_TAGS)
def test_runs_are_found_by_any_tag(store: UsageStore, costs: CostStore, name: str) -> None:
    costs.put_entry(entry("run", tags={name: "ü%s"}))
    take(store, record("a", tags={name: "a"}))
    costs.put_fleet_hours([fleet_hour(6)], [share("run", 6, 5), share("a", 6, 2)])
    assert {keys: sums.amount for keys, sums in allocated(store, name).items()} == {("ü%s",): 5, ("a",): 2}
    assert [sums.amount for sums in allocated(store, where=((name, "ü%s"),)).values()] == [5]
    assert {keys: sums.amount for keys, sums in allocated(store, "workload_type").items()} == {("training",): 5, (None,): 2}


def close(number: int, month: str) -> Close:
    return Close(
        number=number, month=month, timezone="UTC", since_ns=0, until_ns=1, closed_ns=2, inputs_sha256="ab", total=2**70,
        bill='{"total": "1"}',
    )  # fmt: skip


def test_a_month_closes_once(store: UsageStore, costs: CostStore) -> None:
    costs.put_close(close(1, "2026-09"))
    costs.put_close(close(2, "2026-10"))
    for again in (close(3, "2026-10"), close(2, "2026-11")):
        with pytest.raises(StoreError, match="close 2 is there already: 2026-10") as refusal:
            costs.put_close(again)
        assert "later entries" in refusal.value.hint
    with store.snapshot() as snapshot:
        assert snapshot.costs.closes() == [close(1, "2026-09"), close(2, "2026-10")]


def test_a_price_is_kept_as_it_was_first_used(store: UsageStore, costs: CostStore) -> None:
    old = compile_rates("config:m", "config", {"uncached_input": Fraction(1, 3), "visible_output": Fraction(2)})
    new = compile_rates("config:m", "2026-11-01", {"uncached_input": Fraction(1), "visible_output": None})
    changed = compile_rates("config:m", "config", {"uncached_input": Fraction(7)})
    costs.put_price_entries([old, new])
    costs.put_price_entries([changed])
    costs.put_price_entries([])
    with store.snapshot() as snapshot:
        assert snapshot.costs.price_entries() == {("config:m", "config"): old, ("config:m", "2026-11-01"): new}
