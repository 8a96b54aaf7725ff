"""Any order of calls on a store of the semantic cache, against a list of events: a machine for each kind of store."""

import itertools
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pytest
import redis
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from penstock.adapters.answers import open_answers
from penstock.ports.answer_store import AnswerStore, Entry, Event, Removal, Vouched
from penstock.ports.cache import CachedAnswer
from tests.contract.answer_stores import answer, entry, everything, evidence, removal, used, vouched

IDS = st.sampled_from([f"e{number}" for number in range(5)])
Open = Callable[[], AnswerStore]


class Machine(RuleBasedStateMachine):
    """Two who have the store open, and one reader who has seen some of the log."""

    def __init__(self, open: Open) -> None:
        super().__init__()
        self.stores = [open(), open()]
        self.open, self.count = open, itertools.count(1)
        self.log: list[Event] = []
        self.answers: dict[str, CachedAnswer] = {}
        self.seen: list[Event] = []
        self.place = 0
        self.orphans = set[int]()
        """times of what was vouched for an entry that was not there"""
        for store in self.stores:
            assert everything(store) == []

    @rule(which=st.integers(0, 1), entries=st.lists(IDS, max_size=3), others=st.integers(0, 2), answered=st.booleans())
    def put(self, which: int, entries: list[str], others: int, answered: bool) -> None:
        events: list[Event] = [entry(id, at_ns=next(self.count)) for id in entries]
        events += [evidence(f"r{at}", at) for at in itertools.islice(self.count, others)]
        bodies = {id: answer(id, b"%d" % next(self.count)) for id in entries if answered}
        self.stores[which].append(events, list(bodies.items()))
        self.took(events)
        self.answers |= bodies

    @rule(which=st.integers(0, 1), entries=st.lists(IDS, min_size=1, max_size=2), vouch=st.booleans())
    def judge(self, which: int, entries: list[str], vouch: bool) -> None:
        at = next(self.count)
        event: Event = vouched(entries[0], at) if vouch else removal(*entries, at_ns=at)
        self.stores[which].append([event, used(at)])
        self.took([event, used(at)])

    @rule(which=st.integers(0, 1))
    def repeat(self, which: int) -> None:
        self.stores[which].append([each for each in self.log[-3:] if not isinstance(each, Removal)])

    @rule(which=st.integers(0, 1), share=st.integers(0, 4))
    def trim(self, which: int, share: int) -> None:
        before, places = next(self.count) * share // 4, self.stores[0].since(0)
        gone = [each for each in self.log if not self.own(each) and each.at_ns < before]
        assert self.stores[which].trim(places[-1].place if places else 0, before) == len(gone)
        self.log = [each for each in self.log if each not in gone]

    @rule(most=st.integers(1, 4))
    def read_on(self, most: int) -> None:
        for each in self.stores[0].since(self.place, most):
            self.seen.append(each.event)
            self.place = each.place

    @rule(which=st.integers(0, 1))
    def open_again(self, which: int) -> None:
        self.stores[which].close()
        self.stores[which] = self.open()

    @invariant()
    def the_log_is_what_was_put(self) -> None:
        assert everything(self.stores[1], 3) == self.log
        assert {id: self.stores[0].answer(id) for id in self.answers} == self.answers
        assert self.stores[1].size()[0] == sum(isinstance(each, Entry) for each in self.log)

    @invariant()
    def the_reader_misses_nothing(self) -> None:
        """What is in the log now and was not seen yet comes next, in its order."""
        ahead = [each.event for each in self.stores[1].since(self.place)]
        assert ahead == [each for each in self.log if each not in self.seen]

    def teardown(self) -> None:
        for store in self.stores:
            store.close()

    def took(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Removal):
                self.log = [each for each in self.log if self.own(each) not in event.entries]
                self.answers = {id: kept for id, kept in self.answers.items() if id not in event.entries}
            elif own := self.of(event):
                self.log = [each for each in self.log if not (type(each) is type(event) and self.own(each) == own)]
            self.log.append(event)
            if isinstance(event, Vouched) and not self.of(event):
                self.orphans.add(event.at_ns)

    def of(self, event: Event) -> str | None:
        """The entry that an event is of, as it is put."""
        if isinstance(event, Entry):
            return event.id
        known = {each.id for each in self.log if isinstance(each, Entry)}
        return event.entry if isinstance(event, Vouched) and event.entry in known else None

    def own(self, event: Event) -> str | None:
        """The entry that an event in the log is of: what was vouched for none is like any other event."""
        if isinstance(event, Entry):
            return event.id
        return event.entry if isinstance(event, Vouched) and event.at_ns not in self.orphans else None


def runs(open_in: Callable[[Path], AnswerStore], forget: Callable[[], object], examples: int) -> None:
    class Here(Machine):
        def __init__(self) -> None:
            forget()
            self.folder = TemporaryDirectory()
            super().__init__(lambda: open_in(Path(self.folder.name)))

        def teardown(self) -> None:
            super().teardown()
            self.folder.cleanup()

    run_state_machine_as_test(Here, settings=settings(max_examples=examples, stateful_step_count=25))


def test_a_file() -> None:
    runs(lambda folder: open_answers("local://", folder, pytest.fail), lambda: None, 40)


@pytest.mark.redis
def test_redis(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        runs(lambda folder: open_answers(redis_url, folder, pytest.fail), client.flushdb, 40)


@pytest.mark.postgres
def test_postgres(postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as db:
        drop = "DROP TABLE IF EXISTS answer_head, answer_log, answer_bodies, answer_states"
        runs(lambda folder: open_answers(postgres_url, folder, pytest.fail), lambda: db.execute(drop), 15)
