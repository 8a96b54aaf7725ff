"""The directives that stand in this worker, as the controller last told them, made ready for matching.

What the controller does not renew ends by itself at its `until_ns`, on this worker's clock.
"""

from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from typing import Final

import msgspec

from penstock.gateway.exchange import Exchange
from penstock.gateway.targets import CANDIDATE_KEYS, Candidate
from penstock.ports.directives import Directive

_BY_REQUEST: Final[Mapping[str, Callable[[Exchange], str | None]]] = {
    "sla": attrgetter("sla"),
    "endpoint": attrgetter("endpoint"),
    "key_id": attrgetter("key_id"),
    "requested_model": attrgetter("asked_for"),
}


class Stand(msgspec.Struct, frozen=True):
    """A directive and its `where` in two parts: what the request itself says, and what the config says of a model."""

    directive: Directive
    by_request: tuple[tuple[str, str], ...]
    by_model: tuple[tuple[str, str], ...]

    def asks(self, x: Exchange) -> bool:
        """Whether the request itself is one of those that the directive is about; its model left aside."""
        return all((_BY_REQUEST[key](x) if key in _BY_REQUEST else x.tags.get(key)) == value for key, value in self.by_request)

    def names(self, candidate: Candidate) -> bool:
        """Whether a model is one of those that the directive is about."""
        return all(CANDIDATE_KEYS[key](candidate) == value for key, value in self.by_model)


class Standing:
    """What stands now, oldest first; empty as long as no objective is missed."""

    __slots__ = ("holds", "shifts")

    def __init__(self) -> None:
        self.shifts: tuple[Stand, ...] = ()
        """`shift_traffic` and `downgrade`"""
        self.holds: tuple[Stand, ...] = ()
        """`hold_best_effort`"""

    def hear(self, directives: Iterable[Directive]) -> None:
        """Puts what the controller says in the place of what it said before."""
        stands = [_stand(each) for each in sorted(directives, key=attrgetter("since_ns"))]
        self.shifts = tuple(each for each in stands if each.directive.kind in ("shift_traffic", "downgrade"))
        self.holds = tuple(each for each in stands if each.directive.kind == "hold_best_effort")


def _stand(directive: Directive) -> Stand:
    pairs = tuple(directive.where.items())
    return Stand(
        directive,
        tuple(pair for pair in pairs if pair[0] not in CANDIDATE_KEYS),
        tuple(pair for pair in pairs if pair[0] in CANDIDATE_KEYS),
    )
