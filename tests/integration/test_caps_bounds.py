"""What is held and booked where a request does not say what it costs: ends that nobody saw, odd numbers, files, fallbacks."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from penstock.domain.ledger.interrupted import interrupted
from penstock.domain.ledger.record import UsageRecord
from tests.integration.dialect_bodies import config
from tests.integration.gateway_rig import Rig, chat_body, fallback, message, on_loop, one_upstream, rig
from tests.integration.test_caps import cap
from tests.integration.upstream_rig import (
    STREAM_HEAD,
    Play,
    answer,
    chunked,
    completion,
    event,
    hanging,
    piece,
    resetting,
    scripted,
    stream,
    stream_events,
)

MOST = 1000
"""tokens that the clients of these tests ask for"""
WORDS = "the quick brown fox jumps over the lazy dog " * 5
CREATED = {"type": "response.created", "response": {"id": "resp_1", "object": "response", "status": "queued", "usage": None}}
BEGUN = {"type": "message_start", "message": {"id": "msg_1", "model": "real-m", "usage": {"input_tokens": 10, "output_tokens": 1}}}
PARTIAL = {"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11}


async def leave_after(running: Rig, path: str, body: dict[str, Any], sight: bytes) -> UsageRecord:
    """Asks for a stream and leaves once this much of it has come."""
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    writer.write(message("POST", path, orjson.dumps({"model": "m", "stream": True, **body}), None))
    await reader.readuntil(sight)
    writer.transport.abort()
    await running.settled()
    return running.record


def is_booked_whole(running: Rig) -> None:
    """The record and the purse have exactly what was held."""
    record = running.record
    assert record.reserved is not None and record.reserved > MOST * 2_000
    assert (record.cost, record.cost_basis, record.tokens_basis) == (record.reserved, "estimated", "estimated")
    assert running.journal.reservations[-1].worst_tokens == record.tokens
    assert running.gateway.purses is not None
    assert [purse.spent for purse in running.gateway.purses.all()] == [record.reserved]


@on_loop
async def test_a_response_in_the_background_that_nobody_saw_the_end_of_is_booked_whole() -> None:
    body = {"input": "hi", "background": True, "store": True, "max_output_tokens": MOST}
    for more in (cap("1 USD / day"), ""):
        async with (
            scripted(hanging(STREAM_HEAD + chunked(event(CREATED) + event(CREATED)))) as up,
            rig(config(up.url, rest=more), spent={}) as running,
        ):
            record = await leave_after(running, "/v1/responses", body, b"response.created")
            assert record.cost == record.reserved == running.journal.reservations[0].worst_case and record.tokens.output == MOST
            if more:
                is_booked_whole(running)


@pytest.mark.parametrize(
    ("path", "body", "sent", "sight"),
    [
        ("/v1/chat/completions", {"max_tokens": MOST}, [piece("")], b"}"),
        ("/v1/chat/completions", {"max_tokens": MOST}, [piece(WORDS)] * 5, b"lazy dog"),
        ("/v1/chat/completions", {"max_tokens": MOST}, [piece("a", usage=PARTIAL), piece("b", usage=PARTIAL)], b'"b"'),
        ("/v1/messages", {"max_tokens": MOST}, [BEGUN], b"message_start"),
    ],
)
@on_loop
async def test_a_stream_that_is_left_before_its_usage_is_booked_whole(
    path: str, body: dict[str, Any], sent: list[Any], sight: bytes
) -> None:
    question = {"messages": [{"role": "user", "content": "hi"}], "stream_options": {"include_usage": True}}
    kind = "anthropic" if path == "/v1/messages" else "openai"
    question = question if kind == "openai" else {"messages": question["messages"]}
    async with (
        scripted(hanging(STREAM_HEAD + chunked(b"".join(map(event, sent))))) as up,
        rig(config(up.url, kind, rest=cap("1 USD / day")), spent={}) as running,
    ):
        record = await leave_after(running, path, {**question, **body}, sight)
        assert record.outcome == "client_closed"
        is_booked_whole(running)


@pytest.mark.parametrize(
    ("play", "streamed"),
    [
        (answer(completion(usage=None)), False),
        (stream(stream_events(usage=None)), True),
        (resetting(STREAM_HEAD + chunked(event(piece("x")))), True),
        (answer(completion(usage={"prompt_tokens": -1})), False),
    ],
    ids=["whole", "stream", "broken", "not credible"],
)
@on_loop
async def test_an_answer_whose_usage_never_comes_is_booked_whole(play: Play, streamed: bool) -> None:
    async with scripted(play) as up, rig(one_upstream(up.url, upstream="retries = 0", more=cap("1 USD / day")), spent={}) as running:
        await running.chat(max_tokens=MOST, stream=streamed)
        await running.settled()
        is_booked_whole(running)


@on_loop
async def test_what_is_told_is_booked_as_told_and_the_rest_is_free() -> None:
    async with scripted(stream(stream_events())) as up, rig(one_upstream(up.url, more=cap("1 USD / day")), spent={}) as running:
        await running.chat(max_tokens=MOST, stream=True)
        assert (running.record.cost, running.record.cost_basis) == (20_000, "measured")
        assert running.gateway.purses is not None and [purse.spent for purse in running.gateway.purses.all()] == [20_000]


@on_loop
async def test_without_a_cap_the_estimate_is_never_below_the_text_that_was_seen() -> None:
    for texts, least in (([WORDS] * 5, 5 * len(WORDS) // 4), (["a"] * 7, 7)):
        async with scripted(stream(stream_events(*texts, usage=None))) as up, rig(one_upstream(up.url)) as running:
            await running.chat(max_tokens=MOST, stream=True)
            assert least <= running.record.tokens.output < least * 1.3 + 2


@on_loop
async def test_numbers_that_engines_read_are_held() -> None:
    async with scripted(answer(completion())) as up, rig(one_upstream(up.url, more=cap("1 USD / day")), spent={}) as running:
        held = {}
        for n in (1, 5, 5.0, "5"):
            assert (await running.chat("x", max_tokens=MOST, n=n)).status == 200
            held[repr(n)] = running.last.reserved or 0
        assert held["5"] == held["5.0"] == held["1"] + 4 * MOST * 2_000
        assert held["'5'"] == held["5"] + 1_000, "its digits are bytes of the request"
        odd: tuple[dict[str, Any], ...] = ({"n": [5]}, {"max_tokens": "many"}, {"max_tokens": {}})
        for fields in odd:
            reply = await running.chat("x", **{"max_tokens": MOST, **fields})
            assert reply.status == 400 and reply.error["code"] == "unbounded_cost"


@pytest.mark.parametrize(
    "more",
    [
        {"tools": [{"type": "web_search"}]},
        {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_data": "data:application/pdf;base64,AA"}}]}]},
    ],
)
@on_loop
async def test_input_that_the_body_does_not_show_takes_the_context_or_is_refused(more: dict[str, Any]) -> None:
    body = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 10, **more})
    for model, status in (("", 400), ("context = 100000", 200)):
        async with (
            scripted(answer(completion())) as up,
            rig(one_upstream(up.url, model=model, more=cap("1 USD / day")), spent={}) as running,
        ):
            assert (await running.ask("POST", "/v1/chat/completions", body)).status == status
            assert running.record.reserved == (100_000 * 1_000 + 10 * 2_000 if model else None)


def owned(first: str, second: str, budget: str, most: tuple[int, int] = (20, 400)) -> str:
    """`fallback`, with an own fleet at each upstream, a budget in GPU-hours, and the most that each model makes."""
    fleets = "".join(
        f'[fleets.{name}]\nupstream = "{upstream}"\ngpu = "L4"\nprice = "1 USD/gpu-hour"\nplanned_tokens_per_second = 100\n'
        for name, upstream in (("one", "first"), ("two", "second"))
    )
    text = fallback(first, second) + fleets + budget
    for model, tokens in zip(("cheap", "dear"), most, strict=True):
        text = text.replace(f"[models.{model}]", f"[models.{model}]\nmax_output = {tokens}")
    return text


@asynccontextmanager
async def hours(first: Play, second: Play, budget: str, most: tuple[int, int] = (20, 400)) -> AsyncIterator[Rig]:
    async with scripted(first) as one, scripted(second) as two, rig(owned(one.url, two.url, budget, most), spent={}) as running:
        yield running


def gpu_us(running: Rig) -> int:
    assert running.gateway.purses is not None
    [purse] = running.gateway.purses.all()
    return purse.spent


ASKED = chat_body(model="auto")


@on_loop
async def test_gpu_hours_hold_the_most_that_any_candidate_may_make() -> None:
    """400 tokens at 100 a second: 4 s of one GPU, though the fallback, which is dearer in USD, makes 20 at most."""
    for limit, status in (("0.001 gpu-hours / day", 402), ("0.0012 gpu-hours / day", 200)):
        async with hours(answer(completion()), answer(completion()), cap(limit), (400, 20)) as running:
            assert (await running.ask("POST", "/v1/chat/completions", ASKED)).status == status


@on_loop
async def test_gpu_hours_of_one_fleet_do_not_mind_a_fallback_to_another_without_a_plan() -> None:
    budget = cap("0.0001 gpu-hours / day", where='fleet = "one"')
    async with scripted(answer(completion())) as one, scripted(answer(completion())) as two:
        text = owned(one.url, two.url, budget)
        at = text.index("[fleets.two]")
        text = text[:at] + text[at:].replace("planned_tokens_per_second = 100\n", "", 1)
        async with rig(text, spent={}) as running:
            assert (await running.ask("POST", "/v1/chat/completions", ASKED)).status == 200
            assert gpu_us(running) == 5 * 10_000


@on_loop
async def test_tries_in_vain_count_in_gpu_hours() -> None:
    """20 tokens of the try that hung, 0.2 s, and then 5 of the answer, 0.05 s; or 400 of another that hung."""
    for second, spent in ((answer(completion()), 250_000), (hanging(), 4_200_000)):
        async with hours(hanging(), second, cap("0.01 gpu-hours / day")) as running:
            await running.ask("POST", "/v1/chat/completions", ASKED)
            await running.settled()
            assert gpu_us(running) == spent
    async with hours(hanging(), answer(completion()), cap(f"{4_100_000 / 3_600_000_000:.9f} gpu-hours / day")) as running:
        assert (await running.ask("POST", "/v1/chat/completions", ASKED)).status == 504, "4.0 s fit, 4.2 do not"
        assert gpu_us(running) == 200_000


@on_loop
async def test_a_crash_during_a_fallback_is_booked_on_the_fallback() -> None:
    async with scripted(resetting()) as one, scripted(answer(completion())) as two:
        async with rig(fallback(one.url, two.url), spent={}) as running:
            assert (await running.ask("POST", "/v1/chat/completions", chat_body(model="auto", max_tokens=9))).status == 200
            first, last = running.journal.reservations
            assert (first.model, last.model, first.id) == ("cheap", "dear", last.id) and last.worst_case == first.worst_case
            booked = interrupted(last)
            assert (booked.model, booked.tier, booked.upstream) == ("dear", "large", "second")
        async with rig(fallback(two.url, one.url, retries=1), spent={}) as running:
            await running.ask("POST", "/v1/chat/completions", chat_body(model="auto", max_tokens=9))
            assert len(running.journal.reservations) == 1, "nobody else was asked"


@on_loop
async def test_a_journal_that_fails_spends_nothing_where_nobody_was_asked() -> None:
    async with scripted(answer(completion())) as up, rig(one_upstream(up.url, more=cap("1 USD / day")), spent={}) as running:
        running.journal.failing = True
        assert (await running.chat(max_tokens=MOST)).status == 503
        assert running.gateway.purses is not None and not up.asked
        assert [purse.spent for purse in running.gateway.purses.all()] == [0]


@on_loop
async def test_a_journal_that_fails_after_the_reservation_leaves_it_whole() -> None:
    async with scripted(answer(completion())) as up, rig(one_upstream(up.url, more=cap("1 USD / day")), spent={}) as running:
        reserve = running.journal.reserve

        def then_fail(reservation: Any) -> None:
            reserve(reservation)
            running.journal.failing = True

        running.journal.reserve = then_fail  # type: ignore[method-assign]
        assert (await running.chat(max_tokens=MOST)).status == 503
        assert running.gateway.purses is not None
        assert [purse.spent for purse in running.gateway.purses.all()] == [running.journal.reservations[0].worst_case]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/files", 200),
        ("/v1/uploads/up_1/parts", 200),
        ("/v1/batches/batch_1/cancel", 200),
        ("/v1/responses/resp_1/cancel", 200),
        ("/v1/moderations", 400),
        ("/v1/batches", 400),
        ("/v1/files/../images/generations", 404),
        ("/v1/images/generations", 400),
    ],
)
@on_loop
async def test_only_calls_that_surely_cost_nothing_pass_a_cap_unpriced(path: str, status: int) -> None:
    async with scripted(answer({"id": "x"})) as up, rig(one_upstream(up.url, more=cap()), spent={}) as running:
        reply = await running.ask("POST", path, b"{}")
        assert (reply.status, len(up.asked)) == (status, int(status == 200))
        if status == 200:
            assert (running.record.cost, running.record.cost_basis) == (0, "measured")
        elif status == 400:
            assert "passed through" in reply.error["message"] and "`cap`" in reply.error["message"]
            assert "max_tokens" not in reply.error["message"] and reply.error["param"] is None
