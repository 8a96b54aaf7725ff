"""Events come out the same however the stream is cut, and only what we mean to change changes."""

import re
from itertools import pairwise

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.dialects.sse import EventSplitter, event_data, is_done, split_events, strip_usage, usage_in, with_cost

LINES = st.sampled_from(
    ["data: {}", "data:x", "data", "data: a b", ": keep-alive", "event: ping", "id: 7", "data:  two", "database: no", "dåta"]
)
BREAKS = st.sampled_from(["\n", "\r\n", "\r"])


@st.composite
def streams(draw: st.DrawFn, one_break: bool) -> bytes:
    fixed = draw(BREAKS)
    text = draw(st.sampled_from(["", "\ufeff"]))
    for lines in draw(st.lists(st.lists(LINES, max_size=3), max_size=5)):
        for line in [*lines, ""]:
            text += line + (fixed if one_break else draw(BREAKS))
    return text.encode()


def _pieces(stream: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    return [stream[start:end] for start, end in pairwise(edges)]


def _reference(stream: bytes) -> list[bytes]:
    """Data of the events by the standard's own procedure, line by line over the whole stream."""
    found: list[bytes] = []
    data: list[str] = []
    for line in re.split("\r\n|\n|\r", stream.decode().removeprefix("\ufeff")):
        if not line:
            found += ["\n".join(data).encode()] if data else []
            data = []
        name, _, value = line.partition(":")
        if name == "data":
            data.append(value.removeprefix(" "))
    return found


@given(streams(one_break=False), st.lists(st.integers(0, 400), max_size=8))
def test_any_cut_gives_the_same_data_and_the_same_bytes(stream: bytes, cuts: list[int]) -> None:
    splitter = EventSplitter()
    events = [event for piece in _pieces(stream, cuts) for event in splitter.feed(piece)]
    rest = splitter.rest()
    assert b"".join(events) + rest == stream
    assert [data for event in [*events, rest] if (data := event_data(event)) is not None] == _reference(stream)


@given(streams(one_break=True), st.lists(st.integers(0, 400), max_size=8))
def test_any_cut_gives_the_same_events(stream: bytes, cuts: list[int]) -> None:
    splitter = EventSplitter()
    events = [event for piece in _pieces(stream, cuts) for event in splitter.feed(piece)]
    whole, rest = split_events(stream)
    assert (events, splitter.rest()) == (whole, rest)


def test_one_byte_at_a_time_gives_each_event_when_it_ends() -> None:
    splitter = EventSplitter()
    got = [(at, splitter.feed(bytes([byte]))) for at, byte in enumerate(b"data: 1\n\ndata: 2\r\n\r\n: x\r\r")]
    assert [(at, events) for at, events in got if events] == [(8, [b"data: 1\n\n"]), (19, [b"data: 2\r\n\r\n"]), (24, [b": x\r\r"])]
    assert splitter.pending == 0


def test_a_broken_off_event_is_the_rest() -> None:
    splitter = EventSplitter()
    assert splitter.feed(b"data: 1\n\ndata: {half") == [b"data: 1\n\n"]
    assert splitter.pending == 11
    assert splitter.rest() == b"data: {half"
    assert splitter.rest() == b""


def test_a_huge_event_is_scanned_once() -> None:
    splitter = EventSplitter()
    stream = b"data: " + b"x" * 4_000_000 + b"\n\n"
    events = [event for at in range(0, len(stream), 1000) for event in splitter.feed(stream[at : at + 1000])]
    assert events == [stream]


@pytest.mark.parametrize(
    ("event", "data"),
    [
        (b"data: {}\n\n", b"{}"),
        (b"data:{}\r\n\r\n", b"{}"),
        (b"data: a\ndata:  b\n\n", b"a\n b"),
        (b"event: x\ndata: a\nid: 1\n\n", b"a"),
        (b"\xef\xbb\xbfdata: a\n\n", b"a"),
        (b"data\n\n", b""),
        (b": comment\n\n", None),
        (b"\n\n", None),
    ],
)
def test_event_data(event: bytes, data: bytes | None) -> None:
    assert event_data(event) == data


def test_done_is_the_data_and_not_a_mention() -> None:
    assert is_done(b"data: [DONE]\n\n") and is_done(b"data:[DONE]\r\n\r\n")
    assert not is_done(b'data: {"content":"[DONE]"}\n\n') and not is_done(b": [DONE]\n\n")


CONTENT = b'data: {"id":"1","choices":[{"index":0,"delta":{"content":"say \\"usage\\":null, or"}}]}\n\n'
NULL = b'data: {"id":"1","choices":[{"index":0,"delta":{"content":"x"}}],"usage":null}\n\n'
NULL_INSIDE = b'data: {"id":"1","usage":null,"choices":[],"obfuscation":"zz"}\n\n'
BESIDE = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"total_tokens":3},"id":"1"}\n\n'
ALONE = b'data: {"id":"1","choices":[],"usage":{"total_tokens":3}}\n\n'
NESTED = b'data: {"x_groq":{"usage":{"total_tokens":3}},"choices":[]}\n\n'
FIRST = b'data: {"usage":{"total_tokens":3},"choices":[{"index":0}]}\r\n\r\n'


@pytest.mark.parametrize(
    ("event", "usage"),
    [
        (CONTENT, None),
        (NULL, None),
        (NULL_INSIDE, None),
        (NESTED, None),
        (BESIDE, {"total_tokens": 3}),
        (ALONE, {"total_tokens": 3}),
        (b'data: {"usage": nope\n\n', None),
        (b'data: ["usage"]\n\n', None),
        (b': "usage"\n\n', None),
        (b"data: [DONE]\n\n", None),
    ],
)
def test_usage_in(event: bytes, usage: dict[str, int] | None) -> None:
    assert usage_in(event) == usage


@pytest.mark.parametrize(
    ("event", "seen"),
    [
        (CONTENT, CONTENT),
        (NULL, b'data: {"id":"1","choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'),
        (NULL_INSIDE, b'data: {"id":"1","choices":[],"obfuscation":"zz"}\n\n'),
        (BESIDE, b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"id":"1"}\n\n'),
        (FIRST, b'data: {"choices":[{"index":0}]}\r\n\r\n'),
        (b'event: m\ndata: {"choices":[{}], "usage": null}\n\n', b'event: m\ndata: {"choices":[{}]}\n\n'),
        (b'data: {"choices":[{}],\ndata: "usage":{}}\n\n', b'data: {"choices":[{}]}\n\n'),
        (b'data: {"a":{"usage":null},"usage":null}\n\n', b'data: {"a":{"usage":null}}\n\n'),
        (b'data: {"a":{"x":1,"usage":null},"us\\u0061ge":null}\n\n', b'data: {"a":{"x":1,"usage":null}}\n\n'),
        (b'data: {"error":{"m":1},"usage":{}}\n\n', b'data: {"error":{"m":1}}\n\n'),
        (NESTED, NESTED),
        (ALONE, None),
        (b"data: [DONE]\n\n", b"data: [DONE]\n\n"),
        (b'data: {"usage" broken\n\n', b'data: {"usage" broken\n\n'),
    ],
)
def test_strip_usage(event: bytes, seen: bytes | None) -> None:
    assert strip_usage(event) == seen


def test_cost_is_added_to_the_usage_chunk() -> None:
    assert with_cost(ALONE, "0.000000123") == ALONE[:-3] + b',"penstock":{"cost_usd":"0.000000123"}}\n\n'
    unknown = event_data(with_cost(b'event: u\r\ndata: {"usage":{},\r\ndata: "choices":[]}\r\n\r\n', None))
    assert unknown is not None and orjson.loads(unknown) == {"usage": {}, "choices": [], "penstock": {"cost_usd": None}}
