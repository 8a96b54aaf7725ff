"""What is known of questions that stand near each other, before and after a fresh answer tells whether they were the same."""

from typing import Literal

import msgspec

Mode = Literal["zero-trust", "learned", "shadow"]


class Neighbour(msgspec.Struct, frozen=True):
    """A question that was answered before, as the index found it."""

    entry: str
    text: str
    similarity: float
    """cosine"""
    answer: str
    """the same for entries whose answers agreed: the entry that was the first of them"""
    servable: bool = True
    """whether it may be served to who asks now: enough users agreed, or a person vouches for it"""


class Judgement(msgspec.Struct, frozen=True):
    """What is to be done with a question, and why."""

    verdict: Literal["serve", "probe", "refuse", "nothing"]
    """`probe`: it could be served, but is sent to the model to measure how often that is wrong"""
    mode: Mode
    """the mode that decided"""
    entry: str | None = None
    similarity: float | None = None
    risk: float | None = None
    """probability that the entry's answer is wrong for this question"""
    threshold: float | None = None
    propensity: float = 0.0
    """probability with which such a question is served"""
    guards: tuple[str, ...] = ()
    """differences that speak against it"""
    features: tuple[bytes, ...] = ()
    """one for each neighbour, only for `learn`"""


class Compared(msgspec.Struct, frozen=True, array_like=True):
    """A fresh answer beside one that was kept: what was known before, and whether they agreed."""

    entry: str
    similarity: float
    features: bytes
    """as the judgement told them"""
    agreed: float
    """1: the same answer; 0: another one; between: the probability that they are the same"""


class Looked(msgspec.Struct, frozen=True, array_like=True):
    """Requests of a scope by what came of them."""

    requests: int = 0
    """those that could be answered by meaning, exact repeats of such among them: accepted errors are a share of these"""
    exact: int = 0
    """answered by the exact layer, whether they could have been by meaning or not"""
    normalised: int = 0
    semantic: int = 0
    probes: int = 0
    risk: float = 0.0
    """sum of the risks of what was served by meaning"""
