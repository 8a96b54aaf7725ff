"""What own fleets worked for, in vain or not, stands on the record apart from what providers bill."""

from typing import Any

import orjson
import pytest

from penstock.domain.dialects.tokens import NO_TOKENS, Tokens
from penstock.domain.ledger.measures import sums_of
from penstock.domain.ledger.record import WastedWork, billed_of, is_unbooked, own_tokens, provisional_of
from tests.integration.dialect_bodies import config
from tests.integration.gateway_rig import Rig, chat_body, on_loop, rig
from tests.integration.test_metering import SOUND, nano, prices
from tests.integration.upstream_rig import (
    STREAM_HEAD,
    Play,
    answer,
    chunked,
    closing,
    completion,
    event,
    hanging,
    piece,
    scripted,
    stream,
    stream_events,
)


def two(first: str, second: str, fleets: str) -> str:
    """Route `auto`: `own` at the first upstream (USD 1 and 1 per million), then `api` at the second (USD 10 and 10)."""
    quick = 'timeout = { connect = "200ms", first_token = "200ms", idle = "200ms" }\nretries = 0'
    owned = "".join(
        f'[fleets.{name}]\nupstream = "{upstream}"\ngpu = "L4"\nprice = "1 USD/gpu-hour"\n'
        for name, upstream in map(str.split, fleets.split(","))
    )
    return f"""
version = 1
[upstreams.one]
base_urls = ["{first}"]
{quick}
[upstreams.two]
base_urls = ["{second}"]
{quick}
[models.own]
upstream = "one"
price = {{ input = 1, output = 1 }}
[models.api]
upstream = "two"
price = {{ input = 10, output = 10 }}
[tiers]
small = {{ model = "own" }}
[routes.auto]
tiers = ["small"]
fallback = ["api"]
{owned}"""


async def routed(running: Rig, **fields: Any) -> None:
    await running.ask("POST", "/v1/chat/completions", chat_body("hi " * 40, model="auto", max_tokens=50, **fields))
    await running.settled()


@on_loop
async def test_a_fleet_that_answers_is_provisional_by_itself() -> None:
    async with scripted(answer(completion())) as upstream, rig(two(upstream.url, upstream.url, "gpus one")) as running:
        await routed(running)
        record = running.record
        assert (record.fleet, record.provisional, record.wasted_work) == ("gpus", None, ())
        assert provisional_of(record) == record.cost == nano(all=15 * 1)


@pytest.mark.parametrize(
    ("fleets", "own_wasted", "own_answered"),
    [("gpus one", True, False), ("gpus two", False, True), ("left one, right two", True, True)],
)
@on_loop
async def test_the_part_of_own_fleets_is_told_apart_from_what_a_provider_bills(fleets: str, own_wasted: bool, own_answered: bool) -> None:
    async with (
        scripted(hanging()) as first,
        scripted(answer(completion())) as second,
        rig(two(first.url, second.url, fleets)) as running,
    ):
        await routed(running)
        record = running.record
        assert record.cost is not None and record.wasted_cost is not None
        answered = nano(all=15 * 10)
        assert record.cost == answered + record.wasted_cost
        assert provisional_of(record) == (record.wasted_cost if own_wasted else 0) + (answered if own_answered else 0)
        assert record.provisional is None if own_wasted and own_answered else record.provisional is not None
        assert record.cost_basis == "estimated"
        if not own_wasted:
            assert record.wasted_work == ()
            return
        work = record.wasted_work[0]
        assert (work.fleet, len(record.wasted_work)) == (fleets.split()[0], 1)
        assert 20 < work.tokens.input < 120, "weighed by the length of its text, not by the bound of its worst case"
        assert 10 <= work.tokens.output <= 50, "the time that there was for it, within its limit"


@on_loop
async def test_when_nothing_answers_all_that_fleets_did_is_waste() -> None:
    async with scripted(hanging()) as upstream, rig(two(upstream.url, upstream.url, "gpus one")) as running:
        await routed(running)
        record = running.record
        assert (record.outcome, record.fleet, record.cost) == ("error", None, record.wasted_cost)
        assert [work.fleet for work in record.wasted_work] == ["gpus"]
        assert record.cost is not None and record.provisional is not None
        assert record.provisional * 11 == record.cost, "the same bound at both, at USD 1 and at USD 10"


@on_loop
async def test_an_answer_that_was_made_but_cannot_be_told_is_waste_by_its_own_count() -> None:
    odd = completion()
    odd["choices"][0]["message"]["tool_calls"] = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "not json"}}]
    async with scripted(answer(odd)) as first, scripted(answer(completion())) as second:
        toml = two(first.url, second.url, "gpus one").replace("retries = 0", 'retries = 0\nspeaks = ["chat"]')
        async with rig(toml) as running:
            body = {"model": "auto", "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]}
            await running.ask("POST", "/v1/messages", orjson.dumps(body))
            await running.settled()
            record = running.record
            assert [(work.fleet, work.tokens) for work in record.wasted_work] == [("gpus", Tokens(10, 0, 0, 5, 0))]
            assert (record.wasted_cost, record.provisional) == (nano(all=15 * 1), nano(all=15 * 1))
            assert (record.cost, record.cost_basis) == (nano(all=15 * 11), "measured")


@on_loop
async def test_without_an_answer_only_wasted_work_weighs_on_fleets() -> None:
    """The record's tokens are the worst case of all tries, of those at providers too."""
    async with scripted(hanging()) as upstream, rig(two(upstream.url, upstream.url, "gpus two")) as running:
        await routed(running)
        record = running.record
        assert (record.outcome, record.fleet, [work.fleet for work in record.wasted_work]) == ("error", "gpus", ["gpus"])
        assert record.tokens.input > 2 * record.wasted_work[0].tokens.input
        assert own_tokens(record) == NO_TOKENS


@on_loop
async def test_a_fleet_that_only_refused_bears_nothing_of_what_a_provider_was_asked() -> None:
    async with (
        scripted(hanging()) as first,
        scripted(answer({"error": {"message": "no"}}, status=500)) as second,
        rig(two(first.url, second.url, "gpus two")) as running,
    ):
        await routed(running)
        record = running.record
        assert (record.outcome, record.fleet, record.wasted_work) == ("error", "gpus", (WastedWork("gpus", NO_TOKENS),))
        assert record.tokens.total > 0 == own_tokens(record).total
        assert billed_of(record) == record.wasted_cost == record.cost


@on_loop
async def test_an_answer_that_broke_off_is_wasted_work_beside_the_tries_before_it() -> None:
    async with (
        scripted(hanging()) as first,
        scripted(closing(STREAM_HEAD + chunked(event(piece("hello"))))) as second,
        rig(two(first.url, second.url, "left one, right two")) as running,
    ):
        await routed(running, stream=True)
        record = running.record
        assert (record.outcome, record.fleet) == ("stream_broken", "right")
        assert [work.fleet for work in record.wasted_work] == ["left", "right"]
        assert record.wasted_work[1].tokens == record.tokens != NO_TOKENS == own_tokens(record)


def free(toml: str, model: str) -> str:
    """Without the price of `own` or `api`."""
    rate = {"own": 1, "api": 10}[model]
    return toml.replace(f"price = {{ input = {rate}, output = {rate} }}\n", "")


@pytest.mark.parametrize("answers", [True, False])
@on_loop
async def test_what_a_provider_bills_is_not_lost_behind_a_fleet_without_a_price(answers: bool) -> None:
    async with (
        scripted(hanging()) as first,
        scripted(answer(completion()) if answers else hanging()) as second,
        rig(free(two(first.url, second.url, "gpus two"), "api")) as running,
    ):
        await routed(running)
        record = running.record
        assert (record.outcome, record.fleet, record.cost, record.cost_basis) == ("ok" if answers else "error", "gpus", None, "unknown")
        bound = Tokens(record.wasted_work[0].tokens.input, 0, 0, 50, 0) if not answers else Tokens(40, 0, 0, 50, 0)
        assert record.wasted_cost is not None and record.wasted_cost > nano(least=bound.total * 1)
        assert (is_unbooked(record), provisional_of(record), billed_of(record)) == (True, 0, record.wasted_cost)
        sums = sums_of(record)
        assert (sums.cost - sums.provisional, sums.priced, sums.unbooked) == (record.wasted_cost, 0, 1)


@on_loop
async def test_the_part_of_a_priced_fleet_is_told_apart_before_a_fleet_without_a_price() -> None:
    async with (
        scripted(hanging()) as first,
        scripted(answer(completion())) as second,
        rig(free(two(first.url, second.url, "left one, right two"), "api")) as running,
    ):
        await routed(running)
        record = running.record
        assert record.cost is None and record.wasted_cost
        assert (is_unbooked(record), provisional_of(record), billed_of(record)) == (True, record.wasted_cost, 0)


@pytest.mark.parametrize("answers", [True, False])
@on_loop
async def test_a_try_on_a_fleet_without_a_price_hides_nothing_of_what_a_provider_bills(answers: bool) -> None:
    async with (
        scripted(hanging()) as first,
        scripted(answer(completion()) if answers else hanging()) as second,
        rig(free(two(first.url, second.url, "gpus one"), "own")) as running,
    ):
        await routed(running)
        record = running.record
        assert (record.fleet, [work.fleet for work in record.wasted_work]) == (None, ["gpus"])
        assert record.cost is not None and record.cost == billed_of(record)
        assert record.cost == (nano(all=15 * 10) if answers else record.wasted_cost) != 0
        assert record.cost_basis == "estimated"


@on_loop
async def test_counting_tokens_in_vain_is_no_work() -> None:
    toml = config("URL", "anthropic").replace("2s", "200ms")
    async with scripted(hanging()) as upstream, rig(toml.replace("URL", upstream.url)) as running:
        body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
        await running.ask("POST", "/v1/messages/count_tokens", orjson.dumps(body))
        await running.settled()
        assert (running.record.outcome, running.record.cost, running.record.tokens) == ("error", 0, NO_TOKENS)


# -- replayed answers


@pytest.mark.parametrize("play", [answer(completion(usage=SOUND)), stream(stream_events(usage=SOUND))], ids=["whole", "streamed"])
@on_loop
async def test_a_replayed_answer_processes_nothing_and_costs_exactly_nothing(play: Play) -> None:
    async with scripted(play) as upstream, rig(prices(upstream.url)) as running:
        for _ in range(2):
            await running.chat(stream=isinstance(play, bytes) and b"event-stream" in play)
            await running.settled()
        made, replayed = running.records
        assert (replayed.cache, len(upstream.asked)) == ("exact", 1)
        assert (replayed.tokens, replayed.parts, replayed.processing, replayed.wasted_work) == (Tokens(), {}, None, ())
        assert (replayed.cost, replayed.cost_basis, replayed.provisional, provisional_of(replayed)) == (0, "measured", None, 0)
        assert replayed.recalled == made.tokens
        assert replayed.list_cost is not None and replayed.input_cost is not None and 0 < replayed.input_cost < replayed.list_cost
