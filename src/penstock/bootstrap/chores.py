"""What the controller does beside the intake, wired: for the host or, once for all hosts, by the one that leads."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from penstock.bootstrap.anomalies import anomaly_watch
from penstock.bootstrap.answers import answer_log, answers_shared, by_meaning
from penstock.bootstrap.audit import key_budgets, open_audit
from penstock.bootstrap.leading import open_leader
from penstock.bootstrap.ledger import allocator, open_books, open_costs, open_documents, sealer
from penstock.bootstrap.meters import collector
from penstock.bootstrap.notifying import console_link, open_outbox
from penstock.bootstrap.objectives import objective_keeper
from penstock.bootstrap.prices import price_book
from penstock.bootstrap.processes import log
from penstock.bootstrap.routing import Routed, keeps_evidence
from penstock.config.settings import Settings

if TYPE_CHECKING:
    from penstock.domain.ledger.record import UsageRecord
    from penstock.domain.prices.hardware import Steps
    from penstock.finops.budgets.status import BudgetStatus
    from penstock.finops.caching.following import AnswerLog
    from penstock.finops.caching.truth import LogTruth
    from penstock.finops.chores import Chore, Chores
    from penstock.finops.controller import Controller
    from penstock.finops.leading import Leader
    from penstock.finops.metrics import Gauges
    from penstock.ports.usage_store import UsageStore


LOOK_S = 5.0
"""between two looks at the budgets"""
SEND_S = 2.0
WATCH_S = 20.0
FOLLOW_S = 2.0
TIDY_S = 10.0
REST = 4.0
"""a fifth of a core is enough for what reads much"""


class Duties:
    """The chores of one controller, what they show on `/metrics`, and what hears of every record."""

    def __init__(self, chores: "Chores", leader: "Leader") -> None:
        self.chores, self.leader = chores, leader
        self.gauges: list[Callable[[], Gauges]] = []
        self.observers: list[Callable[[Sequence[UsageRecord]], None]] = []
        self.refused: Callable[[], Mapping[str, int]] = dict
        self.answers: AnswerLog | None = None
        """the log of the semantic cache; None where it is off"""
        self.truth: LogTruth | None = None
        self.routed: Routed | None = None
        """of the routes that go by evidence; None: there are none"""

    def of_controller(self, controller: "Controller") -> None:
        """What the workers tell the controller is told on to the chores."""
        self.refused = controller.refused


def open_duties(settings: Settings, environ: Mapping[str, str], store: "UsageStore", runs: "Callable[[str], Steps | None]") -> Duties:
    """Prices that may be used are kept, meters read, hours closed, old days sealed, budgets and objectives looked at, messages sent: in
    this order. Raises `ConfigError`, `StoreError`."""
    from penstock.finops.alerting.chore import BudgetAlerts
    from penstock.finops.alerting.gauges import AlertGauges
    from penstock.finops.chores import Chores, Paced, PriceKeeper
    from penstock.finops.leading import LeaderOnly

    leader, outbox = open_leader(settings, log), open_outbox(settings, environ, log)
    closing = allocator(settings, store, runs)
    alerts = BudgetAlerts(
        settings, _standings(settings), outbox, open_documents(settings),
        refused=lambda: duties.refused(), link=console_link(settings, "/budgets"),
    )  # fmt: skip
    objectives = objective_keeper(settings, outbox, log)
    once: tuple[Chore | None, ...] = (
        collector(settings, environ, store, log, closing.observe_readings),
        closing,
        sealer(settings, store, log),
        objectives,
        Paced(anomaly_watch(settings, outbox, log), WATCH_S, REST),
    )
    own = (PriceKeeper(price_book(settings), open_costs(settings)), ConfigNoter(settings))
    tended = _Tended(settings, leader) if by_meaning(settings) else None
    routed = Routed(settings, leader, outbox, log) if keeps_evidence(settings) else None
    # every host looks at the budgets, for it alone knows what its workers refused; messages have ids, so each goes out once
    chores: list[Chore] = [
        *own,
        *(LeaderOnly(chore, leader) for chore in once if chore is not None),
        Paced(alerts, LOOK_S),
        Paced(outbox, SEND_S),
        *(tended.chores if tended is not None else ()),
        *(routed.chores if routed is not None else ()),
    ]
    duties = Duties(Chores(chores, log), leader)
    duties.gauges = [AlertGauges(lambda: alerts.standings, lambda: outbox.undelivered), lambda: leading_gauge(leader), objectives.gauges]
    duties.observers = [alerts.observe]
    if tended is not None:
        duties.answers, duties.truth = tended.answers, tended.truth
        duties.gauges += tended.gauges
    if routed is not None:
        duties.routed = routed
        duties.gauges.append(routed.gauges)
        duties.observers += routed.observers
    return duties


class _Tended:
    """The chores of the semantic cache: every host follows its log, and what hosts share, one of them tidies."""

    def __init__(self, settings: Settings, leader: "Leader") -> None:
        from penstock.finops.caching.tidying import Following, Tidying
        from penstock.finops.caching.truth import LogTruth
        from penstock.finops.caching_value import error_gauges
        from penstock.finops.chores import Paced
        from penstock.finops.leading import LeaderOnly

        given = settings.cache.semantic
        self.answers = answer_log(settings, log, learning=True)
        self.truth = LogTruth(self.answers, given)
        following = Following(self.answers, self.truth.refresh)
        self.gauges: list[Callable[[], Gauges]] = [following.gauges, lambda: error_gauges(self.truth.scopes())]
        tidying = Paced(Tidying(self.answers, given), TIDY_S, REST)
        self.chores: list[Chore] = [
            Paced(following, FOLLOW_S, REST),
            LeaderOnly(tidying, leader) if answers_shared(settings) else tidying,
        ]


class ConfigNoter:
    """Writes into the audit log what has changed in the config since the last start."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._done = settings, False

    def step(self, now_ns: int) -> int:
        """Once; 0 when that is done. Raises `StoreError`."""
        from penstock.finops.audit import note_config

        if not self._done:
            note_config(open_audit(self._settings), open_documents(self._settings), self._settings, now_ns)
        self._done = True
        return 0


def _standings(settings: Settings) -> "Callable[[int], Sequence[BudgetStatus]]":
    from penstock.finops.budgets.history import Histories
    from penstock.finops.budgets.standing import budget_standings

    histories, of_keys = Histories(), key_budgets(settings)

    def look(now_ns: int) -> "Sequence[BudgetStatus]":
        own = of_keys.found(now_ns)
        if not settings.budgets and not own:
            return ()
        with open_books(settings, now_ns) as books:
            return (*budget_standings(books, histories.series), *(each.status for each in of_keys.standings(books, own)))

    return look


def leading_gauge(leader: "Leader") -> "Gauges":
    """Whether this host leads."""
    from penstock.ports.metrics import IS_LEADER

    return {IS_LEADER.name: [((), float(leader.leads()))]}
