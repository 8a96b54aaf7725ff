"""Standing directives steer: where they send a request, whom they leave alone, what the record says of it; rules always win."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from penstock.adapters.journal.reader import JournalDirectory
from penstock.adapters.stores.sqlite import SqliteStore
from penstock.finops import controller as controllers
from penstock.finops.controller import Controller
from penstock.finops.metrics import MetricsAggregator
from penstock.gateway import controller_link
from penstock.gateway.controller_link import ControllerLink
from penstock.gateway.exchange import Exchange, begin
from penstock.gateway.standing import Standing
from penstock.gateway.steering import held
from penstock.ports.directives import Directive, Response
from penstock.ports.key_store import ApiKey, fingerprint
from penstock.ports.usage_store import StoreError
from penstock.wire.client import Address, Pool, Timeouts
from penstock.wire.message import Request
from penstock.wire.responder import Responder
from tests.integration.gateway_rig import Rig, on_loop, rig
from tests.integration.upstream_rig import Scripted, answer, completion, scripted

GOOD = answer(completion())
MINUTE = 60 * 10**9
NOBODY = cast(Responder, None)
CONFIG = """
version = 1
[upstreams.near]
base_urls = ["{near}"]
retries = 0
[upstreams.far]
base_urls = ["{far}"]
retries = 0
[fleets.own]
upstream = "near"
gpu = "L40S"
[models.cheap]
upstream = "near"
price = {{ input = 1, output = 2 }}
context = 4000
[models.middling]
upstream = "far"
price = {{ input = 3, output = 6 }}
[models.dear]
upstream = "far"
price = {{ input = 10, output = 20 }}
[models.lonely]
upstream = "far"
price = {{ input = 10, output = 20 }}
[tiers]
small = {{ model = "cheap" }}
medium = {{ model = "middling" }}
large = {{ model = "dear" }}
[routes.auto]
tiers = ["large"]
fallback = ["small"]
[[rules]]
where = {{ data = "restricted" }}
only = ["far"]
{more}
"""


@asynccontextmanager
async def running(
    *, near: bytes = GOOD, far: bytes = GOOD, more: str = "", keys: Sequence[ApiKey] = ()
) -> AsyncIterator[tuple[Rig, Scripted, Scripted]]:
    async with (
        scripted(near) as first,
        scripted(far) as second,
        rig(CONFIG.format(near=first.url, far=second.url, more=more), keys=keys) as gateway,
    ):
        yield gateway, first, second


def directive(kind: Response = "shift_traffic", argument: str = "small", *, lasts_s: float = 60, **where: str) -> Directive:
    return directive_for(where, kind, argument, lasts_s)


def directive_for(where: dict[str, str], kind: Response = "shift_traffic", argument: str = "small", lasts_s: float = 60) -> Directive:
    now = time.time_ns()
    id = f"d-{kind}-{argument}"
    return Directive(id=id, kind=kind, objective="o", where=where, since_ns=now, until_ns=now + round(lasts_s * 10**9), argument=argument)


def tagged(**tags: str) -> dict[str, str]:
    return {f"penstock-tag-{name}": value for name, value in tags.items()}


@on_loop
async def test_traffic_is_shifted_and_its_record_says_by_what_and_from_where() -> None:
    async with running() as (gateway, near, far):
        gateway.gateway.standing.hear([directive(model="dear")])
        reply = await gateway.chat(model="auto")
        assert (reply.status, reply.headers["penstock-model"], reply.headers["penstock-tier"]) == (200, "cheap", "small")
        record = gateway.record
        assert (record.model, record.steered, record.steered_from) == ("cheap", "d-shift_traffic-small", "dear")
        assert record.cost == 10 * 1_000 + 5 * 2_000 and (len(near.asked), len(far.asked)) == (1, 0)


@on_loop
async def test_a_downgrade_goes_one_tier_down() -> None:
    async with running() as (gateway, _, _):
        gateway.gateway.standing.hear([directive("downgrade", "", model="dear")])
        assert (await gateway.chat(model="dear")).headers["penstock-model"] == "middling"
        assert (await gateway.chat(model="cheap")).headers["penstock-model"] == "cheap"
        assert [(record.steered_from) for record in gateway.records] == ["dear", None]


@on_loop
async def test_what_would_have_been_asked_stays_the_first_fallback() -> None:
    async with running(near=answer(b"{}", 503)) as (gateway, near, far):
        gateway.gateway.standing.hear([directive(model="dear")])
        reply = await gateway.chat(model="auto")
        assert (reply.status, reply.headers["penstock-route"]) == (200, "small>large")
        assert (gateway.record.model, gateway.record.steered_from) == ("dear", "dear") and (len(near.asked), len(far.asked)) == (1, 1)


@pytest.mark.parametrize("status", [400, 401, 404, 422])
@on_loop
async def test_what_a_stand_in_refuses_is_asked_of_the_model_that_was_asked_for(status: int) -> None:
    async with running(near=answer({"error": {"message": "no"}}, status), more="[cache.exact]\nenabled = false") as (gateway, near, far):
        gateway.gateway.standing.hear([directive(model="dear")])
        for streamed in (False, True):
            reply = await gateway.chat(f"streamed: {streamed}", model="auto", stream=streamed)
            assert (reply.status, reply.headers["penstock-route"]) == (200, "small>large"), reply.body
        assert {(record.model, record.outcome, record.cost) for record in gateway.records} == {("dear", "ok", 10 * 10_000 + 5 * 20_000)}
        assert [[(each.model, each.status) for each in record.attempts] for record in gateway.records] == [
            [("cheap", status), ("dear", 200)]
        ] * 2
        assert (len(near.asked), len(far.asked)) == (2, 2)


@on_loop
async def test_what_both_refuse_is_refused_in_the_words_of_the_model_that_was_asked_for() -> None:
    wrong = answer({"error": {"message": "far says no"}}, 400)
    async with running(near=answer({"error": {"message": "near says no"}}, 400), far=wrong) as (gateway, _, _):
        gateway.gateway.standing.hear([directive(model="dear")])
        reply = await gateway.chat(model="auto")
        assert (reply.status, reply.json["error"]["message"]) == (400, "far says no")
        assert (gateway.record.outcome, gateway.record.cost) == ("error", 0)


@pytest.mark.parametrize(
    ("where", "headers", "fields"),
    [
        ({"model": "dear"}, tagged(data="restricted"), {}),
        ({"model": "dear"}, tagged(sla="critical"), {}),
        ({"model": "cheap", "team": "other"}, {}, {}),
        ({"model": "middling"}, {}, {}),
        ({"model": "dear", "team": "search"}, tagged(team="support"), {}),
        ({"cache": "miss"}, {}, {}),
        ({"model": "dear"}, {}, {"max_tokens": 4_000}),
    ],
    ids=["rule", "critical", "other team", "other model", "tag differs", "known only afterwards", "too long for its context"],
)
@on_loop
async def test_who_is_left_alone(where: dict[str, str], headers: dict[str, str], fields: dict[str, Any]) -> None:
    async with running() as (gateway, near, _):
        gateway.gateway.standing.hear([directive_for(where)])
        assert (await gateway.chat("hi", headers, model="auto", **fields)).headers["penstock-model"] == "dear"
        assert (gateway.record.steered, gateway.record.steered_from, near.asked) == (None, None, [])


@on_loop
async def test_a_downgrade_skips_what_a_rule_forbids() -> None:
    rule = '[[rules]]\nwhere = { data = "near" }\nonly = ["near"]\n'
    async with running(more=rule) as (gateway, _, _):
        gateway.gateway.standing.hear([directive("downgrade", "", model="dear")])
        refused = await gateway.chat("hi", tagged(data="near"), model="dear")
        assert (refused.status, refused.headers["penstock-error"]) == (403, "rule")
        await gateway.chat("hi", tagged(data="restricted"), model="dear")
        assert gateway.last.model == "middling"


@pytest.mark.parametrize(
    ("models", "tiers", "asked", "answers"),
    [
        (("dear",), (), "dear", "dear"),
        (("dear", "cheap"), (), "dear", "cheap"),
        (("auto",), (), "auto", "cheap"),
        ((), ("large", "medium"), "auto", "dear"),
        ((), ("large", "small"), "auto", "cheap"),
    ],
)
@on_loop
async def test_a_key_is_not_steered_to_what_it_is_not_for(
    models: tuple[str, ...], tiers: tuple[str, ...], asked: str, answers: str
) -> None:
    key = ApiKey(id="key_a", prefix="psk_a", sha256=fingerprint("psk_a"), created_ns=1, models=models, tiers=tiers)
    async with running(keys=(key,)) as (gateway, _, _):
        gateway.gateway.standing.hear([directive(model="dear")])
        reply = await gateway.chat("hi", {"authorization": "Bearer psk_a"}, model=asked)
        assert reply.headers["penstock-model"] == answers


@on_loop
async def test_a_model_in_no_tier_and_embeddings_are_never_steered() -> None:
    vectors = {"object": "list", "data": [], "model": "m", "usage": {"prompt_tokens": 1, "total_tokens": 1}}
    async with running(far=answer(vectors)) as (gateway, _, _):
        gateway.gateway.standing.hear([directive()])
        await gateway.ask("POST", "/v1/embeddings", b'{"model": "dear", "input": "x"}')
    async with running() as (plain, _, _):
        plain.gateway.standing.hear([directive()])
        await plain.chat(model="lonely")
    assert [record.steered for record in (gateway.record, plain.record)] == [None, None]


@on_loop
async def test_an_own_fleet_that_idles_is_filled_by_others() -> None:
    async with running() as (gateway, _, _):
        gateway.gateway.standing.hear([directive(fleet="own", team="search")])
        for team, model in (("search", "dear"), ("search", "cheap"), ("support", "dear")):
            await gateway.chat("hi", tagged(team=team), model=model)
        assert [(record.model, record.steered_from) for record in gateway.records] == [("cheap", "dear"), ("cheap", None), ("dear", None)]


@on_loop
async def test_a_directive_that_nobody_renews_ends_by_itself() -> None:
    async with running() as (gateway, _, _):
        gateway.gateway.standing.hear([directive(lasts_s=-0.001)])
        await gateway.chat(model="auto")
        assert gateway.record.steered is None


@on_loop
async def test_the_oldest_directive_that_has_another_model_counts() -> None:
    async with running() as (gateway, _, _):
        first, second = directive("downgrade", "", model="dear"), directive(model="dear")
        older = msgspec.structs.replace(second, since_ns=first.since_ns - MINUTE)
        gateway.gateway.standing.hear([first, older])
        await gateway.chat(model="dear")
        gateway.gateway.standing.hear([first])
        await gateway.chat(model="dear")
        gateway.gateway.standing.hear([])
        await gateway.chat(model="dear")
        assert [record.model for record in gateway.records] == ["cheap", "middling", "dear"]


@on_loop
async def test_a_steered_answer_is_not_kept_as_the_chosen_models() -> None:
    async with running(more='[cache]\nexact = { ttl = "1h" }') as (gateway, near, far):
        gateway.gateway.standing.hear([directive(model="dear")])
        await gateway.chat(model="auto")
        gateway.gateway.standing.hear([])
        assert (await gateway.chat(model="auto")).headers["penstock-cache"] == "miss"
        assert (await gateway.chat(model="auto")).headers["penstock-cache"] == "exact"
        assert (len(near.asked), len(far.asked)) == (1, 1)


def best_effort(gateway: Rig, model: str = "auto", sla: str | None = "best_effort", **tags: str) -> Exchange:
    x = begin("chat.completions", Request("POST", "/v1/chat/completions", "/v1/chat/completions", "", [], b""), NOBODY)
    x.sla, x.tags, x.target = sla, tags, gateway.gateway.targets.find(model)
    return x


@on_loop
async def test_best_effort_is_held_while_a_hold_stands() -> None:
    async with running() as (gateway, _, _):
        wired = gateway.gateway
        assert not held(wired, best_effort(gateway))
        wired.standing.hear([directive("hold_best_effort", "", model="dear")])
        assert held(wired, best_effort(gateway)) and held(wired, best_effort(gateway, "dear"))
        assert not held(wired, best_effort(gateway, "cheap")) and not held(wired, best_effort(gateway, sla="standard"))
        wired.standing.hear([directive("hold_best_effort", "", team="search")])
        assert held(wired, best_effort(gateway, team="search")) and not held(wired, best_effort(gateway))
        wired.standing.hear([directive("hold_best_effort", "", lasts_s=-1)])
        assert not held(wired, best_effort(gateway))


def test_workers_hear_of_directives_and_keep_them_while_the_store_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controllers, "DIRECTIVES_S", 0.02)
    monkeypatch.setattr(controller_link, "REPORT_S", 0.02)
    said: list[Directive] | StoreError = StoreError("away")
    asked = 0

    def standing_now(now_ns: int) -> Sequence[Directive]:
        nonlocal asked
        asked += 1
        if isinstance(said, StoreError):
            raise said
        return said

    async def until_asked_again() -> None:
        seen = asked
        while asked < seen + 2:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.15)  # some reports of the worker

    @on_loop
    async def play() -> None:
        nonlocal said
        store, path = SqliteStore(tmp_path / "ledger.db"), str(tmp_path / "c.sock")
        metrics = MetricsAggregator((), "1")
        controller = Controller(JournalDirectory(tmp_path / "j"), store, metrics, lambda line: None, directives=standing_now)
        stop, standing = asyncio.Event(), Standing()
        link = ControllerLink(Pool(Address(unix_path=path), Timeouts(connect=1.0, first=5.0, idle=5.0), 10**6))
        heard: list[int] = []

        def hear(directives: Sequence[Directive]) -> None:
            heard.append(len(directives))
            standing.hear(directives)

        tasks = [
            asyncio.create_task(controller.run(path, stop)),
            asyncio.create_task(link.report(lambda: {"worker": "0"}, hear, lambda policies: None)),
        ]
        await until_asked_again()
        assert heard == [], "a controller that has not read the store yet says nothing"
        said = [directive(model="dear")]
        await until_asked_again()
        stands = [each.directive for each in standing.shifts]
        assert stands == said
        said = StoreError("away")
        await until_asked_again()
        assert [each.directive for each in standing.shifts] == stands
        said = []
        await until_asked_again()
        assert not standing.shifts
        tasks[1].cancel()
        stop.set()
        await tasks[0]
        store.close()

    play()
