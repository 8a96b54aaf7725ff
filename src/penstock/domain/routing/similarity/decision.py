"""Serve, probe or refuse: the whole decision of the semantic cache for one scope, and what it learns from."""

import struct
from collections.abc import Sequence
from math import exp
from typing import Final

import msgspec
import numpy as np

from penstock.domain.routing.similarity.evidence import Compared, Judgement, Looked, Mode, Neighbour
from penstock.domain.routing.similarity.features import NAMES, Pair, hashed, pairs
from penstock.domain.routing.similarity.guards import is_aside
from penstock.domain.routing.similarity.judge import EXTRA, WIDTH, Judge, Learned, Prior, Row, shipped
from penstock.domain.routing.similarity.promise import Figures, Promise, Standing

_TEACHING: Final = 3
"""nearest neighbours that teach the judge"""
_SAME: Final = 0.5
"""from so much agreement on, answers count as the same"""
_VERSION: Final = hashed(" ".join((*EXTRA, *NAMES)))
"""of the features: those of another one are not learned from"""
_LAYOUT: Final = struct.Struct(f"<II{WIDTH}f")
"""features on their way through the log: their version, the answer's hash, the row, then hashes of words"""


class _State(msgspec.Struct):
    version: int
    learned: Learned
    figures: Figures


class Decider:
    """The judge of one scope. The same calls in the same order leave the same state, wherever they are made."""

    def __init__(self, mode: Mode, max_error: float, similarity: float, probe: float, prior: Prior | None = None) -> None:
        """`max_error`: accepted wrong answers as a share of requests; `similarity`: least cosine that zero-trust serves; `probe`: share
        of candidates that are sent to the model to measure errors. Raises ValueError for a prior of other features."""
        self._mode, self._max_error, self._similarity, self._probe = mode, max_error, similarity, probe
        self._judge = Judge(prior or shipped())
        self._promise = Promise(max_error, probe)

    def decide(self, text: str, neighbours: Sequence[Neighbour], draw: float, max_error: float | None = None) -> Judgement:
        """What to do with a question whose `neighbours` are the nearest first. `draw`: a uniform random number in [0, 1).

        `max_error` of the request tightens the operator's; a larger one changes nothing.
        """
        mode: Mode = "zero-trust" if self._mode == "learned" and self._promise.alarm else self._mode
        if not neighbours:
            self._promise.saw(None)
            return Judgement("nothing", mode)
        found = pairs(text, neighbours)
        rows = self._judge.rows(found)
        taught = tuple([_packed(row, pair) for row, pair in zip(rows, found, strict=True)])
        odds = self._judge.odds(rows)
        servable = [at for at, each in enumerate(neighbours) if each.servable]
        if not servable:
            self._promise.saw(None)
            return Judgement("nothing", mode, features=taught)
        best = max(servable, key=lambda at: float(odds[at]))
        self._promise.saw(self._promise.risk(_risk(odds[best])))
        asked = self._max_error if max_error is None else min(max_error, self._max_error)
        if mode == "zero-trust":
            trusted = [at for at in servable if self._is_trusted(found[at])] if asked else []
            at = trusted[0] if trusted else best
            fits, bound, chance = bool(trusted), self._similarity, self._probe
            risk = self._promise.risk(_risk(odds[at]))
        else:
            at, risk = best, self._promise.risk(_risk(odds[best]))
            bound, chance = self._promise.threshold(asked), self._promise.chance_of_probe(risk)
            fits = risk <= bound and self._promise.affords(risk)
        pair = found[at]
        if fits and (draw >= chance or mode == "shadow"):
            self._promise.serves(risk)
        return Judgement(
            "refuse" if not fits else "probe" if draw < chance else "serve", mode, pair.neighbour.entry, pair.neighbour.similarity,
            risk, bound, 1 - chance if fits else 0.0, _against(pair), taught,
        )  # fmt: skip

    def learn(self, compared: Sequence[Compared], chosen: str | None, fits: bool, propensity: float) -> None:
        """Takes in what a fresh answer taught. `chosen`: the entry that was judged best; `fits`: it would have been served but for the
        coin, or for shadow mode; `propensity`: with which the question was sent to the model. Raises ValueError for foreign features."""
        read = [unpacked(each.features) for each in compared]
        for each, (_, row, _) in zip(compared, read, strict=True):
            if each.entry == chosen:  # first of all: a risk that knows of the outcome proves nothing
                raw = _risk(self._judge.odds(row[None, :])[0])
                self._promise.compared(raw, float(each.agreed < _SAME), propensity, fits)
        for at, (each, (answer, row, words)) in enumerate(zip(compared, read, strict=True)):
            if at < _TEACHING or each.entry == chosen:
                self._judge.learn(row, each.agreed, 1 / propensity if each.entry == chosen else 1.0)
                self._judge.note_words(words, each.agreed)
            if at == 0:
                self._judge.note_answer(answer, each.agreed)

    def told(self, right: bool, risk: float | None) -> None:
        """Takes in what a person said of an answer that was served."""
        if not right and risk is not None:
            self._promise.told_wrong(risk)

    def looked(self, counts: Looked, *, own: bool = True) -> None:
        """Takes in how many requests came, by what came of them, since the last call. `own`: this process looked at them."""
        self._promise.counted(counts.requests, counts.semantic, counts.risk, own=own)

    def standing(self) -> Standing:
        """How the promise is kept."""
        return self._promise.standing()

    def state(self) -> bytes:
        """All that was learned."""
        return msgspec.msgpack.encode(_State(_VERSION, self._judge.learned(), self._promise.figures))

    def restore(self, state: bytes) -> None:
        """Goes on from a state. Raises ValueError for one that cannot be read."""
        try:
            read = msgspec.msgpack.decode(state, type=_State)
        except msgspec.DecodeError as problem:
            raise ValueError(f"what was learned cannot be read: {problem}") from problem
        if read.version != _VERSION or not read.figures.is_whole():
            raise ValueError("what was learned is of another version")
        self._judge.go_on(read.learned)
        self._promise.figures = read.figures

    def _is_trusted(self, pair: Pair) -> bool:
        """Near, with the same content words in the same order, and no difference that a guard knows."""
        return pair.neighbour.similarity >= self._similarity and not _against(pair)


def _against(pair: Pair) -> tuple[str, ...]:
    """The differences by name: those that guards know, other content words, words that stand the other way round, and what
    only zero-trust takes seriously."""
    difference = pair.difference
    words = ("words",) if not is_aside(difference) else ()
    turned = ("turned",) if difference.turned else ()
    return (*difference.guards, *words, *turned, *difference.strict)


def _risk(odds: float) -> float:
    return 1 / (1 + exp(min(max(float(odds), -30.0), 30.0)))


def _packed(row: Row, pair: Pair) -> bytes:
    return _LAYOUT.pack(_VERSION, hashed(pair.neighbour.answer), *row) + struct.pack(f"<{len(pair.words)}I", *pair.words)


def unpacked(data: bytes) -> tuple[int, Row, tuple[int, ...]]:
    """The answer's hash, the judge's row and the words' hashes of what a judgement told. Raises ValueError for what is no such thing."""
    if len(data) < _LAYOUT.size or (len(data) - _LAYOUT.size) % 4:
        raise ValueError("these features are of another version")
    version, answer, *row = _LAYOUT.unpack_from(data)
    if version != _VERSION:
        raise ValueError("these features are of another version")
    return answer, np.array(row), struct.unpack_from(f"<{(len(data) - _LAYOUT.size) // 4}I", data, _LAYOUT.size)
