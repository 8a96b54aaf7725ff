"""The course of a request: by strategy, evidence, wishes, rules, keys and what the request is; in doubt the last tier."""

import asyncio
from typing import Any

import msgspec
import pytest

from penstock.domain.ledger.routed import Stratum
from penstock.domain.routing.course import Course, Stage
from penstock.domain.routing.proving.policy import RoutePolicy, State, TagPolicy
from penstock.gateway.refusal import Refusal
from penstock.gateway.routing.planning import STALE_NS, plan_course
from tests.unit.gateway.planning_rig import DRAFT, GATE, LAST, MODELS, NOW, World, choice, decided, exchange, stages

OTHER = TagPolicy(tag="b", labels=80, state="proven", course=Course((DRAFT, LAST)))


def test_a_fixed_route_takes_its_first_tier_and_keeps_nothing() -> None:
    x = World("").plan()
    assert (choice(x), x.course, x.decision) == ("small", None, None)


def test_a_cascade_without_an_error_budget_goes_by_its_signals() -> None:
    x = World('strategy = "cascade"\nconfidence = 0.7').plan()
    shares: dict[Stratum, float] = {"confident": 1.0, "unsure": 0.0}
    assert stages(x) == (Stage("cascade", ("small",), shares, 0.7), Stage("cascade", ("mid",), shares, 0.7), LAST)
    assert choice(x) == "large"
    assert decided(x).tag is None
    assert "promise" not in decided(x).why
    assert decided(x).error_budget is None


def test_a_gate_compares_the_two_cheapest() -> None:
    assert stages(World('strategy = "gate"').plan()) == (GATE, LAST)


@pytest.mark.parametrize("strategy", ["cascade", "learned"])
def test_without_evidence_an_error_budget_is_kept_by_the_last_tier(strategy: str) -> None:
    x = World(f'strategy = "{strategy}"\nerror_budget = 0.03').plan()
    assert stages(x) == (LAST,)
    assert choice(x) == "large"
    assert "nothing has been measured on this route yet: the last tier answers" in decided(x).why
    assert (decided(x).tag, decided(x).error_budget) == ("a", 0.03)


def test_without_evidence_a_gate_is_the_plain_gate() -> None:
    x = World('strategy = "gate"\nerror_budget = 0.03').plan()
    assert stages(x) == (GATE, LAST)
    assert "both cheap tiers" in decided(x).why


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"at_ns": NOW - STALE_NS - 1}, "not been renewed for ten minutes"),
        ({"models": {**MODELS, "small": "llama-8b@2"}}, "another model of small"),
        ({"models": {"small": "llama-8b@1", "large": "big"}}, "another model of mid"),
        ({"tags": {}}, "nothing has been measured"),
        ({"tags": {"b": OTHER}}, "nothing is known of requests with this tag"),
    ],
)
def test_what_was_measured_does_not_count(change: dict[str, Any], why: str) -> None:
    world = World('strategy = "learned"\nerror_budget = 0.03\nconfidence = 0.8')
    world.prove(DRAFT, LAST, at_most=0.02)
    assert stages(world.plan()) == (DRAFT, LAST)
    policy = world.gateway.policies.of("r")
    world.gateway.policies.hear([msgspec.structs.replace(policy, **change)])
    x = world.plan()
    assert stages(x) == (LAST,)
    assert why in decided(x).why


def test_a_policy_without_a_label_says_as_little_as_none() -> None:
    world = World('strategy = "gate"\nerror_budget = 0.03')
    world.prove(LAST, state="closed", labels=0)
    assert stages(world.plan()) == (GATE, LAST)
    world.prove(LAST, state="alarm", labels=70)
    assert stages(world.plan()) == (LAST,)


def test_a_gate_that_nobody_watches_any_more_keeps_nothing() -> None:
    world = World('strategy = "gate"\nerror_budget = 0.03')
    world.prove(LAST, state="alarm", labels=70)
    policy = world.gateway.policies.of("r")
    world.gateway.policies.hear([msgspec.structs.replace(policy, at_ns=NOW - STALE_NS - 1)])
    assert stages(world.plan()) == (LAST,)


def test_what_is_expected_is_not_told_where_a_part_of_it_is_left_out() -> None:
    world = World('strategy = "learned"\nerror_budget = 0.03\nconfidence = 0.8')
    world.prove(DRAFT, LAST, expected_loss=0.01, at_most=0.02)
    x = exchange()
    x.permitted = frozenset({"here"})
    world.replan(x)
    assert [stage.tiers for stage in stages(x)] == [("small",), ("mid",)]
    assert decided(x).expected_loss is None
    assert "large may not be used" in decided(x).why


def test_a_proven_course_is_taken_with_its_loss() -> None:
    world = World('strategy = "learned"\nerror_budget = 0.03')
    world.prove(GATE, LAST, expected_loss=0.012, at_most=0.02)
    x = world.plan()
    assert stages(x) == (GATE, LAST)
    assert (decided(x).expected_loss, decided(x).why) == (0.012, "as measured")


def test_a_cheap_tier_that_is_proven_by_itself_answers_and_the_last_stands_by() -> None:
    world = World('strategy = "learned"\nerror_budget = 0.03')
    world.prove(Stage("direct", ("small",)))
    x = world.plan()
    assert stages(x) == (Stage("direct", ("small",)), LAST)
    assert choice(x) == "small"


def test_a_gate_takes_nothing_that_was_measured_about_a_cascade() -> None:
    world = World('strategy = "gate"\nerror_budget = 0.03\nconfidence = 0.8')
    world.prove(DRAFT, LAST)
    x = world.plan()
    assert stages(x) == (GATE, LAST)
    assert "another strategy than `gate`" in decided(x).why


@pytest.mark.parametrize(
    ("state", "figures", "asked", "open_"),
    [
        ("proven", {"at_most": 0.015, "loss_high": 0.05}, "0.02", True),
        ("proven", {"at_most": 0.025, "loss_high": 0.01}, "0.02", False),
        ("expected", {"at_most": 0.2, "loss_high": 0.019}, "0.02", True),
        ("expected", {"at_most": 0.2, "loss_high": 0.021}, "0.02", False),
        ("expected", {"expected_loss": 0.001}, "0.02", False),
        ("expected", {"loss_high": 0.021}, "0.03", True),
        ("expected", {"loss_high": 0.021}, "0.5", True),
        ("proven", {"at_most": 0.0001}, "0", False),
    ],
)
def test_a_header_tightens_the_error_budget_and_never_loosens_it(state: State, figures: dict[str, Any], asked: str, open_: bool) -> None:
    world = World('strategy = "learned"\nerror_budget = 0.03\nconfidence = 0.8')
    world.prove(DRAFT, LAST, state=state, **figures)
    x = world.plan(headers={"penstock-error-budget": asked})
    assert stages(x) == ((DRAFT, LAST) if open_ else (LAST,))
    assert decided(x).error_budget == min(0.03, float(asked))


def test_where_nothing_cheap_is_open_nothing_can_be_lost() -> None:
    world = World('strategy = "learned"\nerror_budget = 0.03')
    world.prove(LAST, state="closed")
    assert decided(world.plan(headers={"penstock-error-budget": "0.001"})).why == "as measured"


def test_who_asks_for_more_than_a_gate_promises_gets_the_last_tier() -> None:
    x = World('strategy = "gate"').plan(headers={"penstock-error-budget": "0.01"})
    assert stages(x) == (LAST,)


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("penstock-error-budget", "a little"),
        ("penstock-error-budget", "1.5"),
        ("penstock-error-budget", "-0.1"),
        ("penstock-error-budget", "nan"),
        ("penstock-max-latency", "800"),
        ("penstock-max-latency", "soon"),
        ("penstock-max-latency", "0ms"),
        ("penstock-preset", "carefull"),
    ],
)
def test_headers_that_say_nothing_are_refused(header: str, value: str) -> None:
    with pytest.raises(Refusal) as refused:
        World('strategy = "cascade"\n[routes.r.presets.careful]\nconfidence = 0.9').plan(headers={header: value})
    assert refused.value.status == 400
    assert refused.value.hint
    if header == "penstock-preset":
        assert "Did you mean `careful`?" in refused.value.hint


def test_a_model_that_was_asked_for_by_name_has_no_presets() -> None:
    world = World("")
    x = exchange(headers={"penstock-preset": "careful"})
    target = world.targets.find("s")
    assert target is not None
    with pytest.raises(Refusal, match="no preset"):
        asyncio.run(plan_course(world.gateway, x, target))


PRESETS = """
strategy = "cascade"
confidence = 0.8
presets.careful = { confidence = 0.95 }
presets.careless = { confidence = 0.1 }
presets.compare = { strategy = "gate" }
presets.best = { strategy = "fixed", tiers = ["large"] }
presets.upper = { tiers = ["large", "mid"] }
presets.promised = { error_budget = 0.01 }
"""


@pytest.mark.parametrize(
    ("preset", "kinds", "first", "confidence"),
    [
        ("careful", ["cascade", "cascade", "direct"], "small", 0.95),
        ("careless", ["cascade", "cascade", "direct"], "small", 0.8),
        ("compare", ["gate", "direct"], "small", None),
        ("upper", ["cascade", "direct"], "mid", 0.8),
        ("promised", ["direct"], "large", None),
    ],
)
def test_presets(preset: str, kinds: list[str], first: str, confidence: float | None) -> None:
    x = World(PRESETS).plan(headers={"penstock-preset": preset})
    assert [stage.kind for stage in stages(x)] == kinds
    assert (stages(x)[0].tiers[0], stages(x)[0].confidence) == (first, confidence)
    assert decided(x).preset == preset


def test_a_preset_that_is_fixed_is_told() -> None:
    x = World(PRESETS).plan(headers={"penstock-preset": "best"})
    assert (choice(x), x.course, decided(x).preset) == ("large", None, "best")


def test_a_preset_raises_the_confidence_of_what_was_proven() -> None:
    world = World('strategy = "learned"\nerror_budget = 0.03\npresets.careful = { confidence = 0.95 }')
    world.prove(DRAFT, LAST, at_most=0.01)
    (first, _) = stages(world.plan(headers={"penstock-preset": "careful"}))
    assert (first.confidence, first.shares) == (0.95, DRAFT.shares)


def test_a_class_of_its_own() -> None:
    world = World('strategy = "cascade"\nsla.critical = { error_budget = 0.01 }\nsla.best_effort = { strategy = "gate" }')
    for sla, first in (("critical", "direct"), ("best_effort", "gate"), ("standard", "cascade"), (None, "cascade")):
        x = exchange()
        x.sla = sla
        world.replan(x)
        assert stages(x)[0].kind == first, sla


def test_a_preset_goes_before_the_class() -> None:
    x = exchange(headers={"penstock-preset": "compare"})
    x.sla = "critical"
    World('strategy = "fixed"\nsla.critical = { strategy = "cascade" }\npresets.compare = { strategy = "gate" }').replan(x)
    assert stages(x) == (GATE, LAST)


def test_a_tier_that_may_not_be_used_is_left_out() -> None:
    for rules, tiers, expected in (
        (None, {"small", "large"}, ["small", "large"]),
        ({"there"}, None, ["large"]),
        ({"here"}, None, ["small", "mid"]),
        (None, {"mid"}, ["mid"]),
    ):
        x = exchange()
        x.permitted = None if rules is None else frozenset(rules)
        x.tiers = None if tiers is None else frozenset(tiers)
        World('strategy = "cascade"').replan(x)
        assert [stage.tiers[0] for stage in stages(x)] == expected
        assert stages(x)[-1].kind == "direct"
        assert choice(x) == expected[-1]


def test_the_last_tier_that_may_be_used_is_never_left_out() -> None:
    x = exchange("word " * 1000)
    x.tiers = frozenset({"small"})
    World('strategy = "cascade"').replan(x)
    assert stages(x) == (Stage("direct", ("small",)),)
    assert "left out" not in decided(x).why


def test_a_gate_without_both_of_its_tiers_is_none() -> None:
    x = exchange()
    x.tiers = frozenset({"mid", "large"})
    World('strategy = "gate"').replan(x)
    assert stages(x) == (LAST,)


def test_a_tier_that_the_request_does_not_fit_is_left_out() -> None:
    x = World('strategy = "cascade"').plan("word " * 1000)
    assert [stage.tiers for stage in stages(x)] == [("mid",), ("large",)]
    assert "small is left out: the request does not fit its context" in decided(x).why


@pytest.mark.parametrize(
    ("endpoint", "fields", "why"),
    [
        ("embeddings", {"input": "x"}, "no text"),
        ("/v1/messages/count_tokens", {}, "no text"),
        ("chat.completions", {"n": 2}, "several answers"),
        ("chat.completions", {"n": True}, "several answers"),
        ("completions", {"prompt": ["a", "b"]}, "several answers"),
        ("responses", {"background": True}, "background"),
        ("responses", {"previous_response_id": "resp_1"}, "more than stands in the request"),
        ("chat.completions", {"modalities": ["text", "audio"]}, "more than text"),
        ("chat.completions", {"tools": [{"type": "web_search"}]}, "more than stands in the request"),
        (
            "chat.completions",
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]}]},
            "more than stands in the request",
        ),
    ],
)
def test_what_cannot_be_judged_goes_to_the_last_tier(endpoint: str, fields: dict[str, Any], why: str) -> None:
    x = World('strategy = "cascade"').plan(endpoint=endpoint, **fields)
    assert stages(x) == (LAST,)
    assert why in decided(x).why


def test_n_of_one_and_tools_of_the_client_are_judged() -> None:
    x = World('strategy = "cascade"').plan(n=1, tools=[{"type": "function", "function": {"name": "f"}}])
    assert [stage.kind for stage in stages(x)] == ["cascade", "cascade", "direct"]


def test_evidence_can_be_kept_by_what_a_request_looks_like() -> None:
    world = World('strategy = "learned"\nerror_budget = 0.03\nby = ["feature", "task", "complexity"]')
    simple, hard = (
        world.plan("What is the capital of France?"),
        world.plan("Prove the theorem and derive the integral step by step."),
    )
    assert decided(simple).tag == "a / simple / fast"
    assert decided(hard).tag == "a / demanding / frontier"


def test_an_sla_with_words_of_its_own_goes_by_what_was_fitted_for_it() -> None:
    careful = RoutePolicy(
        route="r",
        at_ns=NOW,
        error_budget=0.01,
        models=MODELS,
        tags={"a": TagPolicy(tag="a", labels=9, state="closed", course=Course((LAST,)))},
    )
    world = World('strategy = "learned"\nerror_budget = 0.03\nsla = { critical = { error_budget = 0.01 } }')
    world.prove(GATE, LAST, sla={"critical": careful})
    standard, critical = world.plan(), exchange()
    critical.sla = "critical"
    world.replan(critical)
    assert stages(standard) == (GATE, LAST)
    assert stages(critical) == (LAST,)
