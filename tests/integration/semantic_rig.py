"""A gateway with the semantic cache: its store in memory, its embedder made of words, both broken on demand."""

import asyncio
import re
import threading
import time
import zlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal

import msgspec
import numpy as np

from penstock.adapters.indexes.partition import PartitionIndex
from penstock.domain.routing.similarity.evidence import Judgement, Mode, Neighbour
from penstock.gateway.semantic.embedding import Embeddings
from penstock.gateway.semantic.meaning import Meaning
from penstock.ports.answer_store import AnswerStore, AnswerStoreError, Entry, Event, LogBegunAnewError, Numbered, Removal
from penstock.ports.cache import CachedAnswer
from penstock.ports.embedder import Embedded, Embedder, EmbedderError
from penstock.ports.key_store import ApiKey
from tests.integration.gateway_rig import Rig, rig

DIMENSIONS = 64
ON = "[cache.semantic]\nenabled = true\nusers = 1\n"


class WordEmbedder:
    """A vector per text from its words, so that texts with most words in common are near. `same`: one vector for all."""

    def __init__(self, stamp: str = "words", *, same: bool = False, tokens: int | None = None) -> None:
        self.stamp = stamp
        self.dimensions = DIMENSIONS
        self.same, self.tokens = same, tokens
        self.pause_s = 0.0
        self.failing = False
        self.asked: list[str] = []

    async def embed(self, texts: Sequence[str]) -> Embedded:
        self.asked += texts
        if self.failing:
            raise EmbedderError("the embedder is dead", "start it again")
        if self.pause_s:
            await asyncio.sleep(self.pause_s)
        rows = np.zeros((len(texts), DIMENSIONS), np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in ("same",) if self.same else re.findall(r"\w+", text.lower()) or ("",):
                row[zlib.crc32(word.encode()) % DIMENSIONS] += 1
            row /= np.linalg.norm(row)
        return Embedded(rows, self.tokens)

    async def close(self) -> None:
        return None


class StoreInMemory:
    """The log as every process sees it; each `open` is a handle of its own. `away` makes every call fail."""

    def __init__(self) -> None:
        self.log: list[Numbered] = []
        self.answers: dict[str, CachedAnswer] = {}
        self.states: dict[str, tuple[int, bytes]] = {}
        self.away = False
        self.pause_s = 0.0
        self.begun_anew = False
        self._lock = threading.Lock()
        self._place = 0

    def append(self, events: Sequence[Event], answers: Sequence[tuple[str, CachedAnswer]] = ()) -> None:
        self._heed()
        with self._lock:
            for event in events:
                if isinstance(event, Removal):
                    self._drop(event)
                self._place += 1
                self.log.append(Numbered(self._place, msgspec.msgpack.decode(msgspec.msgpack.encode(event), type=Event)))
            self.answers.update(answers)

    def since(self, place: int, most: int = 1000) -> Sequence[Numbered]:
        self._heed()
        if self.begun_anew and place:
            raise LogBegunAnewError("another log")
        self.begun_anew = False
        with self._lock:
            return [numbered for numbered in self.log if numbered.place > place][:most]

    def answer(self, entry: str) -> CachedAnswer | None:
        self._heed()
        return self.answers.get(entry)

    @property
    def unreadable(self) -> int:
        return 0

    def keep_state(self, name: str, place: int, state: bytes) -> None:
        self.states[name] = (place, state)

    def state(self, name: str) -> tuple[int, bytes] | None:
        self._heed()
        return self.states.get(name)

    def trim(self, place: int, before_ns: int) -> int:
        raise NotImplementedError

    def size(self) -> tuple[int, int]:
        raise NotImplementedError

    def close(self) -> None:
        return None

    def of(self, kind: type[Any]) -> list[Any]:
        """All events of a kind."""
        with self._lock:
            return [numbered.event for numbered in self.log if isinstance(numbered.event, kind)]

    def _drop(self, event: Removal) -> None:
        gone = set(event.entries)
        self.log = [each for each in self.log if not (isinstance(each.event, Entry) and each.event.id in gone)]
        for entry in gone:
            self.answers.pop(entry, None)

    def _heed(self) -> None:
        if self.pause_s:
            time.sleep(self.pause_s)
        if self.away:
            raise AnswerStoreError("the store is away", "bring it back")


class Trusting:
    """A judge that serves the nearest that it may serve if it is so near, whatever it says, and learns nothing."""

    def __init__(self, mode: Mode, similarity: float) -> None:
        self._mode, self._similarity = mode, similarity

    def decide(self, text: str, neighbours: Sequence[Neighbour], draw: float, max_error: float | None = None) -> Judgement:
        features = (b"",) * len(neighbours)
        best = next((each for each in neighbours if each.servable), None)
        if best is None:
            return Judgement("nothing", self._mode, features=features)
        verdict: Literal["serve", "refuse"] = "serve" if best.similarity >= self._similarity else "refuse"
        return Judgement(verdict, self._mode, best.entry, best.similarity, 1 - best.similarity, features=features)

    def learn(self, *_: object, **__: object) -> None:
        return None

    looked = told = learn


class SemanticRig(msgspec.Struct):
    """A gateway under test with what its semantic cache rests on."""

    running: Rig
    meaning: Meaning
    store: StoreInMemory
    embedder: Any

    async def ask(self, text: str = "hi", headers: Mapping[str, str] | None = None, **fields: Any) -> str:
        """What the cache made of a chat; what it taught is known when this returns."""
        reply = await self.running.chat(text, headers, **fields)
        assert reply.status == 200, reply.body
        await self.meaning.learned()
        return reply.headers["penstock-cache"]

    def trust(self, mode: Mode = "zero-trust", similarity: float = 0.0) -> None:
        """Puts a `Trusting` judge in the place of every scope's."""
        judge: Any = Trusting(mode, similarity)
        self.meaning._scopes.decider = lambda scope: judge  # type: ignore[method-assign]

    async def until(self, holds: Callable[[], bool]) -> None:
        """Waits for what happens beside the requests."""
        while not holds():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def semantic(
    config: str,
    *,
    embedder: Embedder | None = None,
    store: StoreInMemory | None = None,
    open_store: Callable[[], AnswerStore] | None = None,
    model: str | None = None,
    keys: Sequence[ApiKey] = (),
    spent: Mapping[str, int] | None = None,
    budget_s: float = 0.25,
    ready: bool = True,
    draw: float = 0.999,
) -> AsyncIterator[SemanticRig]:
    """A running gateway whose config turns the semantic cache on. `model`: of `[models]` that the embedder stands for; `draw`: what the
    dice for probes show."""
    kept, plug = store or StoreInMemory(), embedder or WordEmbedder()
    async with rig(config, keys=keys, spent=spent) as running:
        settings = running.gateway.settings
        upstream = settings.models[model].upstream if model is not None else None
        meaning = Meaning(
            settings.cache,
            "worker-1",
            Embeddings(plug, running.log.append, model, upstream, budget_s),
            open_store or (lambda: kept),
            PartitionIndex,
            running.log.append,
            lambda: draw,
        )
        msgspec.structs.force_setattr(running.gateway, "meaning", meaning)
        await meaning.start()
        try:
            found = SemanticRig(running, meaning, kept, plug)
            if ready:
                await found.until(lambda: meaning.ready)
            yield found
            await running.settled()
            await meaning.learned()
        finally:
            await meaning.close()
