"""The honest control: whether what is open earns more than a fixed split of the requests over single tiers would at the same cost."""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from penstock.domain.ledger.routed import Observation, Stratum
from penstock.domain.routing.control import Control, against_fixed_split
from penstock.domain.routing.proving.opening import Choice
from penstock.domain.routing.proving.ways import Outcome

FEWEST: Final = 200
"""labelled requests before a router is held against its control"""
MOST: Final = 2_000


class Row(NamedTuple):
    """A labelled request: what ways would have made of it, and all tiers' qualities and costs (nano-USD)."""

    tag: str
    outcomes: Sequence[Outcome | None]
    qualities: tuple[float, ...]
    costs: tuple[int, ...]
    weight: float


def row_of(observation: Observation, outcomes: Sequence[Outcome | None]) -> Row | None:
    """None where a quality or a cost is unknown: such a request cannot be compared."""
    qualities = tuple([seen.quality for seen in observation.seen if seen.quality is not None])
    costs = tuple([seen.cost for seen in observation.seen if seen.cost is not None])
    if not len(qualities) == len(costs) == len(observation.seen):
        return None
    return Row(observation.tag, outcomes, qualities, costs, 1 / observation.propensity)


def controlled(rows: Sequence[Row], chosen: Callable[[str], Choice | None]) -> Control | None:
    """What is chosen for each tag against the best fixed split of the same requests; None: there are too few to say."""
    if len(rows) < FEWEST:
        return None
    routed = [_routed(row, chosen(row.tag)) for row in rows]
    return against_fixed_split(
        [quality for quality, _ in routed],
        [cost for _, cost in routed],
        [row.qualities for row in rows],
        [row.costs for row in rows],
        weights=[row.weight for row in rows],
    )


def _routed(row: Row, choice: Choice | None) -> tuple[float, float]:
    """Expected quality and cost of a request, over the coin that keeps a part of its stratum."""
    reference, dear = row.qualities[-1], float(row.costs[-1])
    outcome = None if choice is None or choice.way is None else row.outcomes[choice.way]
    if choice is None or outcome is None or outcome.loss is None or outcome.cost is None:
        return reference, dear
    parts: dict[Stratum, float] = dict(choice.opening.parts)
    kept = parts.get(outcome.stratum, 0.0)
    return reference - kept * outcome.loss, outcome.cost + (1 - kept) * dear
