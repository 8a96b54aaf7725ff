"""What clients may ask of a route: presets, tighter error budgets, quick answers; and a model that says how demanding a request is."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from penstock.domain.ledger.record import UsageRecord
from penstock.domain.routing.course import Course, Stage
from penstock.domain.routing.proving.policy import RoutePolicy, TagPolicy
from penstock.gateway.routing import classifying
from penstock.ports.directives import Directive
from penstock.ports.key_store import ApiKey, fingerprint
from tests.integration.gateway_rig import QUICK, Rig, on_loop, rig
from tests.integration.upstream_rig import Play, Scripted, answer, completion, hanging, scripted

SMALL, MID, LARGE = (answer(completion(f"{name} says so")) for name in ("small", "mid", "large"))
SIMPLE, HARD = "Classify: nice", "Prove that the theorem of Pythagoras holds"


def config(urls: dict[str, str], route: str, more: str = "") -> str:
    """Three tiers, each with an upstream of its own, and a fourth model that stands in no tier."""
    upstreams = "".join(f'[upstreams.{name}]\nbase_urls = ["{url}"]\nretries = 0\n{QUICK}\n' for name, url in urls.items())
    models = "".join(
        f'[models.{name}-model]\nupstream = "{name}"\nmax_output = 100\nprice = {{ input = {price}, output = {price} }}\n'
        for price, name in enumerate(urls, 1)
    )
    tiers = "".join(f'{name} = {{ model = "{name}-model" }}\n' for name in urls if name != "asked")
    head = f"version = 1\n{upstreams}{models}[tiers]\n{tiers}"
    return f'{head}[routes.auto]\ntiers = ["small", "mid", "large"]\n{route}\n{more}'


@asynccontextmanager
async def running(route: str, more: str = "", asked: Play = SMALL, **rest: Any) -> AsyncIterator[tuple[Rig, dict[str, Scripted]]]:
    """A gateway in front of four upstreams; `asked` is what the one without a tier plays."""
    async with scripted(SMALL) as small, scripted(MID) as mid, scripted(LARGE) as large, scripted(asked) as other:
        upstreams = {"small": small, "mid": mid, "large": large, "asked": other}
        async with rig(config({name: each.url for name, each in upstreams.items()}, route, more), **rest) as gateway:
            yield gateway, upstreams


def prove(gateway: Rig, *stages: Stage, at_ns: int | None = None) -> None:
    """As if the controller had said so of the only tag `unknown` of the route `auto`."""
    tag = TagPolicy(tag="unknown", labels=100, state="proven", course=Course(stages, "as measured"), at_most=0.01, expected_loss=0.004)
    models = {name: f"{name}-model" for name in ("small", "mid", "large")}
    now_ns = time.time_ns() if at_ns is None else at_ns
    gateway.gateway.policies.hear([RoutePolicy(route="auto", at_ns=now_ns, error_budget=0.03, models=models, tags={"unknown": tag})])


def why(record: UsageRecord) -> str:
    assert record.route_decision is not None
    return record.route_decision.why


PRESETS = 'strategy = "by_complexity"\npresets.best = { strategy = "fixed", tiers = ["large"] }\npresets.safe = { error_budget = 0.01 }'


@on_loop
async def test_a_preset_chooses_another_way_and_stands_on_the_record() -> None:
    async with running(PRESETS) as (gateway, _):
        usual = await gateway.chat(SIMPLE, model="auto")
        best = await gateway.chat(SIMPLE, {"penstock-preset": "best"}, model="auto")
        safe = await gateway.chat(SIMPLE, {"penstock-preset": "safe"}, model="auto")
        assert [reply.headers["penstock-tier"] for reply in (usual, best, safe)] == ["small", "large", "large"]
        assert [reply.headers["penstock-cache"] for reply in (usual, best, safe)] == ["miss"] * 3
        presets = [each.route_decision.preset for each in gateway.records if each.route_decision is not None]
        assert presets == [None, "best", "safe"]
        assert "error budget of 0.01 is for the last tier only" in why(gateway.last)


@on_loop
async def test_an_unknown_preset_is_refused_and_nobody_is_asked() -> None:
    async with running(PRESETS) as (gateway, upstreams):
        reply = await gateway.chat(SIMPLE, {"penstock-preset": "bset"}, model="auto")
        assert reply.status == 400
        assert reply.error["code"] == "preset_not_found"
        assert "Did you mean `best`" in reply.error["message"]
        by_name = await gateway.chat(SIMPLE, {"penstock-preset": "best"}, model="large-model")
        assert by_name.status == 400
        assert not any(each.asked for each in upstreams.values())


@pytest.mark.parametrize("header", ["penstock-error-budget", "penstock-max-latency"])
def test_garbage_in_a_header_is_refused(header: str) -> None:
    @on_loop
    async def scenario() -> None:
        async with running(PRESETS) as (gateway, _):
            reply = await gateway.chat(SIMPLE, {header: "a bit"}, model="auto")
            assert reply.status == 400
            assert header in reply.error["message"]

    scenario()


@on_loop
async def test_a_tight_budget_is_not_answered_from_what_a_loose_one_was_told() -> None:
    async with running('strategy = "by_complexity"') as (gateway, upstreams):
        first = await gateway.chat(SIMPLE, model="auto")
        tight = await gateway.chat(SIMPLE, {"penstock-error-budget": "0.01"}, model="auto")
        again = await gateway.chat(SIMPLE, {"penstock-error-budget": "0.01"}, model="auto")
        assert [each.headers["penstock-tier"] for each in (first, tight, again)] == ["small", "large", "large"]
        assert again.headers["penstock-cache"] == "exact"
        assert len(upstreams["large"].asked) == 1


@on_loop
async def test_a_class_with_words_of_its_own_has_a_cache_of_its_own() -> None:
    async with running('strategy = "by_complexity"\nsla.critical = { error_budget = 0.01 }') as (gateway, _):
        tiers = []
        for sla in ("standard", "critical", "best_effort"):
            reply = await gateway.chat(SIMPLE, {"penstock-tag-sla": sla}, model="auto")
            tiers.append((reply.headers["penstock-tier"], reply.headers["penstock-cache"]))
        assert tiers == [("small", "miss"), ("large", "miss"), ("small", "exact")]


@on_loop
async def test_our_headers_are_not_passed_on() -> None:
    async with running('strategy = "by_complexity"') as (gateway, upstreams):
        headers = {"penstock-error-budget": "0.3", "penstock-max-latency": "2s", "penstock-session": "s"}
        await gateway.chat(SIMPLE, headers, model="auto")
        assert not [name for name in upstreams["small"].asked[0].headers if name.startswith("penstock")]


@on_loop
async def test_a_wish_for_a_quick_answer_goes_by_what_was_measured() -> None:
    async with running('strategy = "by_complexity"') as (gateway, _):
        unknown = await gateway.chat(SIMPLE, {"penstock-max-latency": "10s", "penstock-cache": "no-store"}, model="auto")
        assert unknown.headers["penstock-tier"] == "small"
        assert "not known yet" in why(gateway.last)
        for _ in range(30):
            await gateway.chat(SIMPLE, {"penstock-cache": "no-store"}, model="large-model")
            await gateway.chat(SIMPLE, {"penstock-cache": "no-store"}, model="small-model")
        known = await gateway.chat(SIMPLE, {"penstock-max-latency": "10s", "penstock-cache": "no-store"}, model="auto")
        assert known.headers["penstock-tier"] == "small"
        assert "small answers within" in why(gateway.last)


@on_loop
async def test_what_the_controller_has_proven_is_gone_by_until_it_is_away() -> None:
    async with running('strategy = "learned"\nerror_budget = 0.03\nshadow = 0.0\ncache = "off"') as (gateway, upstreams):
        assert (await gateway.chat(SIMPLE, model="auto")).headers["penstock-route"] == "large"
        prove(gateway, Stage("direct", ("mid",)))
        assert (await gateway.chat(SIMPLE, model="auto")).headers["penstock-route"] == "mid"
        decision = gateway.last.route_decision
        assert decision is not None
        assert (decision.tag, decision.error_budget, decision.expected_loss, decision.why) == ("unknown", 0.03, 0.004, "as measured")
        careful = await gateway.chat(SIMPLE, {"penstock-error-budget": "0.001"}, model="auto")
        assert careful.headers["penstock-route"] == "large"
        upstreams["mid"].plays = [answer({}, 503)]
        assert (await gateway.chat(SIMPLE, model="auto")).headers["penstock-route"] == "mid>large"
        prove(gateway, Stage("direct", ("mid",)), at_ns=1)
        assert (await gateway.chat(SIMPLE, model="auto")).headers["penstock-route"] == "large"


@on_loop
async def test_a_proven_gate_is_gone_through() -> None:
    async with running('strategy = "learned"\nerror_budget = 0.03\nshadow = 0.0') as (gateway, upstreams):
        prove(gateway, Stage("gate", ("small", "mid"), {"agree": 1.0}), Stage("direct", ("large",)))
        reply = await gateway.chat(SIMPLE, model="auto")
        assert (reply.status, reply.headers["penstock-route"]) == (200, "small+mid>large"), "they differ"
        assert [len(upstreams[name].asked) for name in ("small", "mid", "large")] == [1, 1, 1]
        assert {record.purpose for record in gateway.records} == {"draft", "vote", None}


@on_loop
async def test_an_objective_steers_no_route_past_its_error_budget() -> None:
    for budget, tier in (("", "small"), ("error_budget = 0.05\nshadow = 0.0", "large")):
        async with running(f'strategy = "by_complexity"\n{budget}\npresets.best = {{ strategy = "fixed", tiers = ["large"] }}') as (
            gateway,
            _,
        ):
            now_ns = time.time_ns()
            shift = Directive(
                id="d", kind="shift_traffic", objective="s", since_ns=now_ns, until_ns=now_ns + 10**12, where={}, argument="small"
            )
            gateway.gateway.standing.hear([shift])
            reply = await gateway.chat(HARD, {"penstock-preset": "best"}, model="auto")
            assert reply.headers["penstock-tier"] == tier
            assert (gateway.record.steered is None) == (tier == "large")


CLASSIFIED = 'strategy = "by_complexity"\nclassifier = "asked-model"'


def says(text: str) -> Play:
    return answer(completion(text))


@pytest.mark.parametrize(
    ("said", "tier"), [("fast", "small"), ("Balanced.", "mid"), ("It needs a frontier model", "large"), ("0.95", "large"), ("0.1", "small")]
)
def test_a_classifier_says_which_tier(said: str, tier: str) -> None:
    @on_loop
    async def scenario() -> None:
        route = CLASSIFIED + ("\nerror_budget = 0.05\nshadow = 0.0" if said[0] == "0" else "")
        async with running(route, asked=says(said)) as (gateway, upstreams):
            reply = await gateway.chat(HARD, model="auto")
            assert reply.headers["penstock-tier"] == tier
            aside, record = gateway.records
            assert (aside.purpose, aside.parent, aside.model) == ("classifier", record.id, "asked-model")
            assert aside.cost == 15 * 4 * 1000
            assert "says asked-model" in why(record)
            (asked,) = upstreams["asked"].asked
            assert HARD in asked.json["messages"][-1]["content"]
            assert asked.json["max_tokens"] <= 8

    scenario()


@pytest.mark.parametrize(
    ("played", "trouble"),
    [
        (says("42 is the answer"), "it says `42 is"),
        (says("fast or balanced"), "it says"),
        (answer({}, 500), "upstream status 500"),
        (hanging(), ""),
    ],
)
def test_without_a_word_of_the_classifier_the_heuristic_decides(played: Play, trouble: str) -> None:
    @on_loop
    async def scenario() -> None:
        async with running(CLASSIFIED + "\nerror_budget = 0.05\nshadow = 0.0", asked=played) as (gateway, _):
            reply = await gateway.chat(HARD, model="auto")
            assert (reply.status, reply.headers["penstock-tier"]) == (200, "large")
            assert "the classifier was of no use: " + trouble in why(gateway.last)
            assert "complexity 0.87" in why(gateway.last)

    scenario()


@on_loop
async def test_a_classifier_brings_no_conversation_down_and_is_not_asked_where_the_budget_decides() -> None:
    async with running(CLASSIFIED + '\nsticky = "10m"', asked=says("fast")) as (gateway, upstreams):
        strict = await gateway.chat(SIMPLE, {"penstock-session": "one", "penstock-error-budget": "0.02"}, model="auto")
        assert strict.headers["penstock-tier"] == "large"
        assert not upstreams["asked"].asked
        later = await gateway.chat(SIMPLE, {"penstock-session": "one"}, model="auto")
        assert later.headers["penstock-tier"] == "large"
        assert len(upstreams["asked"].asked) == 1
        assert (await gateway.chat(SIMPLE, {"penstock-session": "two"}, model="auto")).headers["penstock-cache"] == "exact"
        assert (await gateway.chat(SIMPLE + "!", {"penstock-session": "two"}, model="auto")).headers["penstock-tier"] == "small"


@on_loop
async def test_a_classifier_that_a_rule_forbids_is_not_asked() -> None:
    rule = '[[rules]]\nwhere = { data = "restricted" }\nonly = ["small", "mid", "large"]'
    async with running(CLASSIFIED, rule, asked=says("frontier")) as (gateway, upstreams):
        reply = await gateway.chat(SIMPLE, {"penstock-tag-data": "restricted"}, model="auto")
        assert reply.headers["penstock-tier"] == "small"
        assert not upstreams["asked"].asked
        assert "classifier" not in why(gateway.last)


@on_loop
async def test_a_classifier_is_not_asked_where_the_cache_has_the_answer() -> None:
    async with running(CLASSIFIED, asked=says("balanced")) as (gateway, upstreams):
        for _ in range(2):
            reply = await gateway.chat(SIMPLE, model="auto")
        assert (reply.headers["penstock-cache"], reply.headers["penstock-tier"]) == ("exact", "mid")
        assert len(upstreams["asked"].asked) == 1


@on_loop
async def test_a_classifier_falls_under_a_hard_cap() -> None:
    cap = '[[budgets]]\nname = "all"\nlimit = "1 USD / day"\nat_limit = "refuse"'
    async with running(CLASSIFIED, cap, asked=says("frontier"), spent={}) as (gateway, _):
        reply = await gateway.chat(SIMPLE, model="auto")
        assert reply.headers["penstock-tier"] == "large"
        assert sum(record.cost or 0 for record in gateway.records) == 15 * (4 + 3) * 1000


@on_loop
async def test_a_classifier_that_takes_too_long_is_let_go_and_paid_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifying, "TIMEOUT_S", 0.05)
    async with running(CLASSIFIED, asked=hanging()) as (gateway, _):
        reply = await gateway.chat(SIMPLE, model="auto")
        assert (reply.status, reply.headers["penstock-tier"]) == (200, "small")
        assert "it took longer than 0.05 s" in why(gateway.last)
        (aside,) = gateway.records[:-1]
        assert (aside.purpose, aside.outcome, aside.parent) == ("classifier", "interrupted", gateway.last.id)
        assert aside.cost


@on_loop
async def test_a_classifier_names_no_tier_that_a_budget_has_taken_out() -> None:
    cap = '[[budgets]]\nname = "all"\nlimit = "0.00035 USD / day"\nat_limit = "downgrade"'
    free = '[models.free]\nupstream = "asked"\nprice = { input = 0, output = 0 }'
    route = CLASSIFIED.replace("asked-model", "free")
    async with running(route, f"{free}\n{cap}", asked=says("frontier"), spent={}) as (gateway, upstreams):
        reply = await gateway.chat(SIMPLE, model="auto")
        assert (reply.status, reply.headers["penstock-tier"]) == (200, "small")
        assert len(upstreams["asked"].asked) == 1
        assert "frontier, says free" in why(gateway.last)
        assert not upstreams["large"].asked


@on_loop
async def test_an_objective_that_shifts_traffic_goes_past_the_stages_of_a_route_without_promises() -> None:
    async with running('strategy = "cascade"') as (gateway, upstreams):
        now_ns = time.time_ns()
        shift = Directive(id="d", kind="shift_traffic", objective="s", since_ns=now_ns, until_ns=now_ns + 10**12, where={}, argument="mid")
        gateway.gateway.standing.hear([shift])
        reply = await gateway.chat(SIMPLE, model="auto")
        assert reply.headers["penstock-route"] == "mid"
        assert [len(upstreams[name].asked) for name in ("small", "mid", "large")] == [0, 1, 0]


@on_loop
async def test_a_key_for_cheap_tiers_gets_nothing_less_careful_than_it_asked_for() -> None:
    key = ApiKey(id="key_1", prefix="psk_1", sha256=fingerprint("psk_1"), created_ns=1, tiers=("small",))
    async with running(PRESETS, keys=[key]) as (gateway, upstreams):
        headers = {"authorization": "Bearer psk_1"}
        assert (await gateway.chat(HARD, headers, model="auto")).headers["penstock-tier"] == "small"
        refused = await gateway.chat(HARD, {**headers, "penstock-preset": "best"}, model="auto")
        assert refused.status == 403
        assert len(upstreams["small"].asked) == 1
