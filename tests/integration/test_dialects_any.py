"""Any body in any dialect, and any answer of an upstream that is translated: no error of Penstock's own, one record, nothing in flight."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import orjson
import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.dialect_bodies import MESSAGE, PATHS, RESPONSE, message_events, response_events
from tests.integration.gateway_rig import Rig, rig
from tests.integration.upstream_rig import Scripted, answer, completion, scripted, simulated, stream, stream_events

bounded = settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
Live = Callable[[Callable[[Rig, dict[str, Scripted]], Awaitable[None]]], None]
SPEAKS = {"chat": "chat.completions", "responses": "responses", "messages": "messages"}
TABLES = """
[upstreams.{name}]
base_urls = ["{url}"]
speaks = ["{speaks}"]
retries = 0
timeout = {{ connect = "500ms", first_token = "2s", idle = "2s" }}
[models.{name}]
upstream = "{name}"
price = {{ input = 1, output = 2 }}
"""


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    """Runs a coroutine against one live gateway, with a simulated and a scripted upstream for each dialect."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        engine = simulated(speed=1000)
        url = runner.run(engine.__aenter__())
        open_scripts = {word: scripted(b"") for word in SPEAKS}
        scripts = {word: runner.run(each.__aenter__()) for word, each in open_scripts.items()}
        tables = "version = 1\n[cache]\nexact = { enabled = false }\n"
        tables += "".join(TABLES.format(name=f"engine-{word}", url=url, speaks=word) for word in SPEAKS)
        tables += "".join(TABLES.format(name=f"script-{word}", url=each.url, speaks=word) for word, each in scripts.items())
        gateway = rig(tables)
        running = runner.run(gateway.__aenter__())

        async def checked(traffic: Callable[[Rig, dict[str, Scripted]], Awaitable[None]]) -> None:
            async with asyncio.timeout(10):
                await traffic(running, scripts)
                await running.settled()
            assert len(running.records) == 1
            record = running.records[0]
            assert record.cost is None or record.cost >= 0
            assert record.error is None or "Error(" not in record.error, record
            running.records.clear()
            running.journal.reservations.clear()
            running.log.clear()

        yield lambda traffic: runner.run(checked(traffic))
        runner.run(gateway.__aexit__(None, None, None))
        for each in open_scripts.values():
            runner.run(each.__aexit__(None, None, None))
        runner.run(engine.__aexit__(None, None, None))


LEAVES = st.none() | st.booleans() | st.integers(-5, 2**60) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=12)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3), max_leaves=8
)
TYPES = st.sampled_from(
    "text image image_url input_text input_image output_text tool_use tool_result function_call function_call_output reasoning thinking "
    "redacted_thinking message refusal document input_file function custom web_search item_reference".split()
)
SOURCE = st.fixed_dictionaries({"type": st.sampled_from(["base64", "url", "file"])}, optional={"data": LEAVES, "url": LEAVES})
PART = st.fixed_dictionaries(
    {"type": TYPES | LEAVES},
    optional={
        "text": st.text(max_size=20) | VALUES,
        "source": st.fixed_dictionaries({"type": st.sampled_from(["base64", "url", "file"])}, optional={"data": LEAVES, "url": LEAVES})
        | VALUES,
        "image_url": st.just({"url": "data:image/png;base64,aa"}) | VALUES,
        "id": LEAVES,
        "call_id": LEAVES,
        "tool_use_id": LEAVES,
        "name": st.just("f") | LEAVES,
        "input": VALUES,
        "arguments": st.just("{}") | LEAVES,
        "output": VALUES,
        "content": VALUES,
        "summary": VALUES,
        "thinking": LEAVES,
        "data": LEAVES,
    },
)
CONTENT = st.text(max_size=20) | st.lists(PART, max_size=3) | VALUES
ROLES = st.sampled_from(["user", "assistant", "system", "developer", "tool"]) | LEAVES
TURN = st.fixed_dictionaries({"role": ROLES, "content": CONTENT}, optional={"tool_calls": VALUES, "tool_call_id": LEAVES, "type": TYPES})
TURNS = st.lists(TURN | PART, max_size=4)
TOOLS = st.lists(
    st.fixed_dictionaries(
        {}, optional={"type": TYPES, "name": st.just("f") | LEAVES, "function": VALUES, "input_schema": VALUES, "parameters": VALUES}
    )
    | VALUES,
    max_size=2,
)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "messages": TURNS | VALUES,
    "input": st.text(max_size=10) | TURNS | VALUES,
    "system": CONTENT,
    "instructions": LEAVES,
    "tools": TOOLS | VALUES,
    "tool_choice": st.sampled_from(["auto", "none", "required", {"type": "any"}, {"type": "tool", "name": "f"}]) | VALUES,
    "max_tokens": st.integers(-2, 50) | LEAVES,
    "max_output_tokens": st.integers(-2, 50) | LEAVES,
    "max_completion_tokens": LEAVES,
    "temperature": LEAVES,
    "thinking": st.sampled_from([{"type": "enabled", "budget_tokens": 1024}, {"type": "disabled"}]) | VALUES,
    "reasoning": st.just({"effort": "low"}) | VALUES,
    "reasoning_effort": st.sampled_from(["low", "none"]) | LEAVES,
    "response_format": st.just({"type": "json_object"}) | VALUES,
    "text": st.just({"format": {"type": "json_object"}}) | VALUES,
    "stop": VALUES,
    "stop_sequences": st.lists(st.text(max_size=3), max_size=2) | VALUES,
    "stream": st.booleans() | LEAVES,
    "stream_options": st.just({"include_usage": True}) | VALUES,
    "metadata": st.dictionaries(st.text(max_size=5), LEAVES, max_size=2) | VALUES,
    "service_tier": st.sampled_from(["auto", "flex", "standard_only"]) | LEAVES,
    "n": st.integers(0, 3) | LEAVES,
    "user": LEAVES,
    "store": LEAVES,
    "surprise": VALUES,
}
SOUND: dict[str, dict[str, Any]] = {
    "chat.completions": {"messages": [{"role": "user", "content": "hi"}]},
    "responses": {"input": "hi"},
    "messages": {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 20},
}
CHANGES = st.lists(st.sampled_from(sorted(FIELDS)), max_size=3, unique=True).flatmap(
    lambda names: st.fixed_dictionaries({name: FIELDS[name] for name in names})
)


@bounded
@given(dialect=st.sampled_from(sorted(PATHS)), spoken=st.sampled_from(sorted(SPEAKS)), changes=CHANGES)
def test_any_body_is_answered_or_refused(live: Live, dialect: str, spoken: str, changes: dict[str, Any]) -> None:
    async def traffic(running: Rig, _: dict[str, Scripted]) -> None:
        body = {"model": f"engine-{spoken}", **SOUND[dialect], **changes}
        reply = await running.ask("POST", PATHS[dialect], orjson.dumps(body))
        assert reply.whole and reply.status not in (0, 500, 502, 503), (reply, running.last.error)
        if reply.status >= 400:
            told = reply.json
            assert told["error"]["message"] and (told.get("type") == "error") is (dialect == "messages"), told

    live(traffic)


WHOLE: dict[str, dict[str, Any]] = {"chat": completion(), "responses": RESPONSE, "messages": MESSAGE}
EVENTS = {
    "chat": [event + b"\n\n" for event in stream_events().split(b"\n\n")[:-1]],
    "responses": response_events(),
    "messages": message_events(),
}


def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value."""
    if path:
        yield path
    for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield from places(value, (*path, key))


def changed(node: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy with another value at that place."""
    copy = node.copy()
    copy[path[0]] = value if len(path) == 1 else changed(copy[path[0]], path[1:], value)
    return copy


@bounded
@given(data=st.data(), dialect=st.sampled_from(sorted(PATHS)), spoken=st.sampled_from(sorted(SPEAKS)), streamed=st.booleans())
def test_any_answer_is_told_or_called_an_error(live: Live, data: st.DataObject, dialect: str, spoken: str, streamed: bool) -> None:
    place = data.draw(st.sampled_from(list(places(WHOLE[spoken]))))
    body = changed(WHOLE[spoken], place, data.draw(VALUES | st.lists(PART, max_size=2)))

    async def traffic(running: Rig, scripts: dict[str, Scripted]) -> None:
        scripts[spoken].plays[:] = [answer(body)]
        scripts[spoken].asked.clear()
        sent = {"model": f"script-{spoken}", **SOUND[dialect], "stream": streamed}
        reply = await running.ask("POST", PATHS[dialect], orjson.dumps(sent))
        assert reply.whole and reply.status in (200, 502)

    live(traffic)


GARBAGE = [b"data: [1]\n\n", b"data: {\n\n", b": ping\n\n", b"event: x\n\n", b"data: null\n\n"]


@bounded
@given(data=st.data(), dialect=st.sampled_from(sorted(PATHS)), spoken=st.sampled_from(sorted(SPEAKS)))
def test_any_stream_ends_well_or_is_broken(live: Live, data: st.DataObject, dialect: str, spoken: str) -> None:
    events = list(EVENTS[spoken])
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(events) - 1))
        match data.draw(st.sampled_from(["drop", "repeat", "change", "garbage"])):
            case "drop":
                events[at] = b""
            case "repeat":
                events[at] *= 2
            case "garbage":
                events[at] = data.draw(
                    st.sampled_from([b"data: [1]\n\n", b"data: {\n\n", b": ping\n\n", b"event: x\n\n", b"data: null\n\n"])
                )
            case _:
                head, _, told = events[at].partition(b"data: ")
                try:
                    chunk = orjson.loads(told or b"{}")
                except orjson.JSONDecodeError:
                    continue
                if isinstance(chunk, dict) and chunk:
                    chunk = changed(chunk, data.draw(st.sampled_from(list(places(chunk)))), data.draw(VALUES))
                    events[at] = head + b"data: " + orjson.dumps(chunk) + b"\n\n"

    async def traffic(running: Rig, scripts: dict[str, Scripted]) -> None:
        scripts[spoken].plays[:] = [stream(b"".join(events))]
        scripts[spoken].asked.clear()
        sent = {"model": f"script-{spoken}", **SOUND[dialect], "stream": True}
        reply = await running.ask("POST", PATHS[dialect], orjson.dumps(sent))
        await running.settled()
        assert reply.status in (200, 502)
        assert reply.whole or running.last.outcome in ("stream_broken", "error")

    live(traffic)
