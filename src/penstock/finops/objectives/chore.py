"""The chore that keeps objectives: measures them, begins and ends their responses, and writes down what came of it.

Only one controller of all hosts does it. What it decides is written down before it is done, and what stands is renewed at every
evaluation: a crash in between repeats a step under the same id, and responses that nobody renews end by themselves.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from math import inf

import msgspec

from penstock.domain.budgets.objectives import Course, Verdict, judge
from penstock.domain.ledger.entries import HOUR_NS
from penstock.domain.prices.book import PriceBook
from penstock.finops.books import Books
from penstock.finops.metrics import Gauges
from penstock.finops.objectives.accounts import Account, load_account, save_account
from penstock.finops.objectives.effects import effect
from penstock.finops.objectives.episodes import Episode, open_episodes, past_episodes, put_episode
from penstock.finops.objectives.measuring import Objective, measure
from penstock.finops.objectives.responding import renewed_target, responses
from penstock.finops.objectives.telling import Tell
from penstock.ports.directives import Directives
from penstock.ports.documents import Documents
from penstock.ports.metrics import DIRECTIVE_ACTIVE, FLEET_TARGET_UNITS, OBJECTIVE_BURN_RATE

LONGEST_PAUSE_S = 20.0
SHORTEST_PAUSE_S = 1.0
SETTLED_NS = HOUR_NS
"""after the end of a response; no request takes so long"""
UNSETTLED = 50
"""of the newest responses that have ended"""
SHARE_OF_TIME = 10
"""evaluations take at most one part of so many of the time"""
LONGEST_REST_S = 60.0
"""however long they take: what stands has to be renewed"""


class ObjectiveKeeper:
    """Evaluates every objective a few times in its short window, and every 20 seconds at least while that costs little."""

    def __init__(
        self,
        objectives: Sequence[Objective],
        books: Callable[[int], AbstractContextManager[Books]],
        prices: PriceBook,
        documents: Documents,
        directives: Directives,
        tell: Tell,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`books` opens the ledger at an instant; `clock` (seconds, monotonic) times the pauses."""
        self._objectives, self._books, self._prices = objectives, books, prices
        self._documents, self._directives, self._tell, self._clock = documents, directives, tell, clock
        shortest = min((each.times.short_ns for each in objectives), default=0)
        self._pause_s = min(LONGEST_PAUSE_S, max(SHORTEST_PAUSE_S, shortest / 4e9))
        self._due = 0.0
        self._gauges: Gauges = {}

    def step(self, now_ns: int) -> int | None:
        """Evaluates all objectives when it is time; None, for it keeps its own time. Raises `StoreError`."""
        begun = self._clock()
        if begun < self._due:
            return None
        self._due = begun + self._pause_s
        episodes = open_episodes(self._documents)
        if not episodes and not self._objectives:
            self._due = inf
            return None
        with self._books(now_ns) as books:
            accounts = [
                self._evaluate(books, each, [mine for mine in episodes if mine.objective == each.name]) for each in self._objectives
            ]
            known = {objective.name for objective in self._objectives}
            for episode in episodes:
                if episode.objective not in known:
                    self._finish(books, None, episode)
            self._settle(books)
        self._gauges = _gauges(self._objectives, accounts, open_episodes(self._documents))
        self._due = max(self._due, self._clock() + min(LONGEST_REST_S, SHARE_OF_TIME * (self._clock() - begun)))
        return None

    def gauges(self) -> Gauges:
        """Burn rates, what stands, and targets of fleets, as of the last evaluation; nothing where another controller evaluates."""
        return self._gauges

    def _evaluate(self, books: Books, objective: Objective, episodes: Sequence[Episode]) -> Account:
        now = books.now_ns
        before = load_account(self._documents, objective.name)
        standing = before.standing if before is not None else ()
        account, verdict = evaluated(books, objective, before)
        for episode in episodes:
            if episode.id not in standing:  # begun or ended by a controller that stopped half-way
                self._finish(books, objective, episode)
        mine = [each for each in episodes if each.id in standing]
        begins = responses(books, self._prices, objective, now) if verdict.change == "begin" else []
        for episode in begins:
            put_episode(self._documents, episode)
        ids = () if verdict.change == "end" else tuple(each.id for each in (*mine, *begins))
        ended = {each.id: now for each in mine if each.id not in ids and each.kind in ("shift_traffic", "downgrade")}
        account = msgspec.structs.replace(account, standing=ids, recent=account.recent | ended)
        save_account(self._documents, account)
        if verdict.change is not None:
            self._tell.changed(objective, account, verdict.change, begins or mine)
        for episode in (*mine, *begins):
            if episode.id in ids:
                self._keep(books, objective, episode)
            else:
                self._finish(books, objective, episode)
        return account

    def _keep(self, books: Books, objective: Objective, episode: Episode) -> None:
        """Renews what stands; a target that its fleet has outgrown is raised."""
        if episode.kind == "scale_down":
            target = renewed_target(books, objective, episode, books.now_ns)
            if target != episode.target_units:
                episode = msgspec.structs.replace(episode, target_units=target)
                put_episode(self._documents, episode)
                self._tell.retargeted(objective, episode, books.now_ns)
        if not episode.dry_run:
            self._directives.put(episode.directive(books.now_ns))
        self._tell.begun(episode)

    def _settle(self, books: Books) -> None:
        """Measures what has ended once more, when the records of its last requests are there."""
        for episode in past_episodes(self._documents, limit=UNSETTLED):
            if not episode.settled and books.now_ns - (episode.ended_ns or 0) >= SETTLED_NS:
                found = effect(books, self._prices, episode)
                put_episode(self._documents, msgspec.structs.replace(episode, measured=found.saved, measured_note=found.note, settled=True))

    def _finish(self, books: Books, objective: Objective | None, episode: Episode) -> None:
        """Lifts it, and writes down what it has brought."""
        self._directives.lift(episode.id)
        self._tell.begun(episode)
        ended = msgspec.structs.replace(episode, ended_ns=max(books.now_ns, episode.since_ns))
        found = effect(books, self._prices, ended)
        ended = msgspec.structs.replace(ended, measured=found.saved, measured_note=found.note)
        self._tell.ended(objective, ended)
        put_episode(self._documents, ended)


def evaluated(books: Books, objective: Objective, before: Account | None) -> tuple[Account, Verdict]:
    """The objective measured and judged now; nothing is written. What stands is as before."""
    now, times = books.now_ns, objective.times
    steering = before.steering if before is not None else ()
    long = measure(books, objective, now - times.window_ns, now, steering)
    short = measure(books, objective, now - times.short_ns, now, steering)
    verdict = judge(before.course if before is not None else Course(), times, objective.target, long, short, now)
    account = Account(
        name=objective.name,
        at_ns=now,
        state=verdict.state,
        course=verdict.course,
        long=long,
        short=short,
        standing=before.standing if before is not None else (),
        recent={id: end for id, end in before.recent.items() if now - end < times.window_ns} if before is not None else {},
    )
    return account, verdict


def _gauges(objectives: Sequence[Objective], accounts: Sequence[Account], episodes: Sequence[Episode]) -> Gauges:
    burns = [
        ((objective.name, window), float(burn))
        for objective, account in zip(objectives, accounts, strict=True)
        for window, reading in (("long", account.long), ("short", account.short))
        if (burn := reading.burn(objective.target)) is not None
    ]
    acting = [each for each in episodes if not each.dry_run]
    return {
        OBJECTIVE_BURN_RATE.name: burns,
        DIRECTIVE_ACTIVE.name: [((each.objective, each.kind), 1.0) for each in acting],
        FLEET_TARGET_UNITS.name: [((each.argument,), float(each.target_units)) for each in acting if each.target_units is not None],
    }
