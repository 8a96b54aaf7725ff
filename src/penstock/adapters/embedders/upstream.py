"""An embedder behind an OpenAI-compatible upstream: `POST /embeddings`."""

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np

from penstock.adapters.embedders.recent import KEPT, Recent
from penstock.ports.embedder import Embedded, EmbedderError
from penstock.ports.upstream import Upstream, UpstreamCall, UpstreamError

TIMEOUT_S: Final = 2.0
MOST_TEXTS: Final = 64
"""of one call: small engines refuse more"""
_HEADERS: Final = ((b"content-type", b"application/json"),)


class _Row(msgspec.Struct):
    embedding: list[float]
    index: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    total_tokens: int | None = None


class _Answer(msgspec.Struct):
    data: list[_Row]
    usage: _Usage | None = None


class UpstreamEmbedder:
    """An `Embedder`. `model` is the name that the upstream knows; calls go to the replica with the least to do."""

    def __init__(self, model: str, upstream: Upstream, timeout_s: float = TIMEOUT_S) -> None:
        self._model, self._upstream, self._timeout_s = model, upstream, timeout_s
        self._recent = Recent(KEPT)
        self.dimensions: int | None = None

    @property
    def stamp(self) -> str:
        """Without the dimensions before the first answer; vectors exist only after it."""
        return f"upstream:{self._model}" + (f":{self.dimensions}" if self.dimensions is not None else "")

    async def embed(self, texts: Sequence[str]) -> Embedded:
        """See `Embedder`. Texts that were asked for of late cost no tokens."""
        found = {text: self._recent.get(text) for text in texts}
        asked = [text for text, vector in found.items() if vector is None]
        tokens: int | None = 0
        for start in range(0, len(asked), MOST_TEXTS):
            part = asked[start : start + MOST_TEXTS]
            made = await self._call(part)
            tokens = None if tokens is None or made.tokens is None else tokens + made.tokens
            for text, vector in zip(part, made.vectors, strict=True):
                found[text] = vector
                self._recent.put(text, vector.copy())
        rows = [found[text] for text in texts]
        return Embedded(np.array(rows, np.float32).reshape(len(rows), -1 if rows else self.dimensions or 0), tokens)

    async def close(self) -> None:
        """The upstream is its opener's to close."""

    async def _call(self, texts: Sequence[str]) -> Embedded:
        body = msgspec.json.encode({"model": self._model, "input": [_readable(text) for text in texts], "encoding_format": "float"})
        replica = min(self._upstream.replicas, key=lambda each: each.outstanding)
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await replica.send(UpstreamCall("POST", "/embeddings", _HEADERS, body))
                try:
                    content = await answer.read()
                finally:
                    answer.close()
        except TimeoutError:
            raise self._problem(f"gave no vectors within {self._timeout_s:g} s") from None
        except UpstreamError as problem:
            raise self._problem(f"cannot be asked for vectors: {problem}") from None
        if answer.status != 200:
            raise self._problem(
                f"answered {answer.status} when asked for vectors", "Does the model make embeddings, and is the key allowed to?"
            )
        return self._read(content, len(texts))

    def _read(self, content: bytes, count: int) -> Embedded:
        try:
            told = msgspec.json.decode(content, type=_Answer)
        except (msgspec.MsgspecError, UnicodeDecodeError) as problem:
            raise self._problem(f"answered with what are no vectors: {problem}") from None
        rows = sorted(told.data, key=lambda row: row.index or 0)  # stable: rows without a number stay where they are
        if len(rows) != count or any(row.index not in (None, place) for place, row in enumerate(rows)):
            raise self._problem(f"answered with {len(rows)} vectors for {count} texts")
        dimensions = {len(row.embedding) for row in rows} | {self.dimensions or len(rows[0].embedding)}
        if len(dimensions) != 1 or dimensions == {0}:
            raise self._problem(f"answered with vectors of {', '.join(map(str, sorted(dimensions)))} dimensions")
        vectors = np.array([row.embedding for row in rows])
        with np.errstate(over="ignore"):  # what is too long is refused below
            lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not np.isfinite(lengths).all() or not lengths.all():
            raise self._problem("answered with vectors that have no direction")
        self.dimensions = vectors.shape[1]
        used = told.usage or _Usage()
        tokens = used.prompt_tokens if used.prompt_tokens is not None else used.total_tokens
        return Embedded((vectors / lengths).astype(np.float32), tokens)

    def _problem(self, reason: str, hint: str = "") -> EmbedderError:
        return EmbedderError(f"the upstream `{self._upstream.name}` of the embedder `{self._model}` {reason}", hint)


def _readable(text: str) -> str:
    """Without halves of surrogate pairs, which UTF-8 cannot carry."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
