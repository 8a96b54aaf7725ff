"""The watch: every five minutes the newest cell of every series is judged, as a chore of the controller that leads.

What is usual comes from the sums that the store keeps by the hour, a day of them at each step after a start; the newest cells from the
records. A request belongs to the instant of its admission and is written down when it has ended, so the last cells are read again.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Final, Protocol

import msgspec

from penstock.domain.budgets.anomalies import BY_HOURS, BY_MINUTES, Anomaly, Detector, Leaf, Scope
from penstock.domain.budgets.baseline import DAYS, Cell
from penstock.domain.budgets.causes import Cause
from penstock.domain.budgets.deviations import values
from penstock.domain.ledger.entries import HOUR_NS
from penstock.finops.anomalies import series, words
from penstock.finops.anomalies.book import AnomalyBook, Feedback, Found, anomaly_id
from penstock.finops.anomalies.explaining import explained
from penstock.finops.anomalies.feedback import LEARNED_NS, factors, hours_left_out
from penstock.finops.books import Books
from penstock.finops.ledger import Ledger
from penstock.ports.notifier import Message

CELL_NS: Final = HOUR_NS // BY_MINUTES.cells
GRACE_NS: Final = 20 * 10**9
"""after the end of a cell, for the journal to be taken in"""
AGAIN: Final = 3
"""cells that are read anew each time"""
CATCH_UP: Final = 12
"""cells that are gone through after a pause; what was before stands in the hours alone"""
EXPLAIN_AGAIN: Final = 6
"""cells after which causes are looked for again"""
MOST_PAST: Final = 300
"""series beyond which the time before the first start is not looked through"""
KNOWN_FIRST: Final = 48
"""hours of it that are learned before"""


class Post(Protocol):
    """Takes messages: an outbox."""

    def send(self, recipients: Sequence[str], message: Message) -> int: ...


class AnomalyWatch:
    """The chore. Raises `StoreError`; what it had not written down by then is found again after a start."""

    def __init__(
        self,
        books: Callable[[int], AbstractContextManager[Books]],
        book: AnomalyBook,
        post: Post,
        recipients: Sequence[str],
        log: Callable[[str], None],
        link: str | None = None,
    ) -> None:
        self._books, self._book, self._post, self._log = books, book, post, log
        self._recipients, self._link = tuple(recipients), link
        self._factors: dict[tuple[Scope, str], float] = {}
        self._said: dict[str, Feedback] = {}
        self._forget()

    def _forget(self) -> None:
        """Begins as after a start."""
        self._kept: series.Kept | None = None
        self._detector = Detector(BY_MINUTES, lambda scope, metric: self._factors.get((scope, metric), 1.0))
        self._known = 0
        """the hour up to which the detector knows what was"""
        self._done = 0
        """the last cell that was judged"""
        self._told: dict[str, Found] = {}
        """open anomalies as they were last written down"""
        self._past: Past | None = None

    @property
    def watched(self) -> int:
        """How many series."""
        return self._detector.series

    def step(self, now_ns: int) -> int:
        """A day of the hours before, or a cell; 0 when none is over since."""
        newest = (now_ns - GRACE_NS) // CELL_NS - 1
        if newest + CATCH_UP < self._done:
            self._forget()  # a clock that was wrong
        if newest <= self._done and self._kept is not None and self._known >= _first_hour(newest):
            return 0
        with self._books(now_ns) as books:
            if self._kept is None:
                self._begin(books.ledger, now_ns, newest)
            elif self._known < _first_hour(newest):
                self._learn(books.ledger, _first_hour(newest))
            else:
                self._judge(books.ledger, newest, now_ns)
        return 1

    def _begin(self, ledger: Ledger, now_ns: int, newest: int) -> None:
        """Which series there are, and from which hour on they are learned."""
        hour = _first_hour(newest)
        self._kept = series.Kept(series.dearest(ledger, (hour - DAYS * 24) * HOUR_NS, hour * HOUR_NS))
        self._known = hour - DAYS * 24
        if ledger.begin is not None:
            self._known = max(self._known, min(ledger.begin // HOUR_NS, hour))
        self._past = Past(self._known) if self._book.watched_since() is None else None
        self._listen(now_ns)

    def _learn(self, ledger: Ledger, until: int) -> None:
        assert self._kept is not None
        end = min(self._known + 24, until)
        for hour, cells in series.hours(ledger, self._known, end, self._kept):
            self._detector.know(hour, cells)
            if self._past is not None:
                self._past.look(hour, cells)
        self._known = end
        if end == until:
            if self._past is not None:
                for anomaly in self._past.found:
                    self._book.put(found_now(ledger, anomaly, HOUR_NS, until - 1, None, explain=True))
                self._book.begin_watch(until * HOUR_NS)
                self._past = None
            self._recall(until)
            self._done = max(self._done, until * BY_MINUTES.cells - 1)

    def _recall(self, hour: int) -> None:
        """What was found before a start: its hours are left out again, and what was open goes on."""
        for found in self._book.since((hour - DAYS * 24) * HOUR_NS):
            self._detector.leave_out(found.scope, hours_left_out(found, self._said.get(found.id), hour))
            if found.end_ns is None and found.id not in self._told and found.state is not None:
                self._detector.resume(found.state)
                self._told[found.id] = found

    def _judge(self, ledger: Ledger, newest: int, now_ns: int) -> None:
        assert self._kept is not None
        index = self._done + 1
        hour = index // BY_MINUTES.cells
        if index % BY_MINUTES.cells == 0:
            self._listen(now_ns)
            for before, cells in series.hours(ledger, hour - 2, hour, self._kept):
                self._detector.know(before, cells)
            self._known = hour
        read = [series.cells(ledger, each * CELL_NS, (each + 1) * CELL_NS, self._kept) for each in range(index - AGAIN + 1, index + 1)]
        for anomaly in self._detector.step(index, read):
            self._write(ledger, anomaly, index, now_ns)
        self._done = index

    def _listen(self, now_ns: int) -> None:
        """What people have said since: a NO gives the hours back to what is usual."""
        said = self._book.feedback(now_ns - LEARNED_NS)
        self._factors = factors(said.values(), now_ns)
        for id, each in said.items():
            if each.verdict == "NO" and self._said.get(id) != each and (found := self._book.get(id)) is not None:
                self._detector.leave_out(found.scope, hours_left_out(found, None, now_ns // HOUR_NS), out=False)
        self._said = said
        self._book.sweep(now_ns)

    def _write(self, ledger: Ledger, anomaly: Anomaly, index: int, now_ns: int) -> None:
        """Writes an anomaly down as it is now, and tells of its begin and its end."""
        id = anomaly_id(anomaly.scope, anomaly.begin * CELL_NS)
        before = self._told.get(id) or self._book.get(id)
        explain = before is None or anomaly.end is not None or (index - anomaly.found) % EXPLAIN_AGAIN == 0
        found = found_now(ledger, anomaly, CELL_NS, index, before, explain=explain)
        self._book.put(found)
        if found.end_ns is None:
            self._told[id] = found
        else:
            self._told.pop(id, None)
        if before is None:
            self._log(f"anomaly {id}: {words.name(found)}: {words.observed(found)}; {words.impact(found)}")
        if (before is None or found.end_ns is not None) and not self._is_planned(found):
            self._post.send(self._recipients, message(found, self._link))

    def _is_planned(self, found: Found) -> bool:
        said = self._said.get(found.id) or self._book.feedback(found.begin_ns).get(found.id)
        return said is not None and said.verdict == "PLANNED_ACTIVITY"


class Past:
    """Looks through the hours before the watch began, once: a ledger that was there before has a history as well."""

    def __init__(self, begin: int) -> None:
        self._detector, self._begin = Detector(BY_HOURS), begin
        self._found: dict[tuple[Scope, int], Anomaly] = {}

    @property
    def found(self) -> list[Anomaly]:
        """What was found, all of it over: what goes on is found again by the watch."""
        return [_ended(anomaly) for anomaly in self._found.values()]

    def look(self, hour: int, cells: Mapping[Leaf, Cell]) -> None:
        """The next hour. A ledger of very many series is not looked through: that would take minutes."""
        if self._detector.series > MOST_PAST:
            return
        if hour - self._begin >= KNOWN_FIRST:
            for anomaly in self._detector.step(hour, [cells]):
                self._found[anomaly.scope, anomaly.begin] = anomaly
        self._detector.know(hour, cells)


def _ended(anomaly: Anomaly) -> Anomaly:
    return anomaly if anomaly.end is not None else msgspec.structs.replace(anomaly, end=anomaly.last + 1)


def found_now(ledger: Ledger, anomaly: Anomaly, cell_ns: int, index: int, before: Found | None, *, explain: bool) -> Found:
    """An anomaly as it is kept: exact sums of the ledger from its begin to the end of the cell `index`, or to its own end."""
    begin_ns = anomaly.begin * cell_ns
    until_ns = (index + 1 if anomaly.end is None else anomaly.end) * cell_ns
    cell = series.whole(ledger, anomaly.scope, anomaly.model, anomaly.whole, begin_ns, until_ns)
    reckoned = sorted(
        ((metric, *values(metric, cell, anomaly.expected, anomaly.usual)) for metric in anomaly.metrics), key=lambda each: -each[3]
    )
    metric, observed, usual, excess = reckoned[0]
    impact = round(excess)
    causes: tuple[Cause, ...] = before.causes if before is not None else ()
    if explain:
        causes = explained(ledger, anomaly.scope, begin_ns, until_ns, impact, anomaly.metrics) or causes
    return Found(
        id=anomaly_id(anomaly.scope, begin_ns),
        team=anomaly.scope[0],
        feature=anomaly.scope[1],
        model=None if anomaly.whole else anomaly.model,
        metric=metric,
        metrics=tuple(each[0] for each in reckoned),
        begin_ns=begin_ns,
        found_ns=(anomaly.found + 1) * cell_ns + GRACE_NS,
        end_ns=None if anomaly.end is None else until_ns,
        stayed=anomaly.stayed,
        observed=observed,
        usual=usual,
        cost=cell.cost,
        usual_cost=cell.cost - impact,
        impact=impact,
        requests=cell.requests,
        score=anomaly.score,
        causes=causes,
        state=None if anomaly.end is not None else msgspec.structs.replace(anomaly),
    )


def message(found: Found, link: str | None) -> Message:
    """What is told of an anomaly when it is found, and when it has ended."""
    over = found.end_ns is not None
    lines = [f"{words.observed(found)}: {words.impact(found)}, {found.requests:,} requests."]
    lines += [words.cause(each) for each in found.causes[:3]]
    lines.append(f"Say what it is: penstock anomalies feedback {found.id} YES|NO|PLANNED_ACTIVITY")
    return Message(
        id=f"anomaly/{found.id}/{'end' if over else 'begin'}",
        at_ns=found.begin_ns,
        subject=f"{'Over: unusual' if over else 'Unusual'} {words.METRIC_WORDS[found.metric]}: {words.name(found)}",
        text="\n".join(lines),
        severity="info" if over else "warning",
        status="resolved" if over else "firing",
        labels={
            "alertname": "PenstockAnomaly", "anomaly": found.id, "team": found.team or "", "feature": found.feature or "",
            "metric": found.metric,
        },
        details=words.anomaly_json(found, None),
        link=link,
    )  # fmt: skip


def _first_hour(newest: int) -> int:
    """The hour from whose begin on cells are gone through one by one, when `newest` is the last that is over."""
    return (newest - CATCH_UP) // BY_MINUTES.cells
