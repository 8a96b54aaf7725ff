"""`spec.behavior` of a HorizontalPodAutoscaler, autoscaling/v2: stabilisation windows, and policies of so many pods or percent a period.

After Kubernetes 1.33, `pkg/controller/podautoscaler/horizontal.go`, `stabilizeRecommendationWithBehaviors` and
`convertDesiredReplicasWithBehaviorRate`.
"""

from collections import deque
from math import ceil, floor
from typing import Literal

import msgspec


class Step(msgspec.Struct, frozen=True):
    """The most that may change within a period."""

    kind: Literal["Pods", "Percent"]
    value: int
    period_s: float


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """One direction."""

    window_s: float
    """`stabilizationWindowSeconds`: upwards the least that was wanted within it counts, downwards the most"""
    steps: tuple[Step, ...]
    select: Literal["Max", "Min"] = "Max"
    """which of the steps counts: the one that changes most, or least"""


class Behaviour(msgspec.Struct, frozen=True):
    """Both directions."""

    up: Rules
    down: Rules


DEFAULT = Behaviour(
    up=Rules(window_s=0, steps=(Step("Percent", 100, 15), Step("Pods", 4, 15))),
    down=Rules(window_s=300, steps=(Step("Percent", 100, 15),)),
)
"""of Kubernetes, where nothing is written"""


class Behaving:
    """A behaviour at work: remembers what was wanted, and what was done."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        self._wanted: deque[tuple[float, int]] = deque()
        self._changes: deque[tuple[float, int]] = deque()

    def limited(self, wanted: int, replicas: int, at_s: float) -> int:
        """What becomes of `wanted` where there are `replicas` now; it is taken for done."""
        stable = self._stable(wanted, replicas, at_s)
        after = stable
        if stable > replicas:
            after = min(stable, self._bound(self._behaviour.up, replicas, at_s, 1))
        elif stable < replicas:
            after = max(stable, self._bound(self._behaviour.down, replicas, at_s, -1))
        if after != replicas:
            self._changes.append((at_s, after - replicas))
        return after

    def _stable(self, wanted: int, replicas: int, at_s: float) -> int:
        up, down = self._behaviour.up.window_s, self._behaviour.down.window_s
        if not self._wanted:
            self._wanted.append((at_s, replicas))  # so a new autoscaler hesitates, too
        self._wanted.append((at_s, wanted))
        while self._wanted[0][0] <= at_s - max(up, down) and len(self._wanted) > 1:
            self._wanted.popleft()
        least = min((each for when, each in self._wanted if when > at_s - up), default=wanted)
        most = max((each for when, each in self._wanted if when > at_s - down), default=wanted)
        return min(max(replicas, least), most)

    def _bound(self, rules: Rules, replicas: int, at_s: float, sign: int) -> int:
        """As far as the steps let it go. What was changed within a step's period, either way, is counted from the period's begin."""
        longest = max((step.period_s for side in (self._behaviour.up, self._behaviour.down) for step in side.steps), default=0.0)
        while self._changes and self._changes[0][0] <= at_s - longest:
            self._changes.popleft()
        bounds = []
        for step in rules.steps:
            begin = replicas - sum(change for when, change in self._changes if when > at_s - step.period_s)
            moved = begin + sign * step.value if step.kind == "Pods" else begin * (100 + sign * step.value) / 100
            bounds.append(ceil(moved) if sign > 0 else floor(max(moved, 0)))
        farthest = max if (sign > 0) == (rules.select == "Max") else min
        return farthest(bounds, default=replicas)
