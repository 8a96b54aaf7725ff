"""The watch over a real store: a runaway is found, explained, told of once and ended; feedback is heard; a restart goes on."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from penstock.adapters.stores import open_documents, open_store
from penstock.config.settings import Settings
from penstock.domain.dialects.tokens import Tokens
from penstock.domain.ledger.entries import HOUR_NS
from penstock.domain.ledger.record import UsageRecord
from penstock.finops.anomalies.book import AnomalyBook, Feedback, Found
from penstock.finops.anomalies.chore import CELL_NS, GRACE_NS, AnomalyWatch
from penstock.finops.books import Books
from penstock.finops.ledger import Ledger
from penstock.ports.notifier import Message
from penstock.ports.usage_store import Intake, UsageStore
from tests.ledger_entries import record

DAY = 24
BEGIN = 20_412 * DAY
"""an hour: midnight, Thursday, 20 November 2025, UTC"""
LONG = 4 * DAY


class Post:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.sent: list[tuple[Sequence[str], Message]] = []

    def send(self, recipients: Sequence[str], message: Message) -> int:
        self.sent.append((recipients, message))
        return len(recipients)


class Firm:
    """A store, and records by the hour."""

    def __init__(self, store: UsageStore, book: AnomalyBook) -> None:
        self.store, self.book, self.post = store, book, Post()
        self.lines: list[str] = []
        self._dice, self._count = random.Random(5), 0
        self.watch = self.started()

    def started(self) -> AnomalyWatch:
        return AnomalyWatch(self._books, self.book, self.post, ("ops",), self.lines.append)

    @contextmanager
    def _books(self, now_ns: int) -> Iterator[Books]:
        with self.store.snapshot() as snapshot:
            yield Books(Settings(version=1), Ledger(snapshot), now_ns, lambda name: None)

    def spend(self, begin_ns: int, end_ns: int, an_hour: int, **fields: str) -> None:
        """Requests evenly over a time, at about a cent each."""
        count = (end_ns - begin_ns) * an_hour // HOUR_NS
        self.store.take_in(Intake([self._record(begin_ns + (end_ns - begin_ns) * n // count, **fields) for n in range(count)], (), (), {}))

    def _record(self, at_ns: int, user: str = "ann", feature: str = "code", model: str = "large") -> UsageRecord:
        self._count += 1
        size = self._dice.randrange(800, 1200)
        return record(
            f"r{self._count}", admitted_ns=at_ns, tokens=Tokens(size, 0, 0, size // 4), cost=size * 10_000, model=model, price_version="1",
            tags={"team": "engineering", "feature": feature, "user": user},
        )  # fmt: skip

    def until(self, now_ns: int, watch: AnomalyWatch | None = None) -> None:
        """Steps as often as there is something to do."""
        for _ in range(2000):
            if not (watch or self.watch).step(now_ns):
                return
        raise AssertionError("the chore never rests")

    @property
    def found(self) -> list[Found]:
        return self.book.since(0)


@pytest.fixture
def firm(tmp_path: Path) -> Iterator[Firm]:
    url = f"sqlite:///{tmp_path}/ledger.db"
    store = open_store(url)
    store.prepare()
    firm = Firm(store, AnomalyBook(open_documents(url)))
    firm.spend(BEGIN * HOUR_NS, (BEGIN + LONG) * HOUR_NS, 40)
    firm.spend(BEGIN * HOUR_NS, (BEGIN + LONG) * HOUR_NS, 40, feature="chat", user="bob")
    yield firm
    store.close()


NOW = (BEGIN + LONG) * HOUR_NS


def looped(firm: Firm) -> Found:
    """An agent that begins at `NOW` and has looped for 15 minutes."""
    firm.until(NOW + GRACE_NS)
    firm.spend(NOW, NOW + 3 * CELL_NS, 40)
    firm.spend(NOW, NOW + 3 * CELL_NS, 900, user="loop")
    firm.until(NOW + 3 * CELL_NS + GRACE_NS)
    [found] = firm.found
    return found


def test_a_runaway_is_found_within_a_quarter_of_an_hour_and_explained(firm: Firm) -> None:
    found = looped(firm)
    assert (found.team, found.feature, found.end_ns) == ("engineering", "code", None)
    assert found.begin_ns == NOW and found.found_ns <= NOW + 15 * 60 * 10**9
    assert set(found.metrics) == {"spend", "requests"}
    assert found.requests == 940 // 4 and found.cost == pytest.approx(235 * 10**7, rel=0.1)
    assert found.impact == found.cost - found.usual_cost == pytest.approx(225 * 10**7, rel=0.1)
    assert (found.causes[0].driver, found.causes[0].dimension, found.causes[0].value) == ("requests", "user", "loop")
    [(recipients, message)] = firm.post.sent
    assert recipients == ("ops",) and message.status == "firing" and "user loop" in message.text and found.id in message.text
    assert len(firm.lines) == 1


def test_it_ends_is_told_once_more_and_leaves_no_trace_in_the_usual(firm: Firm) -> None:
    found = looped(firm)
    later = NOW + 30 * HOUR_NS
    firm.spend(NOW + 3 * CELL_NS, later, 40)
    firm.until(NOW + HOUR_NS + GRACE_NS)
    [ended] = firm.found
    assert (ended.id, ended.end_ns) == (found.id, NOW + 3 * CELL_NS) and ended.state is None
    assert [message.status for _, message in firm.post.sent] == ["firing", "resolved"]
    for hour in range(2, 25):
        firm.until(NOW + hour * HOUR_NS + GRACE_NS)
    firm.spend(NOW + DAY * HOUR_NS, NOW + DAY * HOUR_NS + 3 * CELL_NS, 900, user="loop")
    firm.until(NOW + DAY * HOUR_NS + 3 * CELL_NS + GRACE_NS)
    assert [each.begin_ns for each in firm.found] == [NOW + DAY * HOUR_NS, NOW], "as much as yesterday is an anomaly today as well"


def test_a_quiet_day_is_quiet(firm: Firm) -> None:
    firm.spend(NOW, NOW + 6 * HOUR_NS, 44)
    for hour in range(7):
        firm.until(NOW + hour * HOUR_NS + GRACE_NS)
    assert firm.found == [] and firm.post.sent == []


def test_a_restart_goes_on_with_what_was_open(firm: Firm) -> None:
    found = looped(firm)
    firm.spend(NOW + 3 * CELL_NS, NOW + 2 * HOUR_NS, 40)
    again = firm.started()
    firm.until(NOW + 2 * HOUR_NS + GRACE_NS, again)
    [ended] = firm.found
    assert (ended.id, ended.end_ns) == (found.id, NOW + 3 * CELL_NS)
    assert [message.status for _, message in firm.post.sent] == ["firing", "resolved"]


def test_a_planned_activity_is_not_told_of_again(firm: Firm) -> None:
    found = looped(firm)
    said = Feedback(
        anomaly=found.id, verdict="PLANNED_ACTIVITY", team=found.team, feature=found.feature, metrics=found.metrics,
        begin_ns=found.begin_ns, at_ns=NOW + 4 * CELL_NS,
    )  # fmt: skip
    firm.book.say(said)
    firm.spend(NOW + 3 * CELL_NS, NOW + 2 * HOUR_NS, 40)
    firm.until(NOW + 2 * HOUR_NS + GRACE_NS)
    assert [each.end_ns is None for each in firm.found] == [False]
    assert [message.status for _, message in firm.post.sent] == ["firing"]


def test_an_empty_ledger_is_watched_from_its_first_request_on(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/empty.db"
    store = open_store(url)
    store.prepare()
    firm = Firm(store, AnomalyBook(open_documents(url)))
    firm.until(NOW + GRACE_NS)
    firm.spend(NOW, NOW + 12 * HOUR_NS, 60)
    for hour in range(1, 12):
        firm.until(NOW + hour * HOUR_NS + GRACE_NS)
    assert firm.found == [], "what is new is no anomaly"
    begin = NOW + 12 * HOUR_NS
    firm.spend(begin, begin + 3 * CELL_NS, 2000, user="loop")
    firm.until(begin + 3 * CELL_NS + GRACE_NS)
    assert [each.begin_ns for each in firm.found] == [begin], "twelve hours old, and a leap to thirty times the usual"
    store.close()


def test_a_ledger_that_was_there_before_is_looked_through_once_and_nobody_is_told(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/past.db"
    store = open_store(url)
    store.prepare()
    firm = Firm(store, AnomalyBook(open_documents(url)))
    then = NOW - 20 * HOUR_NS
    firm.spend(BEGIN * HOUR_NS, NOW, 40)
    firm.spend(then, then + 3 * HOUR_NS, 900, user="loop")
    firm.until(NOW + GRACE_NS)
    [found] = firm.found
    assert (found.begin_ns, found.end_ns) == (then, then + 3 * HOUR_NS)
    assert (found.causes[0].dimension, found.causes[0].value) == ("user", "loop")
    assert found.impact == pytest.approx(2700 * 10**7, rel=0.1)
    assert firm.post.sent == [] and firm.book.watched_since() is not None
    firm.until(NOW + GRACE_NS, firm.started())
    assert firm.found == [found]
    store.close()


def test_a_no_raises_the_threshold_and_gives_the_hours_back(firm: Firm) -> None:
    found = looped(firm)
    before = firm.watch._factors
    firm.book.say(
        Feedback(
            anomaly=found.id, verdict="NO", team=found.team, feature=found.feature, metrics=found.metrics, begin_ns=found.begin_ns,
            at_ns=NOW + 4 * CELL_NS,
        )
    )  # fmt: skip
    firm.spend(NOW + 3 * CELL_NS, NOW + 2 * HOUR_NS, 40)
    firm.until(NOW + 2 * HOUR_NS + GRACE_NS)
    assert before == {} and firm.watch._factors[found.scope, "spend"] == pytest.approx(1.5, rel=0.01)
    assert firm.watch._detector._places[found.scope].left_out == set()


def test_a_clock_that_jumped_ahead_and_back_blinds_nobody(firm: Firm) -> None:
    firm.until(NOW + GRACE_NS)
    firm.until(NOW + 40 * DAY * HOUR_NS)
    found = looped(firm)
    assert found.begin_ns == NOW and found.causes[0].value == "loop"
