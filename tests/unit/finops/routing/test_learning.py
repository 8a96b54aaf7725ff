"""When the learner learns, from what, and what a budget's forecast changes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from penstock.adapters.stores import open_documents, open_evidence
from penstock.adapters.stores.audit import DocumentAudit
from penstock.config.load import parse
from penstock.config.settings import Settings
from penstock.domain.ledger.routed import Observation
from penstock.domain.routing.proving.knowledge import Law
from penstock.domain.routing.proving.policy import RoutePolicy
from penstock.finops.budgets.status import BudgetStatus, Outlook
from penstock.finops.routing import learning
from penstock.finops.routing.counting import Counting
from penstock.finops.routing.hearing import RouteFeedback
from penstock.finops.routing.learning import AGAIN_NS, RouteLearner, law_of, learned_routes, newest_of_tags
from penstock.finops.routing.pressing import pressure_of
from penstock.finops.routing.publishing import Publisher, published
from tests.unit.finops.routing.evidence import DAY, EDITIONS, TIERS, judged, label, routed

CONFIG = """
version = 1
[upstreams.u]
base_urls = ["http://127.0.0.1:9/v1"]
[models.s]
upstream = "u"
version = "2"
[models.l]
upstream = "u"
[tiers]
small = { model = "s" }
mid = { model = "s" }
large = { model = "l" }
[routes.auto]
strategy = "learned"
tiers = ["small", "mid", "large"]
error_budget = 0.03
cost_weight = 0.5
follow_budget = "all"
[routes.plain]
tiers = ["small"]
[routes.signals]
strategy = "cascade"
tiers = ["small", "large"]
"""
NOW = 40 * DAY


class Fits:
    """Stands for the law: notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Law, list[Observation], Mapping[Any, float]]] = []
        self.fails: set[str] = set()

    def __call__(self, law: Law, observations: Sequence[Observation], counts: Mapping[Any, float], now_ns: int) -> RoutePolicy:
        if law.route in self.fails:
            raise ValueError("no")
        self.asked.append((law, list(observations), counts))
        return RoutePolicy(route=law.route, at_ns=now_ns, error_budget=law.error_budget, models=law.models)


class Scene:
    def __init__(self, url: str, settings: Settings, fits: Fits) -> None:
        self.documents, self.evidence, self.fits = open_documents(url), open_evidence(url), fits
        self.counting = Counting(self.documents, "a", list(learned_routes(settings)))
        publisher = Publisher(self.documents, DocumentAudit(self.documents), None, [], print)  # type: ignore[arg-type]
        self.pressed: list[str] = []
        self.learner = RouteLearner(settings, self.evidence, self.counting, publisher, self._pressure)

    def _pressure(self, budget: str, now_ns: int) -> float:
        self.pressed.append(budget)
        return 2.0


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    fits = Fits()
    monkeypatch.setattr(learning, "fit", fits)
    return Scene(f"sqlite:///{tmp_path / 'p.db'}", parse(CONFIG, {}), fits)


def test_routes_with_an_error_budget_are_learned() -> None:
    assert list(learned_routes(parse(CONFIG, {}))) == ["auto"]


def test_the_law_is_what_the_config_says() -> None:
    law = law_of(parse(CONFIG, {}), "auto", 1.5)
    assert (law.tiers, law.strategy, law.error_budget, law.cost_weight) == (TIERS, "learned", 0.03, 0.75)
    assert law.models == {"small": "s@2", "mid": "s@2", "large": "l"}


def test_an_sla_with_words_of_its_own_is_fitted_for_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fits = Fits()
    monkeypatch.setattr(learning, "fit", fits)
    words = "\n[routes.auto.sla]\ncritical = { error_budget = 0.01, cost_weight = 0.0 }\nstandard = {}\n"
    scene = Scene(f"sqlite:///{tmp_path / 'p.db'}", parse(CONFIG + words, {}), fits)
    scene.learner.step(NOW)
    assert [(law.error_budget, law.cost_weight) for law, _, _ in fits.asked] == [(0.01, 0.0), (0.03, 1.0)]
    [policy] = published(scene.documents)
    assert {sla: each.error_budget for sla, each in policy.sla.items()} == {"critical": 0.01}


def test_it_learns_at_once_then_of_news_or_after_a_while(scene: Scene) -> None:
    scene.learner.step(NOW)
    scene.learner.step(NOW + 1)
    assert len(scene.fits.asked) == 1
    observed = msgspec.structs.replace(routed("9"), purpose="shadow", observed=label("9", 1.0, 1.0, 1.0))
    scene.learner.observe([routed("1", judged()), observed])
    scene.learner.step(NOW + 2)
    scene.learner.told()
    scene.learner.step(NOW + 3)
    scene.learner.observe([routed("1", judged())])
    scene.learner.step(NOW + 4)
    assert len(scene.fits.asked) == 3
    scene.learner.step(NOW + 4 + AGAIN_NS)
    assert len(scene.fits.asked) == 4


def test_it_reads_a_month_of_the_route(scene: Scene) -> None:
    scene.evidence.add([
        label("old", 1.0, 1.0, 1.0, at_ns=NOW - 31 * DAY),
        label("new", 1.0, 1.0, 1.0, at_ns=NOW - DAY),
        msgspec.structs.replace(label("other", 1.0, 1.0, 1.0, at_ns=NOW - DAY), route="plain"),
    ])  # fmt: skip
    scene.counting.observe([routed("1", judged(), at_ns=NOW)])
    scene.learner.step(NOW)
    ((law, observations, counts),) = scene.fits.asked
    assert [each.id for each in observations] == ["new"]
    assert counts == {("support", "gate:small+mid", "agree"): 1.0}
    assert (law.cost_weight, scene.pressed) == (1.0, ["all"])
    assert [each.route for each in published(scene.documents)] == ["auto"]


def test_a_route_that_cannot_be_learned_keeps_no_other_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fits = Fits()
    fits.fails.add("auto")
    monkeypatch.setattr(learning, "fit", fits)
    second = CONFIG + '\n[routes.second]\nstrategy = "gate"\ntiers = ["small", "mid", "large"]\nerror_budget = 0.1\n'
    scene = Scene(f"sqlite:///{tmp_path / 'p.db'}", parse(second, {}), fits)
    with pytest.raises(ValueError, match="no"):
        scene.learner.step(NOW)
    assert [law.route for law, _, _ in fits.asked] == ["second"]
    fits.fails.clear()
    scene.learner.step(NOW + 1)
    assert [law.route for law, _, _ in fits.asked] == ["second", "auto", "second"]


def test_a_rating_is_evidence_and_news(scene: Scene) -> None:
    scene.learner.step(NOW)
    hear = RouteFeedback({"auto": EDITIONS}, scene.evidence, scene.learner.told)
    hear(routed("1", judged()), 0.0, NOW)
    hear(routed("2", judged(), tier="large"), 0.0, NOW)
    assert [(each.id, each.judge) for each in scene.evidence.since(0)] == [("1", "feedback")]
    scene.learner.step(NOW + 1)
    assert len(scene.fits.asked) == 2
    hear(routed("1", judged()), 1.0, NOW + 2)
    assert [each.seen[0].quality for each in scene.evidence.since(0)] == [1.0]


def test_tags_with_much_evidence_leave_room_for_others() -> None:
    many = [label(str(number), 1.0, 1.0, 1.0, at_ns=number) for number in range(5)]
    few = [label("few", 1.0, 1.0, 1.0, tag="code")]
    assert [each.id for each in newest_of_tags([*few, *many], 2)] == ["few", "3", "4"]


def test_what_people_say_takes_no_room_from_labels() -> None:
    said = [msgspec.structs.replace(label(f"said {number}", 1.0, None, None), judge="feedback") for number in range(9)]
    assert [each.id for each in newest_of_tags([label("fair", 1.0, 1.0, 1.0), *said], 2)] == ["fair", "said 7", "said 8"]


@pytest.mark.parametrize(("forecast", "factor"), [(None, 1.0), (50, 1.0), (100, 1.0), (150, 1.5), (1000, 4.0)])
def test_a_budget_presses_while_its_forecast_is_above_its_limit(forecast: int | None, factor: float) -> None:
    outlook = None if forecast is None else Outlook(forecast, 0, 0, None)
    status = BudgetStatus(
        name="all", where={}, limit_text="", unit="USD", limit=100, at_limit="alert", since_ns=0, until_ns=1, rolling=False, spent=10,
        by_requests=10, beside=0, unpriced=0, burn=None, outlook=outlook, marks=(), note="",
    )  # fmt: skip
    assert pressure_of(status) == factor
