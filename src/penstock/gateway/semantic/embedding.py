"""The embedder as a request may use it: within its time, not at all while it fails, and never past a rule."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

from penstock.domain.dialects.tokens import Tokens
from penstock.domain.dialects.usage import estimate_tokens
from penstock.domain.ledger.costing import price_call
from penstock.domain.prices.book import PriceBook
from penstock.gateway.breaker import Breaker
from penstock.gateway.semantic.look import Embedding
from penstock.ports.embedder import Embedder, EmbedderError, Vectors

BUDGET_S: Final = 0.25
"""how long a request waits for its vector"""
LATER_S: Final = 5.0
"""and how long what is learned after it does"""


class NoVector(Exception):
    """Why there is none, in words for a record; `embedding` is what it took all the same."""

    def __init__(self, reason: str, embedding: Embedding | None = None) -> None:
        super().__init__(reason)
        self.embedding = embedding


class Embeddings:
    """`model`: of `[models]` that the embedder asks, and `upstream` of it; None for an embedder of this process, which costs nothing."""

    def __init__(
        self,
        embedder: Embedder,
        log: Callable[[str], None],
        model: str | None = None,
        upstream: str | None = None,
        budget_s: float = BUDGET_S,
    ) -> None:
        self._embedder, self._log, self._budget_s = embedder, log, budget_s
        self._breaker = Breaker()
        self.model, self.upstream = model, upstream

    @property
    def stamp(self) -> str:
        return self._embedder.stamp

    @property
    def free(self) -> bool:
        """Whether texts may be embedded that no request pays for."""
        return self.model is None

    def may_see(self, permitted: frozenset[str] | None) -> bool:
        """Whether rules let the embedder see a question."""
        return self.upstream is None or permitted is None or self.upstream in permitted

    def cost(self, prices: PriceBook, embedding: Embedding, at_ns: int) -> int | None:
        """Nano-USD; None: it has no price, or nobody counted its tokens."""
        if self.model is None or embedding.tokens == 0:
            return 0
        if embedding.tokens is None:
            return None
        return price_call(prices, self.model, Tokens(embedding.tokens, 0, 0, 0, 0), at_ns).cost

    async def of_question(self, text: str) -> tuple[Vectors, Embedding]:
        """The vector of a question, on a request's path. Raises `NoVector`."""
        now = time.monotonic()
        if not self._breaker.admits(now):
            raise NoVector("the embedder failed of late")
        began = time.perf_counter()
        self._breaker.started()
        try:
            async with asyncio.timeout(self._budget_s):
                made = await self._embedder.embed([text])
        except TimeoutError:
            self._failed(f"it takes longer than {self._budget_s} s")
            raise NoVector("the embedder was too slow", self._broken_off(text, began)) from None
        except EmbedderError as problem:
            self._failed(f"{problem}\nhint: {problem.hint}" if problem.hint else str(problem))
            raise NoVector("the embedder failed") from None
        except BaseException:
            self._breaker.released()
            raise
        if self._breaker.succeeded():
            self._log("the embedder of the semantic cache answers again")
        return made.vectors[0], Embedding(_us(began), self._tokens(made.tokens))

    async def of_texts(self, texts: Sequence[str]) -> Vectors | None:
        """Vectors beside any request; None: there are none. Only for an embedder that is `free`."""
        if not self._breaker.admits(time.monotonic()):
            return None
        try:
            async with asyncio.timeout(LATER_S):
                return (await self._embedder.embed(texts)).vectors
        except (TimeoutError, EmbedderError):
            return None  # requests tell of it: they meet the same embedder

    async def close(self) -> None:
        await self._embedder.close()

    def _tokens(self, told: int | None) -> int | None:
        return 0 if self.model is None else told

    def _broken_off(self, text: str, began: float) -> Embedding | None:
        """What a call took that was given up, and may have been charged."""
        return None if self.model is None else Embedding(_us(began), estimate_tokens(len(text.encode("utf-8", "replace"))), guessed=True)

    def _failed(self, reason: str) -> None:
        if self._breaker.failed(time.monotonic()):
            self._log(f"warning: the semantic cache does without its embedder for a while: {reason}")


def _us(began: float) -> int:
    return int((time.perf_counter() - began) * 1e6)
