"""Marks say of which hours of own fleets more is known than their stored split holds, whoever writes and in whatever order."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from penstock.adapters.stores import open_costs, open_store
from penstock.domain.dialects.tokens import Tokens
from penstock.domain.ledger.entries import HOUR_NS, Allocation, FleetHour
from penstock.domain.ledger.record import UsageRecord, WastedWork
from penstock.ports.cost_store import CostStore, Mark
from penstock.ports.usage_store import Intake, UsageStore
from tests.ledger_entries import record

MINUTE_US = 60 * 10**6


@pytest.fixture
def costs(url: str, store: UsageStore) -> CostStore:
    return open_costs(url)


def take(store: UsageStore, *records: UsageRecord) -> int:
    return store.take_in(Intake(records, (), (), {}))


def fleet_hour(hour: int) -> FleetHour:
    return FleetHour(fleet="l40s", hour=hour, rent=790_000_000, since_ns=hour * HOUR_NS, until_ns=(hour + 1) * HOUR_NS)


def share(id: str, hour: int, amount: int) -> Allocation:
    return Allocation(fleet="l40s", hour=hour, request_id=id, amount=amount)


def late(store: UsageStore) -> list[Mark]:
    with store.snapshot() as snapshot:
        return snapshot.costs.late()


def test_every_delivery_moves_the_marks_of_its_hours_on(store: UsageStore, costs: CostStore) -> None:
    tried = (WastedWork("a100", Tokens(1, 0, 0, 0, 0)),)
    first = record("a", admitted_ns=10 * HOUR_NS, duration_us=61 * MINUTE_US, fleet="l40s")
    far = record("b", admitted_ns=500 * HOUR_NS + 5, wasted_work=tried)
    take(store, first, far, record("api", admitted_ns=30 * HOUR_NS))
    marks = [(10, "l40s", 1), (11, "l40s", 1), (500, "a100", 1)]
    assert late(store) == marks, "also before an hour is put, and none of the hours between"
    with store.snapshot() as snapshot:
        assert snapshot.costs.marks(11, 500) == marks[1:2]
    take(store, first)
    assert late(store) == marks, "what is there already is no delivery"
    costs.put_fleet_hours([fleet_hour(10)], [share("a", 10, 1)], marks[:1])
    assert late(store) == marks[1:]
    take(store, record("longer than anybody waits", admitted_ns=10 * HOUR_NS, duration_us=100 * 60 * MINUTE_US, fleet="l40s"))
    assert [mark for mark in late(store) if mark[1] == "l40s"] == [(10, "l40s", 2), (11, "l40s", 2)] + [
        (hour, "l40s", 1) for hour in range(12, 35)
    ]


def test_an_hour_put_from_an_older_snapshot_is_late_again(store: UsageStore, costs: CostStore) -> None:
    take(store, record("a", admitted_ns=10 * HOUR_NS, fleet="l40s"))
    take(store, record("b", admitted_ns=10 * HOUR_NS, fleet="l40s"))
    costs.put_fleet_hours([fleet_hour(10)], [share("a", 10, 1), share("b", 10, 1)], [(10, "l40s", 2)])
    assert late(store) == []
    costs.put_fleet_hours([fleet_hour(10)], [share("a", 10, 2)], [(10, "l40s", 1)])
    assert late(store) == [(10, "l40s", 2)]


def test_hosts_that_take_in_and_allocate_at_once_lose_no_mark(url: str, store: UsageStore, costs: CostStore) -> None:
    hours = range(10, 22)

    def takes_in(number: int) -> None:
        own = open_store(url)
        own.prepare()
        for n in range(8):
            take(own, *(record(f"{number}-{n}-{hour}", admitted_ns=hour * HOUR_NS, fleet="l40s") for hour in hours))
        own.close()

    def allocates(number: int) -> None:
        for n in range(8):
            costs.put_fleet_hours([fleet_hour(hour) for hour in hours], [], [(hour, "l40s", n) for hour in reversed(hours)])

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(host, number) for host in (takes_in, allocates) for number in range(2)]:
            done.result()
    with store.snapshot() as snapshot:
        assert snapshot.costs.marks(10, 22) == [(hour, "l40s", 16) for hour in hours] == snapshot.costs.late()
