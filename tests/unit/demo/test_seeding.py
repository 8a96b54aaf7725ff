"""Two processes share the seeding: what the ledger gets is the history, whole and in order, until nobody wants more."""

import io
from collections.abc import Sequence
from typing import Any, cast

import msgspec
import pytest

from penstock.demo.answering import Log
from penstock.demo.seeding import ByMeaning, SeedError, Task, make, seed
from penstock.domain.ledger.record import UsageRecord, is_aside
from penstock.ports.usage_store import Intake, UsageStore
from tests.unit.demo.made import answered, history, meant, task


class Taken:
    """A store that keeps what it is given."""

    def __init__(self) -> None:
        self.records: list[UsageRecord] = []

    def take_in(self, intake: Intake) -> int:
        self.records += intake.records
        return len(intake.records)


def requests(records: Sequence[UsageRecord]) -> int:
    return sum(not is_aside(record) for record in records)


def taken(given: Task, wanted: Any = lambda count: True) -> list[UsageRecord]:
    store = Taken()
    assert seed(given, cast(UsageStore, store), wanted) == requests(store.records)
    return store.records


def test_the_ledger_gets_the_history() -> None:
    told: list[int] = []

    def wanted(count: int) -> bool:
        told.append(count)
        return True

    assert taken(task(), wanted) == list(history())
    assert told == sorted(told) and told[-1] == requests(history())


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


def test_the_cache_by_meaning_is_played_and_its_log_comes_before_its_days() -> None:
    logs: list[tuple[Log, int]] = []
    store = Taken()
    given = task(requests=15_000, by_meaning=True)
    count = seed(given, cast(UsageStore, store), lambda taken: True, ByMeaning(meant, lambda log: logs.append((log, len(store.records)))))
    assert count == requests(store.records)
    [(log, before)] = logs
    assert before < 0.6 * count, "the gateway starts after that"
    records = {record.id for record in store.records}
    assert log.answers and {entry for entry, _ in log.answers} < records
    assert (tuple(store.records), log) == answered()


def test_without_vectors_there_is_no_cache_by_meaning() -> None:
    def never(log: Log) -> None:
        raise AssertionError(log)

    store = Taken()
    seed(task(), cast(UsageStore, store), lambda taken: True, ByMeaning(lambda: None, never))
    assert store.records == list(history())


def test_what_embedding_raises_is_told() -> None:
    def broken() -> None:
        raise OSError("no room")

    with pytest.raises((OSError, SeedError)):
        seed(task(requests=2000), cast(UsageStore, Taken()), lambda taken: True, ByMeaning(broken, lambda log: None))
