"""The upstreams that the gateway may call, each behind its rules, replicas picked by least outstanding work."""

from collections.abc import Mapping

from penstock.gateway.breaker import Breaker
from penstock.ports.upstream import Replica, Upstream


class NotPermitted(Exception):
    """A call was about to reach an upstream that a rule forbids for it."""


class Line:
    """One replica with its breaker."""

    __slots__ = ("breaker", "replica")

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self.breaker = Breaker()


class Upstreams:
    """The only way from a request to a replica: it takes what the rules permit as an argument, so no path can skip them."""

    def __init__(self, upstreams: Mapping[str, Upstream], retries: Mapping[str, int], asks_usage: Mapping[str, bool]) -> None:
        self._lines = {name: [Line(replica) for replica in upstream.replicas] for name, upstream in upstreams.items()}
        self.retries = retries
        self.asks_usage = asks_usage
        self.names = frozenset(upstreams)

    def pick(self, name: str, permitted: frozenset[str] | None, now: float, avoid: Line | None = None) -> Line | None:
        """The admitted replica with the least outstanding calls, another than `avoid` if there is one; None: all circuits open.

        Raises `NotPermitted` when the rules of the request do not allow this upstream.
        """
        if permitted is not None and name not in permitted:
            raise NotPermitted(name)
        lines = self._lines[name]
        if len(lines) == 1:
            return lines[0] if lines[0].breaker.admits(now) else None
        admitted = [line for line in lines if line.breaker.admits(now)]
        if not admitted:
            return None
        others = [line for line in admitted if line is not avoid] or admitted
        return min(others, key=lambda line: line.replica.outstanding)

    def alone(self, name: str) -> bool:
        """Whether an upstream has a single replica."""
        return len(self._lines[name]) == 1

    def gauges(self, now: float) -> dict[str, list[tuple[str, str, int]]]:
        """Outstanding calls and open circuits by (upstream, replica)."""
        lines = [(name, line) for name, replicas in self._lines.items() for line in replicas]
        return {
            "upstream_outstanding": [(name, line.replica.name, line.replica.outstanding) for name, line in lines],
            "circuit_open": [(name, line.replica.name, int(not line.breaker.closed)) for name, line in lines],
        }
