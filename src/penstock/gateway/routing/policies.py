"""What the controller has proven of each route, as this worker last heard it."""

from collections.abc import Iterable, Mapping

from penstock.domain.routing.proving.policy import RoutePolicy


class Policies:
    """One policy per route at most; a route without one has nothing open."""

    __slots__ = ("_by_route",)

    def __init__(self) -> None:
        self._by_route: Mapping[str, RoutePolicy] = {}

    def hear(self, policies: Iterable[RoutePolicy]) -> None:
        """Puts what the controller says in the place of what it said before."""
        self._by_route = {policy.route: policy for policy in policies}

    def of(self, route: str) -> RoutePolicy | None:
        """The policy of a route, however old; None: none was heard."""
        return self._by_route.get(route)
