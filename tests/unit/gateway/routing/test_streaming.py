"""Streams on which one answer goes on after another: what is passed on, what waits, and the usage and the id of all."""

import asyncio
from typing import Any

import orjson
import pytest

from penstock.domain.dialects.sse import chunk_of, split_events
from penstock.gateway.exchange import Exchange, begin
from penstock.gateway.routing.streaming import Buffer, Live, Thread, with_costs
from penstock.ports.upstream import UpstreamError
from penstock.wire.message import Request
from tests.integration.upstream_rig import USAGE, event, piece, usage_chunk


class Client(Buffer):
    """Keeps what a client would get."""

    @property
    def chunks(self) -> list[dict[str, Any]]:
        return [chunk for each in split_events(self.body)[0] if (chunk := chunk_of(each)) is not None]


def request(endpoint: str = "chat.completions", wants_usage: bool = True) -> tuple[Exchange, Client]:
    client = Client(10**6)
    x = begin(endpoint, Request("POST", "/", "/", "", [], b""), client)
    x.wants_usage = wants_usage
    return x, client


def tell(live: Live, *chunks: dict[str, Any]) -> None:
    asyncio.run(live.write(b"".join(map(event, chunks))))
    live.close()


def test_the_end_waits() -> None:
    x, client = request()
    thread = Thread()
    live = Live(10**6, x, thread)
    tell(live, piece("a"), piece("b", "stop"), usage_chunk())
    assert [chunk["choices"][0] for chunk in client.chunks] == [piece("a")["choices"][0], piece("b")["choices"][0]]
    ending = [chunk for each in split_events(live.ending("0.1"))[0] if (chunk := chunk_of(each)) is not None]
    assert ending == [piece(reason="stop"), {**usage_chunk(), "penstock": {"cost_usd": "0.1"}}]
    assert live.ending(None).endswith(b"data: [DONE]\n\n") and live.body.count(b"usage") > 0, "all of it is kept for the judge"


def test_usage_that_nobody_asked_for_makes_no_chunk_of_its_own() -> None:
    x, _ = request(wants_usage=False)
    live = Live(10**6, x, Thread())
    tell(live, piece("a"), {**piece(reason="stop"), "usage": USAGE})
    (ending, _), _ = split_events(live.ending("0.1"))
    assert chunk_of(ending) == piece(reason="stop")


def test_what_follows_has_the_id_of_the_first_and_the_usage_of_both() -> None:
    x, client = request()
    thread = Thread()
    first = Live(10**6, x, thread)
    tell(first, piece("a"), piece(reason="stop"), usage_chunk({**USAGE, "prompt_tokens_details": {"cached_tokens": 4}}))
    asyncio.run(first.go_on("more:"))
    second = Live(10**6, x, thread)
    role = {**piece(), "id": "two", "created": 7}
    role["choices"][0]["delta"] = {"role": "assistant", "content": ""}
    tell(second, role, {**piece("b"), "id": "two"}, {**piece(reason="stop"), "id": "two"}, {**usage_chunk(), "id": "two"})
    assert [chunk["choices"][0]["delta"].get("content") for chunk in client.chunks] == ["a", "\n\nmore:\n\n", "", "b"]
    assert {(chunk["id"], chunk["created"]) for chunk in client.chunks} == {("chatcmpl-1", 1)}
    usage = orjson.loads(split_events(second.ending(None))[0][1][6:])["usage"]
    assert usage == {**{name: 2 * number for name, number in USAGE.items()}, "prompt_tokens_details": {"cached_tokens": 4}}


def test_no_line_stands_after_an_answer_that_said_nothing() -> None:
    x, client = request()
    thread = Thread()
    live = Live(10**6, x, thread)
    role = piece()
    role["choices"][0]["delta"] = {"role": "assistant"}
    tell(live, role, {"error": {"message": "broken"}})
    asyncio.run(live.go_on("more:"))
    assert client.chunks == [role] and not thread.spoken


def test_a_buffer_is_bounded() -> None:
    buffer = Buffer(10)
    asyncio.run(buffer.write(b"0123456789"))
    with pytest.raises(UpstreamError, match="max_answer"):
        asyncio.run(buffer.write(b"x"))
    assert buffer.body == b"0123456789"


@pytest.mark.parametrize(
    ("endpoint", "events", "place"),
    [
        ("messages", [{"type": "message_start"}, {"type": "message_delta", "usage": {}}, {"type": "message_stop"}], 1),
        ("responses", [{"type": "response.created"}, {"type": "response.completed", "response": {}}], 1),
        ("chat.completions", [piece("a"), usage_chunk()], 1),
        ("chat.completions", [piece("a"), piece(reason="stop")], None),
    ],
)
def test_the_cost_stands_beside_the_usage(endpoint: str, events: list[dict[str, Any]], place: int | None) -> None:
    x, _ = request(endpoint)
    x.wants_usage = True
    told = split_events(with_costs(x, b"".join(map(event, events)), "0.5"))[0]
    assert [at for at, each in enumerate(told) if b'"penstock":{"cost_usd":"0.5"}' in each] == ([] if place is None else [place])
