"""How often the semantic cache was found to be wrong, as what measures it tells those who show it."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from penstock.domain.routing.similarity.evidence import Mode


class ScopeTruth(msgspec.Struct, frozen=True, kw_only=True):
    """One scope, since it is measured."""

    scope: str
    """as `[cache] scope` says, in words"""
    mode: Mode
    """that decides now: after an alarm `learned` has become `zero-trust`"""
    requests: int
    """that the cache looked at"""
    served: int
    """of those, answered by meaning; in mode `shadow` those that would have been"""
    compared: int = 0
    """answers by meaning that were compared with a fresh one"""
    estimate: float | None = None
    """wrong ones as a share of answers by meaning; None: not measured yet"""
    low: float | None = None
    high: float | None = None
    """of an interval around it; None where the estimate is"""
    expected: float | None = None
    """wrong answers to be expected by the risks at which answers were served, as a share of REQUESTS; None: nothing is served, or nobody
    knows"""
    at_most: float | None = None
    """what the promise bounds them by with a probability of 95 %, as a share of REQUESTS; None where `expected` is"""
    promised: float | None = None
    """most wrong answers that are accepted, as a share of REQUESTS; None: nothing is promised, as in zero-trust"""
    alarm: bool = False
    """what was measured speaks against the risks, or for more than is promised: this scope has fallen back to zero-trust"""


class CacheTruth(Protocol):
    """What is known now, from memory: it neither waits nor fails. Called from the threads that build pages."""

    def scopes(self) -> Sequence[ScopeTruth]:
        """Every scope that something is known of."""
        ...
