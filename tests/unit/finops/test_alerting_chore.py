"""The controller's look at the budgets: what stands in the outbox after it, once, whatever crashes in between; and how it is worded."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
import pytest

from penstock.adapters.stores import open_documents
from penstock.config.settings import Settings
from penstock.config.spending import Budget, Notify
from penstock.domain.ledger.record import UsageRecord
from penstock.finops.alerting.chore import KIND, BudgetAlerts
from penstock.finops.alerting.gauges import budget_gauges
from penstock.finops.alerting.outbox import Letter, Outbox
from penstock.finops.alerting.wording import amount, ends_ns
from penstock.finops.budgets.status import BudgetStatus, Mark, Outlook
from penstock.finops.metrics import MetricsAggregator
from penstock.ports.documents import Document, Documents
from penstock.ports.notifier import Message
from penstock.ports.usage_store import StoreError

HOUR_NS = 3_600 * 10**9
DAY_NS = 24 * HOUR_NS
OCTOBER = 1_790_812_800 * 10**9
"""2026-10-01 00:00 UTC"""
USD = 10**9
MARKS = (
    Mark(50.0, False, ("team",)),
    Mark(80.0, False, ("team",)),
    Mark(95.0, False, ("team", "finance")),
    Mark("forecast", False, ("team",)),
)


def standing(spent: int | None = 0, **given: Any) -> BudgetStatus:
    values: dict[str, Any] = {
        "name": "support", "where": {"team": "support"}, "limit_text": "2500 USD / month", "unit": "USD", "limit": 2500 * USD,
        "at_limit": "refuse", "since_ns": OCTOBER, "until_ns": OCTOBER + 31 * DAY_NS, "rolling": False,
        "spent": None if spent is None else spent * USD, "by_requests": None, "beside": 0, "unpriced": 0, "burn": None, "outlook": None,
        "marks": MARKS, "note": "",
    }  # fmt: skip
    return BudgetStatus(**{**values, **given})


class Scene:
    """A chore over statuses that the test sets."""

    def __init__(
        self, documents: Documents, budgets: Sequence[Budget] = (Budget("support", "2500 USD / month", notify=("team",)),)
    ) -> None:
        self.settings = Settings(
            version=1, budgets=tuple(budgets), notify={name: Notify("webhook", "http://localhost") for name in ("team", "finance")}
        )
        self.documents = documents
        self.outbox = Outbox(documents, {}, lambda line: None, lambda: OCTOBER)
        self.statuses: list[BudgetStatus] = []
        self.refused: dict[str, int] = {}
        self.alerts = self.restarted()

    def restarted(self, documents: Documents | None = None, refused: dict[str, int] | None = None) -> BudgetAlerts:
        def count() -> dict[str, int]:
            return self.refused if refused is None else refused

        kept = documents or self.documents
        return BudgetAlerts(self.settings, lambda now_ns: self.statuses, self.outbox, kept, refused=count, link="http://x/budgets")

    def look(self, *statuses: BudgetStatus, day: float = 10) -> list[tuple[str, str]]:
        """Recipients and marks of what is new in the outbox."""
        before = {letter.id for letter in self.outbox.letters()}
        self.statuses = list(statuses)
        assert self.alerts.step(OCTOBER + round(day * DAY_NS)) == 0
        new = [letter for letter in self.outbox.letters() if letter.id not in before]
        return sorted((letter.recipient, letter.message.labels["mark"]) for letter in new)

    def letter(self) -> Letter:
        return self.outbox.letters()[0]

    def message(self) -> Message:
        return self.letter().message


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(open_documents(f"sqlite:///{tmp_path}/ledger.db"))


def test_marks_go_to_their_recipients_once(scene: Scene) -> None:
    assert scene.look(standing(100)) == []
    assert scene.documents.since(KIND) == [], "nothing was told, so nothing is to be remembered"
    assert scene.look(standing(1300)) == [("team", "50")]
    assert scene.look(standing(2400)) == [("finance", "95"), ("team", "95")]
    scene.alerts = scene.restarted()
    assert scene.look(standing(2400)) == []
    assert scene.alerts.standings == (standing(2400),)


def test_a_crash_between_telling_and_remembering_tells_once(scene: Scene) -> None:
    class Failing:
        """Fails to write down what was told."""

        def swap(self, document: Document, expected: str | None) -> bool:
            raise StoreError("the disk is full")

        def since(self, kind: str) -> Sequence[Document]:
            return scene.documents.since(kind)

    scene.statuses = [standing(1300)]
    with pytest.raises(StoreError):
        scene.restarted(Failing()).step(OCTOBER + 10 * DAY_NS)  # type: ignore[arg-type]
    assert [letter.message.labels["mark"] for letter in scene.outbox.letters()] == ["50"]
    assert scene.documents.since(KIND) == []
    assert scene.look(standing(1300)) == [], "the same id: told before"


def test_the_first_refusal_of_a_cap_is_told(scene: Scene) -> None:
    scene.refused = {"support": 7}
    assert scene.look(standing(2300)) == [("team", "80")], "refusals of before the first look are not new"
    scene.refused = {"support": 8}
    assert scene.look(standing(2300)) == [("team", "reached")]
    scene.refused = {"support": 900}
    assert scene.look(standing(2300)) == []
    assert scene.message().severity == "critical"
    assert scene.message().subject == "support: requests are refused at 92 % of 2500 USD / month"
    assert "What is left is held by requests under way, or too little" in scene.message().text


def test_hosts_tell_what_their_own_workers_refused_and_each_mark_once(scene: Scene) -> None:
    counts: list[dict[str, int]] = [{}, {}]
    hosts = [scene.restarted(refused=count) for count in counts]

    def look(spent: int) -> list[str]:
        before = {letter.id for letter in scene.outbox.letters()}
        scene.statuses = [standing(spent)]
        for host in hosts:
            host.step(OCTOBER + 10 * DAY_NS)
        return sorted(letter.message.labels["mark"] for letter in scene.outbox.letters() if letter.id not in before)

    assert look(1300) == ["50"]
    counts[1]["support"] = 1
    assert look(1300) == ["reached"]
    counts[0]["support"] = 1
    assert look(2100) == ["80"]


def test_a_counter_that_begins_anew_is_a_new_refusal(scene: Scene) -> None:
    scene.refused = {"support": 7}
    scene.look(standing(100))
    scene.refused = {"support": 2}
    assert scene.look(standing(100)) == [("team", "reached")]


@pytest.mark.parametrize(
    ("at_limit", "said"),
    [
        ("refuse", "requests are refused"),
        ("queue", "requests wait or are refused"),
        ("downgrade", "requests are made cheaper or refused"),
    ],
)
def test_a_cap_that_is_full_says_what_it_does(scene: Scene, at_limit: str, said: str) -> None:
    scene.look(standing(2500, at_limit=at_limit))
    assert scene.message().subject == f"support: the limit of 2500 USD / month is reached, {said}"


def test_a_budget_that_names_nobody_tells_nobody(tmp_path: Path) -> None:
    scene = Scene(open_documents(f"sqlite:///{tmp_path}/ledger.db"), [Budget("support", "2500 USD / month")])
    bare = tuple(msgspec.structs.replace(mark, notify=()) for mark in MARKS)
    assert scene.look(standing(2500, marks=bare)) == []
    assert scene.documents.since(KIND) == [], "when somebody is named, it is told at once"


def test_an_answer_that_cost_more_than_was_held_is_told_once_a_period(scene: Scene) -> None:
    def record(id: str, cost: int | None, reserved: int | None, team: str = "support") -> UsageRecord:
        return UsageRecord(
            id=id, admitted_ns=OCTOBER + DAY_NS, endpoint="completions", status=200, outcome="ok", model="m", tags={"team": team},
            cost=cost, reserved=reserved,
        )  # fmt: skip

    fine = [record("r1", 5, 5), record("r2", 5, None), record("r3", None, 5), record("r4", 9, 5, team="search")]
    scene.alerts.observe(fine)
    assert scene.look(standing(100)) == []
    scene.alerts.observe([*fine, record("r5", 3 * USD, 2 * USD), record("r6", 9 * USD, 5 * USD)])
    assert scene.look(standing(100)) == [("finance", "overrun"), ("team", "overrun")]
    assert scene.message().text.startswith("Request r5 to m cost 3.00 USD, and 2.00 USD were held for it. It is booked whole")
    scene.alerts.observe([record("r7", 4 * USD, 2 * USD)])
    assert scene.look(standing(100)) == []


def test_a_message_says_what_is_spent_how_fast_and_when_it_ends(scene: Scene) -> None:
    outlook = Outlook(3100 * USD, 2900 * USD, 3400 * USD, OCTOBER + 24 * DAY_NS + 14 * HOUR_NS)
    full = standing(2012, beside=12 * USD, unpriced=3, burn=Fraction(25 * USD, 2), outlook=outlook)
    scene.look(full, day=20)
    message = scene.message()
    assert message.subject == "support: expected to end at 124 % of 2500 USD / month"
    assert message.text.splitlines() == [
        "2,012.00 USD of 2,500.00 USD (80.4 %) are spent in the period from 1 Oct 2026 00:00 UTC to 1 Nov 2026 00:00 UTC, "
        "12.00 USD of it without a request.",
        "Burn rate: 12.50 USD an hour, over the last hours.",
        "At this pace the budget ends on 25 Oct 2026 14:00 UTC.",
        "Forecast for the whole period: 3,100.00 USD (2,900.00 USD to 3,400.00 USD in 80 of 100 cases).",
        "3 requests have no price and are not in this: it is at least this.",
        "At the limit requests are refused (402).",
    ]
    assert message.labels == {"alertname": "PenstockBudget", "budget": "support", "mark": "forecast", "team": "support"}
    assert message.link == "http://x/budgets" and message.severity == "warning"
    assert message.details["mark"] == "forecast" and message.details["ends"] == "2026-10-25T14:00:00Z"
    assert message.details["spent_usd"] == "2012.000000000" and message.details["forecast_usd"] == "3100.000000000"


def test_without_a_forecast_the_pace_says_when_it_ends() -> None:
    now = OCTOBER + 10 * DAY_NS
    assert ends_ns(standing(2400, burn=Fraction(10 * USD)), now) == now + 10 * HOUR_NS
    assert ends_ns(standing(100, burn=Fraction(USD)), now) is None, "not in this period"
    assert ends_ns(standing(2500, burn=Fraction(USD)), now) is None
    assert ends_ns(standing(None, burn=Fraction(USD)), now) is None
    assert ends_ns(standing(2400, burn=Fraction(0)), now) is None


def test_times_are_in_the_zone_of_the_budget(tmp_path: Path) -> None:
    budgets = [Budget("support", "2500 USD / month", timezone="Asia/Kolkata", notify=("team",))]
    scene = Scene(open_documents(f"sqlite:///{tmp_path}/ledger.db"), budgets)
    scene.look(standing(1300))
    assert "from 1 Oct 2026 05:30 IST" in scene.message().text


def test_gpu_hours_and_small_amounts_are_readable(scene: Scene) -> None:
    gpu = standing(None, unit="gpu-hours", limit=400 * 3_600_000_000, limit_text="400 gpu-hours / month")
    scene.look(msgspec.structs.replace(gpu, spent=210 * 3_600_000_000))
    assert scene.message().text.startswith("210.0 gpu-hours of 400.0 gpu-hours (52.5 %) are spent")
    assert scene.message().details["spent_gpu_hours"] == "210.000000"
    assert [amount(nano, "USD") for nano in (0, 1, 12_345, 19_600_000, 1_234_567_890_000)] == [
        "0.00 USD", "0.000000001 USD", "0.0000123 USD", "0.0196 USD", "1,234.57 USD",
    ]  # fmt: skip


def test_metrics_show_what_is_known_of_every_budget() -> None:
    gpu = standing(name="training", unit="gpu-hours", limit=400 * 3_600_000_000, spent=None)
    usd = standing(1250, outlook=Outlook(2600 * USD, 0, 0, None))
    text = MetricsAggregator((), "0").render(budget_gauges([usd, gpu], 3)).decode()
    for line in (
        'penstock_budget_spent_usd{budget="support"} 1250.0',
        'penstock_budget_limit_usd{budget="support"} 2500.0',
        'penstock_budget_forecast_usd{budget="support"} 2600.0',
        'penstock_budget_limit_gpu_hours{budget="training"} 400.0',
        "penstock_alerts_undelivered 3.0",
    ):
        assert line in text.splitlines()
    assert 'spent_gpu_hours{budget="training"}' not in text
