"""The way of a request over tiers: what is asked at once, when an answer is kept, and what comes next.

Every strategy is such a course. A stage asks its tiers; what their answers show puts the request into a stratum; the share of that
stratum that is open, and a coin, say whether the first tier's answer is kept. The last stage is always kept.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from penstock.domain.ledger.routed import Kind, Sign, Stratum

STRATA: Final[Mapping[Kind, tuple[Stratum, ...]]] = {
    "direct": ("direct",),
    "cascade": ("confident", "unsure"),
    "gate": ("agree", "differ"),
}
"""from the safest on; `failed` (a check, its form or its end speaks against an answer) is of every judged stage, and never open"""


class Stage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Tiers that are asked at once. The first one's answer is the one that is kept."""

    kind: Kind
    tiers: tuple[str, ...]
    shares: Mapping[Stratum, float] = {}
    """stratum -> share of its answers that is kept; a stratum that is not named: none"""
    confidence: float | None = None
    """of a cascade: from which on an answer is `confident`"""

    def share(self, stratum: Stratum) -> float:
        return 1.0 if self.kind == "direct" else self.shares.get(stratum, 0.0)


class Course(msgspec.Struct, frozen=True, omit_defaults=True):
    """Stages in order. `why` says in words what led to it: it is shown."""

    stages: tuple[Stage, ...]
    why: str = ""


def confidence_of(signs: Sequence[Sign]) -> float | None:
    """The least of what the signs say, for any of them may see what the others do not; None where none says anything."""
    return min((sign.value for sign in signs if sign.value is not None), default=None)


def stratum_of(stage: Stage, signs: Sequence[Sign], agreed: bool | None = None) -> Stratum:
    """Where a stage's answer belongs. `agreed`: of a gate, whether its tiers say the same; None counts as no.

    An answer of a cascade that shows nothing of itself is `unsure`.
    """
    if stage.kind == "direct":
        return "direct"
    if any(sign.fails for sign in signs):
        return "failed"
    if stage.kind == "gate":
        return "agree" if agreed else "differ"
    confidence = confidence_of(signs)
    return "confident" if confidence is not None and stage.confidence is not None and confidence >= stage.confidence else "unsure"


def by_signals(strategy: str, tiers: Sequence[str], confidence: float) -> tuple[Stage, ...]:
    """The stages of a strategy as it is without evidence, on tiers cheap to dear; of one that has none, the last tier."""
    *cheap, last = tiers
    end = Stage("direct", (last,))
    if strategy == "fixed":
        return (Stage("direct", (tiers[0],)),)
    if strategy == "cascade":
        return *(Stage("cascade", (tier,), {"confident": 1.0, "unsure": 0.0}, confidence) for tier in cheap), end
    if strategy == "gate" and len(cheap) >= 2:
        return Stage("gate", tuple(cheap[:2]), {"agree": 1.0, "differ": 0.0}), end
    return (end,)
