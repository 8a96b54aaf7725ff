"""A question on its way through the semantic cache: what was looked for, and what came of it."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from penstock.domain.routing.similarity.evidence import Judgement, Neighbour
from penstock.ports.cache import CachedAnswer

NOBODY = ""
"""who asks where nobody is named: all such callers are one user"""


class Look(msgspec.Struct):
    """What a request asks, and what must be remembered of it until its answer is there."""

    scope: tuple[str, ...]
    partition: bytes
    """16 bytes: everything of the request but the question"""
    wording: bytes
    """16 bytes: partition and normalised question"""
    text: str
    user: str
    """`NOBODY`, or who is named, by key and tag"""
    ttl_s: float
    """how long its answer may be replayed"""
    asked: bytes
    """the exact cache's key of it: the very same request"""
    max_error: float | None = None
    """the request's own bound"""
    banned: str | None = None
    """the entry that this user has just been answered from, and asks again"""
    vector: bytes | None = None
    """float32, little-endian"""
    stamp: str | None = None
    """of the embedder that made the vector"""
    neighbours: Sequence[Neighbour] = ()
    judgement: Judgement | None = None
    chosen: str | None = None
    """the entry that was judged best, where a model answers all the same"""
    fits: bool = False
    """it would have been served, but for the coin that made a probe of it, or for shadow mode"""
    propensity: float = 1.0
    """probability with which it was sent to the model"""
    named: bool = False
    """a tag names the user: a key alone may be that of many"""

    @property
    def scope_key(self) -> str:
        return " ".join(self.scope)


class Embedding(NamedTuple):
    """What embedding a question took. `tokens` are those to pay for: 0 where none are; None where nobody counted them."""

    us: int
    tokens: int | None = 0
    guessed: bool = False
    """the tokens are estimated: what was charged for a call that broke off is not told"""


class Found(msgspec.Struct, frozen=True):
    """What a look-up by meaning came to."""

    judgement: Judgement | None = None
    """None: it could not be looked"""
    answer: CachedAnswer | None = None
    """to serve it"""
    reason: str | None = None
    """why it could not be looked, or why the answer that was found is not at hand"""
    embedding: Embedding | None = None
