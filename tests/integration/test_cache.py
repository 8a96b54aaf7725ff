"""The exact cache through the whole gateway: what is replayed, in which form, and what is never kept."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import openai
import orjson
import pytest

from penstock.adapters.caches import memory
from tests.integration.gateway_rig import Rig, fallback, on_loop, one_upstream, rig
from tests.integration.upstream_rig import (
    DONE,
    USAGE,
    Play,
    answer,
    closing,
    completion,
    event,
    piece,
    resetting,
    scripted,
    simulated,
    stream,
    stream_events,
    usage_chunk,
)

WANTED: Mapping[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
FORMS: dict[str, Mapping[str, Any]] = {"plain": {}, "stream": {"stream": True}, "stream with usage": WANTED}


@pytest.mark.parametrize("second", FORMS)
@pytest.mark.parametrize("first", FORMS)
@on_loop
async def test_an_answer_is_replayed_in_the_form_that_is_asked_for(first: str, second: str) -> None:
    async with simulated() as url, rig(one_upstream(url)) as running:
        made = await running.chat("a question", **FORMS[first])
        told = await running.chat("a question", **FORMS[second])
        assert (made.headers["penstock-cache"], told.headers["penstock-cache"]) == ("miss", "exact")
        first_text = made.text if FORMS[first] else made.json["choices"][0]["message"]["content"]
        assert first_text == (told.text if FORMS[second] else told.json["choices"][0]["message"]["content"]) != ""
        origin, hit = running.records
        assert (hit.cache, hit.cache_source, hit.cost, hit.tokens.total) == ("exact", origin.id, 0, 0)
        assert (hit.recalled, hit.list_cost) == (origin.tokens, origin.cost)
        assert (hit.model, hit.upstream, hit.finish_reason, hit.attempts) == ("m", "main", "stop", ())
        usage = {"prompt_tokens": origin.tokens.input, "completion_tokens": origin.tokens.output}
        if FORMS[second]:
            assert told.body.endswith(b"data: [DONE]\n\n") and told.headers["content-type"].startswith("text/event-stream")
            usages = [chunk for chunk in told.chunks if chunk.get("usage")]
            if FORMS[second] is not WANTED:
                assert usages == [] and b'"usage"' not in told.body
                return
            (chunk,) = usages
            assert chunk == told.chunks[-1]
            assert chunk["choices"] == [] and chunk["penstock"] == {"cost_usd": "0.000000000"} and chunk["id"] == told.chunks[0]["id"]
            assert usage.items() <= chunk["usage"].items()
        else:
            assert usage.items() <= told.json["usage"].items() and told.headers["penstock-cost-usd"] == "0.000000000"


TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}


@pytest.mark.parametrize("asked", [{}, {"n": 3}, {"tools": [TOOL]}, {"logprobs": True, "top_logprobs": 2}, {"reasoning_effort": "high"}])
@pytest.mark.parametrize("made_as", [False, True])
@on_loop
async def test_the_sdk_reads_a_replay_as_it_reads_the_original(asked: dict[str, Any], made_as: bool) -> None:
    async with simulated() as url, rig(one_upstream(url)) as running:
        base = f"http://127.0.0.1:{running.port}/v1"
        async with openai.AsyncOpenAI(base_url=base, api_key="none", max_retries=0) as client:
            ask: Any = client.chat.completions.create
            messages = [{"role": "user", "content": "what is the weather in Ravenna?"}]
            if made_as:
                await _drained(await ask(model="m", messages=messages, stream=True, **asked))
            whole = await ask(model="m", messages=messages, **asked)
            streamed = await _drained(await ask(model="m", messages=messages, stream=True, **asked))
        assert [record.cache for record in running.records][-1] == "exact"
        assert [record.cache for record in running.records].count("miss") == 1
        for choice in whole.choices:
            text, calls, reason, logprobs = streamed[choice.index]
            assert (choice.message.content or "") == text and choice.finish_reason == reason
            assert [(call.id, call.function.name, call.function.arguments) for call in choice.message.tool_calls or ()] == calls
            assert [each.token for each in (choice.logprobs.content if choice.logprobs else None) or ()] == logprobs
        assert len(whole.choices) == len(streamed) == asked.get("n", 1)


async def _drained(chunks: Any) -> dict[int, tuple[str, list[tuple[str, str, str]], str, list[str]]]:
    """(text, tool calls, finish reason, logprob tokens) of each choice of a stream."""
    texts: dict[int, str] = {}
    calls: dict[int, dict[int, list[str]]] = {}
    reasons: dict[int, str] = {}
    tokens: dict[int, list[str]] = {}
    async for chunk in chunks:
        for choice in chunk.choices:
            at = choice.index
            texts[at] = texts.get(at, "") + (choice.delta.content or "")
            for call in choice.delta.tool_calls or ():
                parts = calls.setdefault(at, {}).setdefault(call.index, ["", "", ""])
                parts[0] += call.id or ""
                parts[1] += call.function.name or ""
                parts[2] += call.function.arguments or ""
            tokens.setdefault(at, []).extend(each.token for each in (choice.logprobs.content if choice.logprobs else None) or ())
            if choice.finish_reason:
                reasons[at] = choice.finish_reason
    every = {at: [(a, b, c) for _, (a, b, c) in sorted(calls.get(at, {}).items())] for at in texts}
    return {at: (texts[at], every[at], reasons[at], tokens[at]) for at in texts}


@on_loop
async def test_directives_of_the_client_are_honoured() -> None:
    plays = [answer(completion(text)) for text in ("one", "two", "three", "four")]
    async with scripted(*plays) as upstream, rig(one_upstream(upstream.url)) as running:
        told = []
        for directive in ("no-store", "", "no-cache", "", "No-Store ", ""):
            reply = await running.chat(headers={"penstock-cache": directive} if directive else None)
            told.append((reply.json["choices"][0]["message"]["content"], reply.headers["penstock-cache"]))
        assert told == [
            ("one", "bypass"), ("two", "miss"), ("three", "bypass"), ("three", "exact"), ("four", "bypass"), ("three", "exact")
        ]  # fmt: skip


NOT_KEPT: dict[str, Play] = {
    "error": answer({"error": {"message": "no"}}, 400),
    "server error": answer({"error": {"message": "no"}}, 500),
    "error in a 200": answer({"error": {"message": "no"}}),
    "filtered": answer(completion(reason="content_filter")),
    "unfinished": answer({**completion(), "choices": []}),
    "one of two filtered": answer({**completion(), "choices": [*completion()["choices"], {"index": 1, "finish_reason": "content_filter"}]}),
    "not JSON": answer(b"hello"),
    "filtered stream": stream(stream_events(reason="content_filter")),
    "broken stream": resetting(stream(stream_events(done=False))[:-5]),
    "stream without its end": stream(event(piece("hel")) + b"data: [DONE]\n\n"),
    "stream without [DONE]": stream(stream_events(done=False)),
    "stream with an error": stream(event(piece("hel")) + event({"error": {"message": "no"}}) + event(piece(reason="stop")) + DONE),
    "truncated": closing(answer(completion())[:-5]),
}


@pytest.mark.parametrize("name", NOT_KEPT)
@on_loop
async def test_what_is_not_a_whole_answer_is_never_kept(name: str) -> None:
    async with scripted(NOT_KEPT[name]) as upstream, rig(one_upstream(upstream.url, upstream="retries = 0")) as running:
        for count in (1, 2):
            await running.chat(stream="stream" in name)
            assert len(upstream.asked) == count and running.last.cache == "miss"


@pytest.mark.parametrize("fields", [{"n": 2}, {"prompt": ["a", "b"]}, {"prompt": ["a"], "n": 2}, {"n": 2, "prompt": [[1], [2]]}])
@on_loop
async def test_a_stream_that_lacks_one_of_its_answers_is_not_kept(fields: dict[str, Any]) -> None:
    async with scripted(stream(stream_events())) as upstream, rig(one_upstream(upstream.url)) as running:
        body = orjson.dumps({"model": "m", "stream": True, **fields})
        for count in (1, 2):
            assert (await running.ask("POST", "/v1/completions", body)).whole
            assert len(upstream.asked) == count


@on_loop
async def test_the_answer_of_a_fallback_is_not_kept() -> None:
    down, up = answer({"error": {"message": "no"}}, 503), answer(completion("dear"))
    async with (
        scripted(down, answer(completion("cheap"))) as first,
        scripted(up) as second,
        rig(fallback(first.url, second.url)) as running,
    ):
        assert (await running.chat(model="auto")).json == completion("dear")
        assert (await running.chat(model="auto")).json == completion("cheap")
        assert (await running.chat(model="auto")).headers["penstock-cache"] == "exact"


@on_loop
async def test_an_answer_expires() -> None:
    more = '[cache]\nexact = { ttl = "100ms" }'
    async with scripted(answer(completion())) as upstream, rig(one_upstream(upstream.url, more=more)) as running:
        assert [(await running.chat()).headers["penstock-cache"] for _ in range(2)] == ["miss", "exact"]
        time.sleep(0.11)
        assert (await running.chat()).headers["penstock-cache"] == "miss"


@on_loop
async def test_the_least_recently_used_answer_goes_first() -> None:
    size = len(orjson.dumps(completion())) + len(orjson.dumps(USAGE)) + memory.OVERHEAD_BYTES
    more = f'[cache]\nexact = {{ max_bytes = "{2 * size + 10} B" }}'
    async with scripted(answer(completion())) as upstream, rig(one_upstream(upstream.url, more=more)) as running:
        told = [(await running.chat(text)).headers["penstock-cache"] for text in ("a", "b", "a", "c", "a", "b")]
        assert told == ["miss", "miss", "exact", "miss", "exact", "miss"]
        assert running.gateway.cache is not None
        stats = running.gateway.cache.stats()
        assert (stats["entries"], stats["evicted"]) == (2, 2) and stats["bytes"] <= 2 * size + 10


async def _told(running: Rig, *requests: dict[str, Any]) -> list[str]:
    return [(await running.chat(**fields)).headers["penstock-cache"] for fields in requests]


@on_loop
async def test_what_may_change_the_answer_is_part_of_the_key() -> None:
    async with scripted(answer(completion())) as upstream, rig(one_upstream(upstream.url)) as running:
        same: list[dict[str, Any]] = [{}, {"user": "u"}, {"metadata": {"a": "b"}}, {"service_tier": "flex"}]
        assert await _told(running, *same) == ["miss", "exact", "exact", "exact"]
        other: list[dict[str, Any]] = [
            {"temperature": 0},
            {"temperature": 0.0},
            {"seed": 1},
            {"seed": None},
            {"something_new": 1},
            {"something_new": [1]},
        ]
        assert await _told(running, *other) == ["miss"] * 6
        never: list[dict[str, Any]] = [{"store": True}, {"tools": [{"type": "web_search"}]}, {"seed": 10**40}]
        assert await _told(running, *never, *never) == ["bypass"] * 6


@on_loop
async def test_the_cache_can_be_off_for_a_route_and_for_all() -> None:
    more = '[tiers]\nt = { model = "m" }\n[routes.fresh]\ntiers = ["t"]\ncache = "off"\n[routes.kept]\ntiers = ["t"]'
    async with scripted(answer(completion())) as upstream:
        async with rig(one_upstream(upstream.url, more=more)) as running:
            asked = [{"model": name} for name in ("fresh", "fresh", "kept", "kept", "m")]
            assert await _told(running, *asked) == ["bypass", "bypass", "miss", "exact", "miss"], "a route's answers are its own"
        async with rig(one_upstream(upstream.url, more="[cache]\nexact = { enabled = false }")) as running:
            assert await _told(running, {}, {}) == ["bypass", "bypass"]


@on_loop
async def test_embeddings_are_replayed() -> None:
    async with simulated() as url, rig(one_upstream(url)) as running:
        bodies = [orjson.dumps({"model": "m", "input": text}) for text in ("a", "a", ["a", "b"], ["a", "b"])]
        replies = [await running.ask("POST", "/v1/embeddings", body) for body in bodies]
        assert [reply.headers["penstock-cache"] for reply in replies] == ["miss", "exact", "miss", "exact"]
        assert replies[0].body == replies[1].body and replies[2].body == replies[3].body
        assert len(replies[3].json["data"]) == 2 and running.last.recalled.input > 0 and running.last.recalled.output == 0


@pytest.mark.parametrize("fields", [{"prompt": ["one", "two"]}, {"prompt": ["one", "two"], "n": 2}, {"prompt": "one", "echo": True}])
@on_loop
async def test_completions_are_replayed_with_all_their_answers(fields: dict[str, Any]) -> None:
    async with simulated() as url, rig(one_upstream(url)) as running:
        made = await running.ask("POST", "/v1/completions", orjson.dumps({"model": "m", "stream": True, **fields}))
        told = await running.ask("POST", "/v1/completions", orjson.dumps({"model": "m", **fields}))
        assert (running.last.cache, made.whole) == ("exact", True)
        texts: dict[int, str] = {}
        for choice in (choice for chunk in made.chunks for choice in chunk["choices"]):
            texts[choice["index"]] = texts.get(choice["index"], "") + choice["text"]
        assert {choice["index"]: choice["text"] for choice in told.json["choices"]} == texts


@pytest.mark.parametrize("before", [b": keep-alive\n\n", b": keep-alive\r\n\r\n", b"\xef\xbb\xbf: x\n\n", b"retry: 3\n\n"])
@on_loop
async def test_a_stream_that_begins_with_a_comment_is_replayed_with_its_usage(before: bytes) -> None:
    async with scripted(stream(before + stream_events())) as upstream, rig(one_upstream(upstream.url)) as running:
        await running.chat(stream=True)
        told = await running.chat(**WANTED)
        assert told.headers["penstock-cache"] == "exact" and told.text == "hello"
        last = told.chunks[-1]
        assert last["usage"] == USAGE and last["id"] == "chatcmpl-1" and last["object"] == "chat.completion.chunk"


@on_loop
async def test_an_answer_without_usage_is_replayed_without() -> None:
    async with scripted(stream(stream_events(usage=None))) as upstream, rig(one_upstream(upstream.url)) as running:
        await running.chat(stream=True)
        told = await running.chat(**WANTED)
        assert (running.last.cache, told.text) == ("exact", "hello") and b"usage" not in told.body
        plain = await running.chat()
        assert running.last.cache == "exact" and "usage" not in plain.json


@on_loop
async def test_usage_on_the_last_choice_is_replayed_on_a_chunk_of_its_own() -> None:
    events = event(piece("hello")) + event(piece(reason="stop", usage=USAGE)) + b"data: [DONE]\n\n"
    async with scripted(stream(events)) as upstream, rig(one_upstream(upstream.url)) as running:
        await running.chat(**WANTED)
        told = await running.chat(**WANTED)
        assert running.last.cache == "exact" and [chunk.get("usage") for chunk in told.chunks] == [None, None, USAGE]
        assert {**told.chunks[-1], "penstock": None} == {**usage_chunk(), "penstock": None}


@on_loop
async def test_the_same_question_at_once_is_asked_more_than_once_but_kept_once() -> None:
    async with simulated() as url, rig(one_upstream(url)) as running:
        replies = await asyncio.gather(*(running.chat("same") for _ in range(8)))
        assert {reply.status for reply in replies} == {200}
        assert running.gateway.cache is not None and running.gateway.cache.stats()["entries"] == 1


@pytest.mark.parametrize("header", ["openai-organization", "openai-project"])
@on_loop
async def test_whom_the_upstream_works_for_is_part_of_the_key(header: str) -> None:
    async with simulated() as url, rig(one_upstream(url)) as running:
        replies = [await running.chat("a question", more) for more in ({header: "a"}, {header: "b"}, {}, {header: "a"}, {})]
        assert [reply.headers["penstock-cache"] for reply in replies] == ["miss", "miss", "miss", "exact", "exact"]
