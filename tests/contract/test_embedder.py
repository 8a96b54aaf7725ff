"""What every embedder does: one law over a model in this process and one behind an upstream."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import numpy as np
import pytest

from penstock.adapters.embedders import open_embedder, open_upstream_embedder
from penstock.ports.embedder import Embedder, EmbedderError
from penstock.ports.upstream import Replica, UpstreamCall, UpstreamError
from tests.integration.gateway_rig import on_loop
from tests.unit.embedders.tiny_bert import WORDS, write

TEXTS = ["the gate opens", "when water rises above seven feet", "", "🚀 水", "not"]


class Said:
    """An answer of the upstream below."""

    status = 200
    headers: list[tuple[bytes, bytes]]

    def __init__(self, body: bytes) -> None:
        self.headers, self._body = [], body

    async def read(self) -> bytes:
        return self._body

    async def chunk(self) -> bytes | None:
        raise NotImplementedError

    def close(self) -> None:
        return


class Engine:
    """An upstream of one replica. Makes vectors of three dimensions out of a text's characters, and a token of each."""

    name = "engine"
    outstanding = 0

    def __init__(self) -> None:
        self.fails: UpstreamError | None = None
        self.asked: list[list[str]] = []

    @property
    def replicas(self) -> Sequence[Replica]:
        return (self,)

    async def send(self, call: UpstreamCall) -> Said:
        await asyncio.sleep(0)
        if self.fails is not None:
            raise self.fails
        body = msgspec.json.decode(call.body)
        assert (call.method, call.path, body["model"], body["encoding_format"]) == ("POST", "/embeddings", "mini", "float")
        self.asked.append(body["input"])
        rows = [{"embedding": [1 + len(text), sum(map(ord, text)) % 997, 3], "index": place} for place, text in enumerate(body["input"])]
        return Said(msgspec.json.encode({"data": rows[::-1], "usage": {"prompt_tokens": sum(map(len, body["input"]))}}))

    async def close(self) -> None:
        raise AssertionError("it is its opener's to close")


@pytest.fixture(params=["process", "upstream"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@asynccontextmanager
async def embedder(kind: str, tmp_path: Path) -> AsyncIterator[Embedder]:
    if kind == "process":
        opened = open_embedder(str(write(tmp_path / "m")), Path("nowhere"), {})
    else:
        opened = open_upstream_embedder("mini", Engine())
    try:
        yield opened
    finally:
        await opened.close()


async def rows(opened: Embedder, texts: Sequence[str]) -> list[list[float]]:
    made: list[list[float]] = (await opened.embed(texts)).vectors.tolist()
    return made


@on_loop
async def test_vectors_have_length_one_and_their_texts_order(kind: str, tmp_path: Path) -> None:
    async with embedder(kind, tmp_path) as opened:
        made = (await opened.embed(TEXTS)).vectors
        assert made.dtype == np.float32
        assert made.shape == (len(TEXTS), opened.dimensions)
        assert np.abs(np.linalg.norm(made, axis=1) - 1).max() < 1e-5
        alone = [(await rows(opened, [text]))[0] for text in TEXTS]
        assert np.abs(made - np.array(alone)).max() < 1e-6
        assert len({tuple(row) for row in made.round(5).tolist()}) == len(TEXTS)


@on_loop
async def test_one_text_twice_and_none(kind: str, tmp_path: Path) -> None:
    async with embedder(kind, tmp_path) as opened:
        first, other, again = await rows(opened, ["not", "gate", "not"])
        assert first == again != other
        assert (await opened.embed([])).vectors.shape == (0, opened.dimensions)


@on_loop
async def test_many_tasks_ask_at_once(kind: str, tmp_path: Path) -> None:
    texts = [" ".join((WORDS * 2)[n % 9 : n % 9 + 1 + n % 5]) for n in range(200)]
    async with embedder(kind, tmp_path) as opened:
        made = await asyncio.gather(*(rows(opened, [text]) for text in texts))
        again = await rows(opened, texts)
        assert np.abs(np.array(made)[:, 0] - np.array(again)).max() < 1e-6


@on_loop
async def test_vectors_are_the_callers_own(kind: str, tmp_path: Path) -> None:
    async with embedder(kind, tmp_path) as opened:
        first = (await opened.embed(["gate"])).vectors
        kept = first.tolist()
        first[:] = 0
        assert await rows(opened, ["gate"]) == kept


@on_loop
async def test_the_stamp_stays_once_there_are_vectors(kind: str, tmp_path: Path) -> None:
    async with embedder(kind, tmp_path) as opened:
        await opened.embed(["gate"])
        stamp = opened.stamp
        assert str(opened.dimensions) in stamp
        await opened.embed(["water"])
        assert opened.stamp == stamp


@on_loop
async def test_failures_are_its_own_kind_of_error() -> None:
    upstream = Engine()
    opened = open_upstream_embedder("mini", upstream)
    upstream.fails = UpstreamError("connect", "refused")
    with pytest.raises(EmbedderError, match=r"`engine` of the embedder `mini` cannot be asked for vectors: refused"):
        await opened.embed(["gate"])
    upstream.fails = None
    assert (await opened.embed(["gate"])).tokens == 4


@on_loop
async def test_what_was_asked_for_of_late_is_not_paid_twice() -> None:
    upstream = Engine()
    opened = open_upstream_embedder("mini", upstream)
    assert (await opened.embed(["gate", "water", "gate"])).tokens == 9
    assert (await opened.embed(["water", "not"])).tokens == 3
    assert (await opened.embed(["water"])).tokens == 0
    assert upstream.asked == [["gate", "water"], ["not"]]
    await opened.embed([f"text {n}" for n in range(130)])
    assert [len(texts) for texts in upstream.asked[2:]] == [64, 64, 2]
