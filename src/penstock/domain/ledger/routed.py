"""How a request went over tiers, and what all tiers made of it where it was shadowed: parts of the usage record."""

from typing import Literal

import msgspec

Kind = Literal["direct", "cascade", "gate"]
"""`direct`: the answer is not judged; `cascade`: by the confidence that it shows; `gate`: by whether both tiers say the same"""
Stratum = Literal["direct", "confident", "unsure", "agree", "differ", "failed"]


class Sign(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that an answer shows of itself: `logprobs`, `samples`, `finish`, `refusal`, `schema`, `check:<name>` ..."""

    name: str
    value: float | None = None
    """confidence or agreement, 0 to 1; None: it is yes or no, or could not be told"""
    fails: bool = False
    said: str = ""


class Judged(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of one stage: it is kept on the record."""

    kind: Kind
    tiers: tuple[str, ...]
    stratum: Stratum
    kept: bool
    share: float = 1.0
    """of its stratum that is open"""
    confidence: float | None = None
    signs: tuple[Sign, ...] = ()


Purpose = Literal["draft", "vote", "sample", "verifier", "classifier", "shadow", "judge"]
"""What a call was made for that did not answer the client itself: a `draft` was judged and not kept, a `vote` only compared, a `sample`
is one of several of a tier; a `verifier` judges an answer before it is kept, a `classifier` the request; a `shadow` measures, beside
the answer, what another tier would have said, and a `judge` compares shadows."""


class RouteDecision(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a request went over tiers, and why: what `penstock explain` shows of it."""

    tag: str | None
    """values of the route's `by`; None: the route keeps no evidence"""
    why: str
    stages: tuple[Judged, ...] = ()
    error_budget: float | None = None
    expected_loss: float | None = None
    """of what was open when it was decided, mean over its tag; None: unknown"""
    preset: str | None = None
    session: str | None = None
    """digest of the conversation whose tier it kept to"""
    shadowed: bool = False
    """all tiers answer it, beside what the client gets"""
    shadow_propensity: float | None = None


Judge = Literal["check", "agreement", "model", "feedback", "table"]
"""what the qualities come from: a programmatic check; whether the answer agrees with the reference's (consistency, not quality); a model
that compared them in both orders; a person; a table of graded answers"""


class Seen(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one tier made of the request."""

    tier: str
    quality: float | None = None
    """None: the judge could not tell"""
    cost: int | None = None
    """nano-USD; None: unknown"""
    answer: str | None = None
    """digest of the answer in canonical form: equal answers have equal digests; None: there is nothing to compare"""
    confidence: float | None = None
    failed: bool = False
    """a check, the form that was asked for, a refusal or the way it ended speaks against it"""
    model: str = ""
    """who answered for the tier, `name@version`: evidence of another one is not used"""


class Observation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One labelled request."""

    id: str
    at_ns: int
    route: str
    tag: str
    """values of the route's `by`, joined by ` / `; `unknown` for one that is missing"""
    seen: tuple[Seen, ...]
    """tiers cheap to dear; the last is the reference"""
    judge: Judge
    propensity: float = 1.0
    """probability with which this request was labelled"""
    noise: float = 0.0
    """share of labels that such a judge gets wrong"""
    complexity: float | None = None
    length: int | None = None
    """characters of the question"""
