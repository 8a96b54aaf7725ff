"""Two processes share the seeding: what the ledger gets is the history, whole and in order, until nobody wants more."""

import io
from typing import Any, cast

import msgspec
import pytest

from penstock.demo.seeding import SeedError, Task, make, seed
from penstock.domain.ledger.record import UsageRecord
from penstock.ports.usage_store import Intake, UsageStore
from tests.unit.demo.made import history, task


class Taken:
    """A store that keeps what it is given."""

    def __init__(self) -> None:
        self.records: list[UsageRecord] = []

    def take_in(self, intake: Intake) -> int:
        self.records += intake.records
        return len(intake.records)


def taken(given: Task, wanted: Any = lambda count: True) -> list[UsageRecord]:
    store = Taken()
    assert seed(given, cast(UsageStore, store), wanted) == len(store.records)
    return store.records


def test_the_ledger_gets_the_history() -> None:
    told: list[int] = []

    def wanted(count: int) -> bool:
        told.append(count)
        return True

    assert taken(task(), wanted) == list(history())
    assert told == sorted(told) and told[-1] == len(history())


def test_it_stops_when_nobody_wants_more() -> None:
    records = taken(task(), lambda count: False)
    assert 0 < len(records) < len(history())


def test_a_maker_that_fails_is_told_of() -> None:
    given = task(requests=2000)
    broken = given._replace(settings=msgspec.structs.replace(given.settings, tiers={}))
    with pytest.raises(SeedError, match="KeyError"):
        taken(broken)


def test_a_reader_that_has_gone_is_no_error() -> None:
    class Closed(io.BytesIO):
        def write(self, data: Any) -> int:
            raise BrokenPipeError

    make(task(requests=2000), Closed())
