"""How many requests a second a replica serves, learned from its signals by who was not told.

While requests wait at every replica all the time, what is served is the most that there is; a share of it is wanted. While none waits for
long, tokens in flight grow with the rate (Little's law), so the rate at which that share of the memory for keys and values would be taken
is known in proportion. The smaller of the two binds.
"""

from penstock.domain.simulation.replica import Signals

_NEWEST = 0.3
"""weight of the newest window"""


class Throughput:
    """Signals in, tick by tick; requests a second of a replica out."""

    def __init__(self, use: float) -> None:
        """`use`: share of what a replica can do that is wanted of it, from 0 to 1."""
        self._use = use
        self._in_memory: float | None = None
        self._at_most: float | None = None
        self._waited: int | None = None
        self._begin()

    def _begin(self) -> None:
        self._seconds = self._arrivals = self._replica_s = self._tokens_s = self._room_s = 0.0
        self._jammed, self._free = True, True

    @property
    def rps(self) -> float | None:
        """None as long as nothing was served."""
        known = [each for each in (self._in_memory, self._at_most) if each is not None]
        return min(known, default=None)

    def observe(self, signals: Signals) -> None:
        """One tick."""
        if self._waited is None:
            self._waited = signals.waiting
        self._seconds += signals.interval_s
        self._arrivals += signals.arrivals
        self._replica_s += signals.ready * signals.interval_s
        self._tokens_s += signals.tokens_in_flight * signals.interval_s
        self._room_s += signals.token_capacity * signals.interval_s
        self._jammed = self._jammed and signals.waiting >= max(1, signals.ready)
        self._free = self._free and signals.waiting <= signals.ready

    def learn(self, waiting: int) -> None:
        """The window ends with so many waiting."""
        served = self._arrivals + (self._waited or 0) - waiting
        if served > 0 and self._replica_s:
            if self._jammed:
                self._at_most = _moved(self._at_most, self._use * served / self._replica_s)
            elif self._free and self._tokens_s and self._room_s:
                taken = self._tokens_s / (self._use * self._room_s)
                self._in_memory = _moved(self._in_memory, self._arrivals / (self._replica_s * taken) if self._arrivals else None)
        self._waited = waiting
        self._begin()


def _moved(known: float | None, seen: float | None) -> float | None:
    if known is None or seen is None:
        return seen if known is None else known
    return known + _NEWEST * (seen - known)
