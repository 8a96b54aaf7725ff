"""The choice by complexity, conversations that only go up, and the coin of shadows."""

import time
from types import SimpleNamespace
from typing import Any

import pytest

from penstock.gateway.exchange import Exchange
from penstock.gateway.routing.sessions import Sessions, conversation_of
from tests.unit.gateway.planning_rig import BASE, DRAFT, LAST, World, choice, decided, exchange, stages

SIMPLE, MODERATE, HARD = (
    "Classify: nice",
    "Explain the plan of our garden and what it needs in spring",
    "Prove that the theorem of Pythagoras holds",
)


@pytest.mark.parametrize(
    ("route", "headers", "text", "tier"),
    [
        ("", {}, SIMPLE, "small"),  # no conditions and no wishes: the first, as ever
        ("", {}, HARD, "small"),
        ("error_budget = 0.05", {}, SIMPLE, "small"),
        ("error_budget = 0.05", {}, MODERATE, "mid"),
        ("error_budget = 0.05", {}, HARD, "large"),
        ("error_budget = 0.02", {}, SIMPLE, "large"),
        ("error_budget = 0.05", {"penstock-error-budget": "0.02"}, SIMPLE, "large"),
        ("", {"penstock-error-budget": "0.001"}, SIMPLE, "large"),
        ("", {"penstock-error-budget": "0.03"}, MODERATE, "mid"),
        ("", {"penstock-max-latency": "2s"}, MODERATE, "mid"),
    ],
)
def test_by_complexity(route: str, headers: dict[str, str], text: str, tier: str) -> None:
    x = World(f'strategy = "by_complexity"\n{route}').plan(text, headers=headers)
    assert choice(x) == tier, decided(x).why
    assert x.course is None
    assert x.complexity is not None
    assert f"complexity {x.complexity:.2f}" in decided(x).why


def test_a_small_budget_goes_before_the_conditions_of_the_tiers() -> None:
    conditional = BASE.replace('small = { model = "s" }', 'small = { model = "s", complexity = "< 0.9" }')
    world = World('strategy = "by_complexity"', conditional)
    assert choice(world.plan(MODERATE)) == "small"
    assert choice(world.plan(MODERATE, headers={"penstock-error-budget": "0.04"})) == "small"
    assert choice(world.plan(MODERATE, headers={"penstock-error-budget": "0.02"})) == "large"


def test_conversations_only_go_up() -> None:
    world = World('strategy = "cascade"\nsticky = "10m"')
    turn = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}, {"role": "user", "content": "and?"}]
    first = world.plan()
    assert [stage.tiers[0] for stage in stages(first)] == ["small", "mid", "large"]
    note(world, first, "mid")
    later = world.plan(messages=turn)
    assert [stage.tiers[0] for stage in stages(later)] == ["mid", "large"]
    assert decided(later).session == later.conversation == first.conversation
    assert "stays with mid or above" in decided(later).why
    note(world, later, "small")  # a fallback has answered
    assert [stage.tiers[0] for stage in stages(world.plan(messages=turn))] == ["mid", "large"]
    note(world, later, "large")
    assert stages(world.plan(messages=turn)) == (LAST,)


def test_only_answers_of_models_are_stayed_with() -> None:
    world = World('strategy = "cascade"\nsticky = "10m"')
    x = world.plan(headers={"penstock-session": "1"})
    for outcome, hit in (("ok", object()), ("error", None), ("client_closed", None)):
        stands_in: Any = hit
        x.hit = stands_in
        note(world, x, "large", outcome)
        assert x.conversation is not None
        assert world.gateway.sessions.floor(x.conversation) is None
    x.hit = None
    note(world, x, "nowhere")
    assert world.gateway.sessions.floor(x.conversation or "") is None


def test_another_conversation_that_begins_alike_is_another_one() -> None:
    world = World('strategy = "cascade"\nsticky = "10m"')
    note(world, world.plan(), "large")
    again = world.plan()
    assert stages(again)[0].tiers == ("small",)
    assert decided(again).session is None


def test_a_conversation_by_complexity_stays_up() -> None:
    world = World('strategy = "by_complexity"\nsticky = "10m"\nerror_budget = 0.05')
    named = {"penstock-session": "42"}
    x = world.plan(SIMPLE, headers=named)
    assert choice(x) == "small"
    note(world, x, "mid")
    assert choice(world.plan(SIMPLE, headers=named)) == "mid"
    assert choice(world.plan(SIMPLE, headers={"penstock-session": "43"})) == "small"


def note(world: World, x: Exchange, tier: str, outcome: str = "ok") -> None:
    record: Any = SimpleNamespace(outcome=outcome, tier=tier)
    world.gateway.sessions.note(x, record)


def test_conversations_of_two_keys_are_two() -> None:
    x, other = exchange(headers={"penstock-session": "1"}), exchange(headers={"penstock-session": "1"})
    other.key_id = "key_2"
    assert x.body is not None
    assert other.body is not None
    assert conversation_of(x, x.body, "r") != conversation_of(other, other.body, "r")
    assert conversation_of(x, x.body, "r") != conversation_of(x, x.body, "other route")


@pytest.mark.parametrize(
    "endpoint_body",
    [{"input": "hi", "prompt_cache_key": "k"}, {"input": 3}, {"messages": [None, {"role": "user", "content": 5}]}, {"prompt": [1, 2]}],
)
def test_odd_bodies_have_a_conversation_too(endpoint_body: dict[str, Any]) -> None:
    digest, goes_on = conversation_of(exchange(), endpoint_body, "r")
    assert len(digest) == 16
    assert goes_on is ("prompt_cache_key" in endpoint_body)


def test_the_longest_silent_conversation_is_forgotten_first() -> None:
    world = World('strategy = "cascade"\nsticky = "10m"')
    world.gateway.sessions = Sessions(most=2)
    exchanges = [world.plan(headers={"penstock-session": name}) for name in "abc"]
    for x in exchanges:
        note(world, x, "mid")
    kept = [world.gateway.sessions.floor(x.conversation) for x in exchanges]
    assert kept == [None, "mid", "mid"]


def test_a_conversation_that_was_silent_for_too_long_is_new() -> None:
    world = World('strategy = "cascade"\nsticky = "1ms"')
    x = world.plan(headers={"penstock-session": "a"})
    note(world, x, "mid")
    time.sleep(0.01)
    assert world.gateway.sessions.floor(x.conversation) is None


LEARNED = 'strategy = "learned"\nerror_budget = 0.03\nshadow = 0.5'


def test_the_coin_of_a_shadow_falls_as_often_as_it_says() -> None:
    world = World(LEARNED)
    world.gateway.shadows = object()
    plans = [decided(world.plan()) for _ in range(400)]
    assert {plan.shadow_propensity for plan in plans} == {0.5}
    assert 140 < sum(plan.shadowed for plan in plans) < 260
    world.prove(DRAFT, LAST, shadow=0.02)
    assert decided(world.plan()).shadow_propensity == 0.02


def test_a_shadowed_request_has_its_complexity() -> None:
    world = World(LEARNED)
    world.gateway.shadows = object()
    plans = [world.plan() for _ in range(40)]
    assert {(x.complexity is not None) for x in plans if decided(x).shadowed} == {True}


@pytest.mark.parametrize(
    ("fields", "headers"),
    [
        ({"tools": [{"type": "function"}]}, {}),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}]}]}, {}),
        ({"n": 3}, {}),
        ({}, {"penstock-cache": "no-store"}),
    ],
)
def test_what_is_never_shadowed(fields: dict[str, Any], headers: dict[str, str]) -> None:
    world = World(LEARNED)
    world.gateway.shadows = object()
    assert decided(world.plan(headers=headers, **fields)).shadow_propensity is None


def test_no_shadow_where_a_rule_or_a_key_forbids_a_tier_or_nobody_makes_them() -> None:
    world = World(LEARNED)
    assert decided(world.plan()).shadow_propensity is None
    world.gateway.shadows = object()
    x = exchange()
    x.permitted = frozenset({"here"})
    world.replan(x)
    assert decided(x).shadow_propensity is None


def test_the_tag_is_made_of_all_that_the_route_goes_by() -> None:
    world = World('strategy = "learned"\nerror_budget = 0.03\nby = ["feature", "team"]')
    assert decided(world.plan()).tag == "a / unknown"
    assert decided(World('strategy = "learned"\nerror_budget = 0.03\nby = []').plan()).tag == "all"
