"""How able a simulated model is: what it answers rightly, what it refuses, and how sure it sounds.

Every question has a difficulty from 0 to 1: the one that its known answer states, else one that follows from its words. A model is
right where its skill is above it, give or take a little that is of this model and this question, and a little less of this very call.
Prose ends with an answer that is right or wrong, as JSON and the arguments of a tool are as a whole. All models that are right say the
same. Those that are wrong make one of ten mistakes, so two of them seldom agree.
"""

import random
from collections.abc import Mapping
from math import exp

import msgspec

from penstock.adapters.upstreams.simulated.answers import Voice, digest_of
from penstock.adapters.upstreams.simulated.known import Answer

REFUSAL = "I'm sorry, but I can't help with that."
OF_MODEL, OF_CALL = 0.06, 0.03
"""standard deviations by which a question is harder or easier: for a model, and for a call with a temperature above 0"""
MISTAKES = 10
STEEPNESS, EASE, NOISE = 9.0, 1.2, 0.7
"""of the logistic curve from what a model is above a question's difficulty to the probability that it gives its tokens"""


class Take(msgspec.Struct, frozen=True):
    """What a model makes of a question."""

    voice: Voice
    digest: bytes
    """that the words follow from; of JSON and arguments all that are right have the same one"""
    sure: float
    """mean probability of its tokens, 0 to 1"""


def take(voice: Voice, asked: str, known: Answer | None, skill: float, refuses: float, model: str, call: bytes, varied: bool) -> Take:
    """How a model answers a question. `call`: a digest of the very call, whose abilities vary where it has a temperature."""
    question = asked.encode("utf-8", "replace")
    own = random.Random(digest_of(model.encode("utf-8", "replace"), question))  # noqa: S311  no secret hangs on it
    mistake, refused = own.randrange(MISTAKES), own.random() < refuses
    above = skill - _difficulty(question, known) + own.gauss(0, OF_MODEL)
    if varied:
        above += random.Random(call).gauss(0, OF_CALL)  # noqa: S311  the same
    sure = 1 / (1 + exp(-(STEEPNESS * above + EASE + own.gauss(0, NOISE))))
    right = above > 0
    digest = digest_of(question, b"right" if right else b"wrong %d" % mistake)
    if voice.tool is not None or voice.schema is not None:
        return Take(voice, digest, sure)
    if refused or known is not None:
        told = REFUSAL if refused or known is None else _told(known, right, mistake)
        return Take(msgspec.structs.replace(voice, known=(told,)), call, sure)
    final = f"The answer is {int.from_bytes(digest[:4], 'big') % 9_000 + 1_000}."
    return Take(msgspec.structs.replace(voice, final=final), call, sure)


def _told(known: Answer, right: bool, mistake: int) -> str:
    return known.say[0] if right else known.wrong[mistake % len(known.wrong)]


def _difficulty(question: bytes, known: Answer | None) -> float:
    if known is not None and known.difficulty is not None:
        return known.difficulty
    return int.from_bytes(digest_of(b"difficulty", question)[:4], "big") / 2**32


def skill_of(skill: float | Mapping[str, float] | None, model: str) -> float | None:
    """A model's own one of several; None: it has none, and makes everything up."""
    return skill.get(model) if isinstance(skill, Mapping) else skill
