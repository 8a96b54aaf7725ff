"""Closing months on real stores beside a real journal: what stands in the way, what is frozen, and what comes later."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from penstock.adapters.journal.files import FileJournal
from penstock.adapters.journal.reader import JournalDirectory
from penstock.adapters.stores import open_costs, open_store
from penstock.domain.dialects.tokens import Tokens
from penstock.domain.ledger.entries import Close
from penstock.domain.ledger.measures import CostQuery
from penstock.domain.ledger.record import Reservation, UsageRecord
from penstock.finops.bills.bill import bill, month_window
from penstock.finops.bills.closing import freeze, frozen_close, obstacles, open_hours, open_hours_obstacle
from penstock.finops.bills.document import bill_bytes
from penstock.finops.books import Books
from penstock.finops.intake import Intaker
from penstock.finops.ledger import Ledger
from penstock.finops.statement import statement
from penstock.ports.usage_store import Intake, StoreError, UsageStore
from tests.unit.finops.bill_books import DECEMBER, NOVEMBER, OCTOBER, Costs, settings_of

SPAN = month_window("2026-10", settings_of(), DECEMBER)
HOUR = 3_600 * 10**9


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/ledger.db" if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def store(url: str) -> Iterator[UsageStore]:
    with closing(open_store(url)) as store:
        store.prepare()
        yield store


def record(id: str, admitted_ns: int = OCTOBER, **fields: Any) -> UsageRecord:
    given: dict[str, Any] = {
        "endpoint": "chat.completions", "status": 200, "outcome": "ok", "model": "large", "upstream": "openai", "cost": 12_345,
        "tokens": Tokens(10, 20, 0, 30, 5), "tags": {"team": "search"}, "price_id": "book:large", "price_version": "2026",
    }  # fmt: skip
    return UsageRecord(id=id, admitted_ns=admitted_ns, **given | fields)


def served(id: str, admitted_ns: int, **fields: Any) -> UsageRecord:
    own = {"model": "small", "upstream": "local", "fleet": "l40s", "cost": 999, "price_id": "fleet", "price_version": "1"}
    return record(id, admitted_ns, **own | fields)


def fill(store: UsageStore, url: str, records: list[UsageRecord]) -> None:
    """Takes records in, and their fleet's hours."""
    store.take_in(Intake(records, (), (), {}))
    allocated = Costs(records)
    open_costs(url).put_fleet_hours(allocated.hours, allocated.shares)


@contextmanager
def books(store: UsageStore, now_ns: int = DECEMBER) -> Iterator[Books]:
    with store.snapshot() as snapshot:
        yield Books(settings_of(), Ledger(snapshot), now_ns, lambda fleet: None)


def close(store: UsageStore, url: str, month: str = "2026-10", now_ns: int = DECEMBER) -> Close:
    with books(store, now_ns) as opened:
        made, _ = freeze(opened, month_window(month, opened.settings, now_ns), opened.ledger.snapshot.costs.closes())
    open_costs(url).put_close(made)
    return made


RECORDS = [
    record("a", OCTOBER),
    record("b", OCTOBER + HOUR, tags={"team": "support", "feature": "answers"}, cost=77),
    record("c", NOVEMBER + HOUR, cost=5),
    served("d", OCTOBER + 2 * HOUR),
    served("e", OCTOBER + 2 * HOUR, outcome="error", status=500, tags={}),
    served("f", NOVEMBER + 2 * HOUR),
]


def test_a_frozen_month_is_read_back_byte_for_byte(store: UsageStore, url: str) -> None:
    fill(store, url, RECORDS)
    made = close(store, url)
    with books(store) as opened:
        stored = frozen_close(opened.ledger.snapshot.costs.closes(), "2026-10")
        assert stored == made
        assert bill_bytes(bill(opened, "2026-10")).decode() == made.bill
        assert frozen_close(opened.ledger.snapshot.costs.closes(), "2026-11") is None


def test_a_month_is_closed_once(store: UsageStore, url: str) -> None:
    fill(store, url, RECORDS)
    close(store, url)
    with pytest.raises(StoreError):
        close(store, url)
    with books(store) as opened:
        assert len(opened.ledger.snapshot.costs.closes()) == 1


@pytest.mark.postgres
def test_both_databases_come_to_the_same_bill_and_digest(tmp_path: Path, postgres_url: str) -> None:
    made = []
    for url in (f"sqlite:///{tmp_path}/ledger.db", postgres_url):
        with closing(open_store(url)) as store:
            store.prepare()
            fill(store, url, RECORDS)
            made.append(close(store, url))
    assert made[0] == made[1]


def test_what_arrives_late_is_billed_once_in_the_next_open_month(store: UsageStore, url: str) -> None:
    fill(store, url, RECORDS)
    first = close(store, url)
    store.take_in(Intake([record("late", OCTOBER + 5 * HOUR, cost=11), record("later", NOVEMBER, cost=13)], (), (), {}))
    second = close(store, url, "2026-11")
    with books(store, DECEMBER + 1) as opened:
        third = bill(opened, "2026-12")
        [correction] = bill(opened, "2026-11").corrections
        ledger = statement(opened, CostQuery(since_ns=OCTOBER, until_ns=DECEMBER)).total
    assert (correction.month, correction.number, correction.line, correction.usd) == ("2026-10", 1, "api", 11)
    assert third.corrections == ()
    assert (first.number, second.number) == (1, 2)
    assert first.total + second.total == ledger


def test_a_month_that_is_not_over_is_not_closed(store: UsageStore, tmp_path: Path) -> None:
    with store.snapshot() as snapshot:
        [found] = obstacles(snapshot, JournalDirectory(tmp_path / "journal"), SPAN, NOVEMBER - 1)
        assert found.what == "2026-10 is not over: it ends at 2026-11-01T00:00:00Z"
        assert obstacles(snapshot, JournalDirectory(tmp_path / "journal"), SPAN, NOVEMBER) == []


def test_records_on_the_journal_and_requests_in_flight_stand_in_the_way(store: UsageStore, tmp_path: Path) -> None:
    journal, reader = FileJournal(tmp_path / "journal", "w1", "never"), JournalDirectory(tmp_path / "journal")
    flying = Reservation(id="flying", admitted_ns=NOVEMBER - 1, endpoint="chat.completions", model="large", upstream="openai", worst_case=9)
    journal.append(record("there", NOVEMBER - 2))
    journal.append(record("of november", NOVEMBER))
    journal.reserve(flying)
    assert told(store, reader) == [
        "1 entries of the journal are of 2026-10 and not in the store yet",
        "1 requests of 2026-10 are still in flight",
    ]
    intaker = Intaker(reader, store, lambda records: None)
    intaker.step()
    assert told(store, reader) == ["1 requests of 2026-10 are still in flight"]
    journal.append(record("flying", NOVEMBER - 1))
    assert told(store, reader) == ["1 entries of the journal are of 2026-10 and not in the store yet"]
    intaker.step()
    assert told(store, reader) == []
    journal.close()


def told(store: UsageStore, reader: JournalDirectory) -> list[str]:
    with store.snapshot() as snapshot:
        return [each.what for each in obstacles(snapshot, reader, SPAN, DECEMBER)]


def test_hours_that_nobody_allocated_are_told(store: UsageStore, url: str) -> None:
    fill(store, url, RECORDS)
    with books(store) as opened:
        assert open_hours(opened, SPAN) == []
    store.take_in(Intake([served("earlier", OCTOBER - 30 * 24 * HOUR)], (), (), {}))  # now the ledger begins before its first stored hour
    with books(store) as opened:
        hours = open_hours(opened, month_window("2026-09", opened.settings, DECEMBER))
    assert len(hours) == 30 * 24
    obstacle = open_hours_obstacle(hours)
    assert obstacle.what == "720 hours of own fleets are not allocated, from 2026-09-01T00:00:00Z of fleet l40s on"
