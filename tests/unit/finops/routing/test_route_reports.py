"""Reports of routes: what traffic comes to, how a request's way is told, and what a policy would do."""

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from penstock.config.routing import Route
from penstock.domain.dialects.tokens import NO_TOKENS, Tokens
from penstock.domain.ledger.record import UsageRecord
from penstock.domain.ledger.routed import Judged, Observation, RouteDecision, Seen, Sign
from penstock.domain.routing.course import Course, Stage
from penstock.finops.routing.explaining import course_words, judged_words, open_shares, stage_words, why_routed
from penstock.finops.routing.knowing import Known, fair_labels
from penstock.finops.routing.standing import route_standing
from penstock.finops.routing.tables import Line, graded, traffic_of
from penstock.finops.routing.traffic import RouteTraffic, Traffic
from penstock.finops.routing.trying import TrialError, asked_of, trial

TIERS = ("small", "mid", "large")
MODELS = {"small": "s", "mid": "m", "large": "l"}
COSTS = (1_000, 3_000, 30_000)


def known(labels: Sequence[Observation] = (), **given: Any) -> Known:
    base: dict[str, Any] = {"strategy": "learned", "tiers": TIERS, "error_budget": 0.05}
    route = Route(**base | given)
    return Known(route="auto", config=route, models=MODELS, editions=MODELS, labels=tuple(labels), counts={}, policy=None)


def labels(tag: str, right: Sequence[tuple[float, float, float]], costs: Sequence[int | None] = COSTS) -> list[Observation]:
    return [
        Observation(
            id=f"{tag}{at}",
            at_ns=at,
            route="auto",
            tag=tag,
            judge="check",
            seen=tuple(
                Seen(tier=tier, quality=quality, cost=cost, answer=f"{quality}", confidence=quality)
                for tier, quality, cost in zip(TIERS, row, costs, strict=True)
            ),
        )
        for at, row in enumerate(right)
    ]


def traffic(**tags: int) -> RouteTraffic:
    def of(count: int) -> Traffic:
        on = {tier: count * cost for tier, cost in zip(TIERS, COSTS, strict=True)}
        return Traffic(requests=count, priced=count, cost=count * COSTS[2], on=on, by_tier={"large": count})

    return RouteTraffic({tag: of(count) for tag, count in tags.items()}, whole=True)


def record(**given: Any) -> UsageRecord:
    base: dict[str, Any] = {"id": "r", "admitted_ns": 1, "endpoint": "chat.completions", "status": 200, "outcome": "ok"}
    return UsageRecord(**base | given)


def test_traffic_of_tags_adds_up() -> None:
    whole = traffic(chat=10, code=30)
    total = whole.total()
    assert (total.requests, total.on["large"], total.by_tier) == (40, 40 * COSTS[2], {"large": 40})
    assert whole.tags["chat"].requests == 10, "the parts stay as they are"


def test_nothing_is_known_of_a_route_without_traffic_and_labels() -> None:
    found = route_standing(known(), RouteTraffic({}, whole=True))
    assert found.tags == () and found.all.state == "new"
    told = found.all
    assert (told.loss, told.saved_usd, told.cost_share, told.escalation, told.split, told.next_label_usd) == (None,) * 6


def test_an_unpriced_tier_leaves_savings_unknown() -> None:
    part = traffic(chat=10)
    part.tags["chat"].priced = 0
    part.tags["chat"].on.clear()
    found = route_standing(known(), part)
    assert found.uncompared == 10 and found.all.cost_usd is None and found.all.last_usd is None
    assert trial(known(), asked_of(known(), None, None), part, "test", 1).total.policy_usd is None


def test_few_labels_are_not_compared_with_a_split() -> None:
    found = route_standing(known(labels("chat", [(1.0, 1.0, 1.0)] * 19)), traffic(chat=10))
    assert found.all.labels == 19 and found.all.split is None


def test_feedback_and_other_models_are_no_fair_labels() -> None:
    good, *_ = rows = labels("chat", [(1.0, 1.0, 1.0)] * 3)
    told = Observation(id="f", at_ns=1, route="auto", tag="chat", judge="feedback", seen=good.seen)
    no_reference = Observation(id="n", at_ns=1, route="auto", tag="chat", judge="check", seen=good.seen[:2])
    versions = {tier: f"{model}@2" for tier, model in MODELS.items()}
    assert fair_labels([*rows, told, no_reference], TIERS, versions) == tuple(rows)


def test_a_policy_that_labels_prove_is_cheaper_and_one_without_labels_stays_with_the_last_tier() -> None:
    rows = labels("chat", [(1.0, 1.0, 1.0)] * 300) + labels("code", [(float(at % 2), 1.0, 1.0) for at in range(300)])
    around = known(rows)
    found = trial(around, asked_of(around, None, None), traffic(chat=100, code=100), "test", 1)
    chat, code = found.tags
    assert chat.state == "proven" and chat.loss is not None and chat.loss < 0.02
    assert chat.cost_share is not None and chat.cost_share < 0.2 and chat.now_usd == "0.003000000"
    assert code.loss is not None and code.loss <= 0.05
    assert found.control is not None and found.control.verdict == "wins" and found.unknown == ()
    nothing = trial(known(), asked_of(known(), None, None), traffic(chat=10), "test", 1)
    assert nothing.total.loss == 0.0 and nothing.total.policy_usd == nothing.total.last_usd
    assert any("without a label of their own" in line for line in nothing.unknown)


def test_a_cascade_by_signals_alone_needs_labels_to_be_priced() -> None:
    blind = known(strategy="cascade", error_budget=None)
    found = trial(blind, asked_of(blind, None, None), traffic(chat=10), "test", 1)
    (chat,) = found.tags
    assert (chat.policy_usd, chat.loss, chat.escalation) == (None, None, None) and "no label tells" in chat.note
    assert found.total.cost_share is None and len(found.unknown) == 2
    seeing = known(labels("chat", [(float(at % 4 != 0), 1.0, 1.0) for at in range(40)]), strategy="cascade", error_budget=None)
    (chat,) = trial(seeing, asked_of(seeing, None, None), traffic(chat=10), "test", 1).tags
    assert chat.escalation == 0.25 and chat.loss == 0.0 and chat.high is not None and chat.high > 0
    assert chat.policy_usd is not None and math.isclose(float(chat.policy_usd) * 1e9, 10 * (1_000 + 0.25 * 3_000), abs_tol=1)


def test_a_tag_without_labels_borrows_how_often_others_go_on_and_says_so() -> None:
    around = known(labels("chat", [(float(at % 2), 1.0, 1.0) for at in range(40)]), strategy="cascade", error_budget=None)
    found = trial(around, asked_of(around, None, None), traffic(chat=10, new=5), "test", 1)
    new = next(row for row in found.tags if row.tag == "new")
    assert new.escalation == 0.5 and new.loss is None and new.note == "no label of its own: as other tags"
    assert found.total.loss is None, "the mean over all is unknown where a part of it is"


def test_what_cannot_be_tried_says_what_can() -> None:
    with pytest.raises(TrialError, match="cannot be tried"):
        asked_of(known(), "by_complexity", None)
    with pytest.raises(TrialError, match="needs an error budget"):
        asked_of(known(error_budget=None), "learned", None)
    with pytest.raises(TrialError, match="has 1 tier: too few"):
        asked_of(known(tiers=("large",)), "cascade", None)
    assert asked_of(known(strategy="by_complexity"), None, None).strategy == "learned"


def test_a_table_is_labels_and_traffic_at_once() -> None:
    cells = {"small": {"q": 1.0, "c": 0.000001, "a": "$7.00"}, "m": {"q": 1, "c": 0.000003, "a": 7}, "l": {"q": 1, "c": None, "a": None}}
    whole = msgspec.convert({"id": "1", "task": "quiz", "m": cells}, Line)
    lacking = msgspec.convert({"id": "2", "m": {"small": {"q": 1.0}}}, Line)
    found, left_out = graded([whole, lacking], "auto", MODELS)
    assert left_out == 1 and [each.tag for each in found] == ["quiz"]
    small, mid, large = found[0].seen
    assert small.answer == mid.answer is not None, "the same number, written otherwise"
    assert (small.cost, large.cost, large.answer) == (1_000, None, None)
    assert traffic_of(found).tags["quiz"].priced == 0, "a tier without a cost leaves the request unpriced"


def test_a_stage_is_told_in_words() -> None:
    differ = Judged(kind="gate", tiers=("small", "mid"), stratum="differ", kept=False, share=0.4)
    assert stage_words(differ) == (
        "asked small and mid at once: they differed, so small's answer is not kept; 40 % of such answers are kept"
    )
    kept = Judged(kind="cascade", tiers=("small",), stratum="confident", kept=True, confidence=0.91, signs=(Sign("logprobs", 0.91),))
    assert stage_words(kept) == (
        "asked small: it was confident enough, confidence 0.91 (logprobs 0.91), so small's answer is kept; all of such answers are kept"
    )
    failed = Judged(
        kind="cascade", tiers=("small",), stratum="failed", kept=False, signs=(Sign("check:sql", fails=True, said="no such table"),)
    )
    assert "a check spoke against it (check:sql fails: no such table)" in stage_words(failed)
    assert stage_words(failed).endswith("such answers are never kept")
    assert stage_words(Judged(kind="direct", tiers=("large",), stratum="direct", kept=True)) == "asked large, whose answer is not judged"


def test_a_decision_is_told_line_by_line() -> None:
    decision = RouteDecision(
        tag="chat", why="likely", stages=(Judged(kind="gate", tiers=("small", "mid"), stratum="differ", kept=False, share=0.0),),
        error_budget=0.03, expected_loss=0.012, preset="careful", session="d1g", shadowed=True, shadow_propensity=0.02,
    )  # fmt: skip
    lines = {each.about: each.text for each in why_routed(record(route_decision=decision, tier="large", tokens=Tokens(1, 0, 0, 1, 0)))}
    assert lines["course"] == "likely" and lines["so"] == "large answered" and lines["expected loss"] == "1.2 % of 3 %"
    assert lines["preset"] == "careful" and "d1g" in lines["session"] and "as 2 % of such requests are" in lines["shadowed"]
    unknown = RouteDecision(tag=None, why="", error_budget=0.03)
    assert [each.text for each in why_routed(record(route_decision=unknown))] == ["unknown, of 3 %"]
    assert why_routed(record(tokens=NO_TOKENS)) == ()


def test_agreement_is_not_called_quality() -> None:
    told = judged_words({"check": 40, "agreement": 7}, "large")
    assert told == "labels: 40 by checks, 7 by agreement with large, which is consistency and not quality"
    assert judged_words({}, "large") == "no labels"
    rows = labels("chat", [(1.0, 1.0, 1.0)] * 2)
    agreed = [msgspec.structs.replace(each, id="x", judge="agreement") for each in rows[:1]]
    assert route_standing(known([*rows, *agreed]), RouteTraffic({}, whole=True)).judges == {"check": 2, "agreement": 1}


def test_a_course_is_told_in_words() -> None:
    gate = Course((Stage("gate", ("small", "mid"), {"agree": 1.0, "differ": 0.4}), Stage("direct", ("large",))))
    assert course_words(gate) == "small and mid at once, kept where they agree or they differ (40 % of those); else large"
    assert open_shares(gate) == {"agree": 1.0, "differ": 0.4}
    shut = Course((Stage("cascade", ("small",), {"confident": 0.0}, 0.85), Stage("direct", ("large",))))
    assert course_words(shut) == "small, never kept; else large"
    assert course_words(Course((Stage("direct", ("large",)),))) == "large" and open_shares(Course((Stage("direct", ("large",)),))) == {}
