"""Directives: what the cost plane asks of the data plane for a while, each by an objective that is missed, each reversible.

A directive ends by itself at `until_ns`: when nobody renews it (the controller is away), traffic goes its usual way again.
"""

from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec

Response = Literal["shift_traffic", "downgrade", "hold_best_effort", "scale_down"]


class Directive(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One standing response. `argument`: the tier of `shift_traffic`, the fleet of `scale_down`, else empty."""

    id: str
    kind: Response
    objective: str
    """name of the [[slos]] that asks for it"""
    where: dict[str, str]
    """requests that it holds for: tags or derived tags"""
    since_ns: int
    until_ns: int
    argument: str = ""
    target_units: int | None = None
    """of `scale_down`: how many GPUs (or slices) should run"""


class Directives(Protocol):
    """Synchronous, shared by all hosts. Raises `StoreError`."""

    def put(self, directive: Directive) -> None:
        """Begins or renews it."""

    def lift(self, id: str) -> None:
        """Ends it; one that is not there is fine."""

    def standing(self, now_ns: int) -> Sequence[Directive]:
        """Those that hold now, oldest first."""
