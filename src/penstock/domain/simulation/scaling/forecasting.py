"""How many replicas the next window of traffic needs, told from the windows before it, as they come.

    rate to be ready for = last + HELD * (held - last) + steps * (half of the usual fast move + half of the usual slow one)

`held` is a peak that sinks back to the last rate. A usual move is a running mean of how much the rate went up, or down, which counts less,
from window to window: over about three windows, and over about thirty. So head-room is a few of the moves that the traffic makes
now: little in a calm night, much while batch jobs come and go. A fixed share of the rate is too much for the one and too little for the
other.

How many moves is learned, window by window: more after requests over capacity, beyond the share that is accepted; fewer while
more was asked for than is accepted of a fleet that knew all rates beforehand. A point of cost weighs a tenth of a point of requests.

A fleet shrinks by a twentieth or not at all, unless less has been enough for twice `hold_windows`. From one turn from growing to shrinking
to the next it takes `hold_windows` at least, and twice that in the mean: half an hour and an hour make two reversals an hour at most.

The constants were chosen on ServeGen's rates of production models in windows of ten minutes (github.com/alibaba/ServeGen, commit f891d11),
at half, once and twice the size of a replica, halves of them and backwards too; `bench/autoscale.py` shows what they reach there.
"""

from math import ceil, exp, inf, isfinite
from typing import Final

FIRST: Final = 32
"""replicas before anything is known: one window of a fleet too large costs little, of one too small all its requests"""
OVER_SHARE: Final = 0.0025
COST_RATIO: Final = 1.26
HOLD_WINDOWS: Final = 3
_FAST, _SLOW = 0.3, 0.03
"""weight of the newest move in its running means"""
_FALL = 0.6
"""what a move downwards counts"""
_FIRST_MOVE = 0.1
"""share of the first rate that is taken for a usual move"""
_HELD, _SINKS = 0.5, 0.6
_STEPS, _LEAST_STEPS, _MOST_STEPS = 2.5, 1.0, 6.0
_LEARN_OVER, _LEARN_COST = 0.5, 0.05
_NEGLIGIBLE = 0.001
"""head-room below that share of the rate is none: steady traffic needs no further replica for it"""
_SHRINK = 0.05
_SPACED = 2.1
"""times the hold from turn to turn in the mean"""


class RateForecaster:
    """Replicas for the next window of a series of rates, window by window: `replicas`, then `observe` what came, and again."""

    def __init__(
        self,
        *,
        late_share: float = 0.3,
        over_share: float = OVER_SHARE,
        cost_ratio: float = COST_RATIO,
        hold_windows: int = HOLD_WINDOWS,
        first: int = FIRST,
    ) -> None:
        """`late_share`: of a window, until what was asked for at its begin serves (180 s of 600 s). `over_share`: of requests, accepted
        over capacity. `cost_ratio`: replicas asked for over those that a perfect forecast asks for, accepted. `first`: replicas of the
        first window, which nothing is known of."""
        if not (0 <= late_share <= 1 and 0 < over_share < 1):
            raise ValueError("a share is from 0 to 1, that of requests over capacity strictly between")
        if not (1 <= cost_ratio < inf and hold_windows >= 0 and first >= 0):
            raise ValueError("a ratio of costs is 1 at least, windows and replicas are not negative")
        self._late, self._over, self._ratio, self._hold = late_share, over_share, cost_ratio, hold_windows
        self._first = first
        self._windows, self._total = 0, 0.0
        self._last = self._held = 0.0
        self._fast = self._slow = 0.0
        self._steps = _STEPS
        self._stands: int | None = None
        """replicas of the window before"""
        self._grew, self._turned, self._turns = False, -inf, 0
        self._less = 0
        """windows for which less than that has been enough"""
        self._asked: tuple[int, bool, float] | None = None
        """for the next window, whether less than stands would do, and the rate of a replica"""

    def rate(self) -> float:
        """To be ready for in the next window, in the unit of the rates; 0 before the first."""
        spare = _HELD * (self._held - self._last) + self._steps * (self._fast + self._slow) / 2
        return self._last + (spare if spare > _NEGLIGIBLE * self._last else 0.0)

    def replicas(self, rps_per_replica: float) -> int:
        """Asked for, from the begin of the next window on; after the first at least 1. Asking again changes nothing. Raises ValueError for
        a rate of a replica that is not above 0."""
        if not (isfinite(rps_per_replica) and rps_per_replica > 0):
            raise ValueError(f"a replica must serve more than {rps_per_replica} requests a second")
        asked = self._first if not self._windows else max(1, ceil(self.rate() / rps_per_replica))
        stands = self._stands
        less = stands is not None and asked < stands
        if stands is not None and less:
            slight = asked > stands * (1 - _SHRINK) and self._less < 2 * self._hold
            if slight or (self._grew and not self._may_turn()):
                asked = stands
        self._asked = asked, less, rps_per_replica
        return asked

    def _may_turn(self) -> bool:
        since, spaced = self._windows - self._turned, _SPACED * self._hold
        return since >= spaced or (since >= self._hold and (self._turns + 1) * spaced <= self._windows + self._hold)

    def observe(self, rate_rps: float) -> None:
        """What came in the window. Raises ValueError for a rate that is none."""
        if not (isfinite(rate_rps) and rate_rps >= 0):
            raise ValueError(f"{rate_rps} is no rate: a number of requests a second, 0 or more, is one")
        self._total += rate_rps
        if self._asked is not None:
            self._settle(rate_rps, *self._asked)
        self._follow(rate_rps)
        self._windows += 1

    def _settle(self, rate_rps: float, asked: int, less: bool, rps_per_replica: float) -> None:
        """What the answer was worth, and which way the fleet went."""
        stood = asked if self._stands is None else self._stands
        if asked != stood:
            if asked < stood and self._grew:
                self._turned, self._turns = self._windows, self._turns + 1
            self._grew = asked > stood
        self._less = self._less + 1 if less and asked == stood else 0
        self._stands, self._asked = asked, None
        mean = self._total / (self._windows + 1)
        if not self._windows or not mean:
            return
        over = over_capacity(rate_rps, asked, stood, rps_per_replica, self._late) / mean
        needed = max(1, ceil(rate_rps / rps_per_replica))
        dear = (self._ratio - asked / needed) * rate_rps / mean
        learned = min(max(_LEARN_OVER * (over - self._over) + _LEARN_COST * dear, -1.0), 1.0)
        self._steps = min(max(self._steps * exp(learned), _LEAST_STEPS), _MOST_STEPS)

    def _follow(self, rate_rps: float) -> None:
        if not self._windows:
            self._fast = self._slow = _FIRST_MOVE * rate_rps
            self._held = rate_rps
        else:
            change = rate_rps - self._last
            move = change if change > 0 else -_FALL * change
            self._fast += _FAST * (move - self._fast)
            self._slow += _SLOW * (move - self._slow)
            self._held = max(rate_rps, _SINKS * self._held + (1 - _SINKS) * rate_rps)
        self._last = rate_rps


def over_capacity(rate_rps: float, asked: int, stood: int, rps_per_replica: float, late_share: float) -> float:
    """Requests a second over capacity, mean of a window of a steady rate: `asked` replicas serve after the late share of it, until then
    no more than `stood` before. What is not asked for any more is gone at once."""
    early = max(0.0, rate_rps - min(asked, stood) * rps_per_replica)
    return late_share * early + (1 - late_share) * max(0.0, rate_rps - asked * rps_per_replica)
