"""The learner: evidence and counts become policies, which are published. Once for all hosts, by the controller that leads."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from penstock.config.editions import editions_of
from penstock.config.routing import Route, RouteSla
from penstock.config.settings import Settings
from penstock.domain.ledger.record import UsageRecord
from penstock.domain.ledger.routed import Observation
from penstock.domain.prices.schedule import HOUR_NS
from penstock.domain.routing.proving.fitting import fit
from penstock.domain.routing.proving.knowledge import Law
from penstock.domain.routing.proving.policy import RoutePolicy
from penstock.finops.routing.counting import Counting
from penstock.finops.routing.labels import settled
from penstock.finops.routing.publishing import Publisher
from penstock.ports.evidence import EvidenceStore

STRATEGIES: Final = ("cascade", "gate", "learned")
"""that go by evidence, where the route has an error budget"""
WINDOW_NS: Final = 30 * 24 * HOUR_NS
"""older evidence says nothing of now"""
MOST: Final = 20_000
"""observations of a route that are read, the newest"""
MOST_OF_TAG: Final = 2_000
LOOK_S: Final = 2.0
AGAIN_NS: Final = 60 * 10**9
"""without news: workers do not go by a policy that is long not renewed, and other hosts bring evidence that is not heard of here"""

Pressure = Callable[[str, int], float]
"""(name of a budget, now) -> what `cost_weight` is multiplied with: 1 or more"""


def learned_routes(settings: Settings) -> dict[str, Route]:
    """The routes that go by evidence, by name."""
    return {name: route for name, route in settings.routes.items() if route.error_budget is not None and route.strategy in STRATEGIES}


def law_of(settings: Settings, name: str, pressure: float = 1.0, sla: str | None = None) -> Law:
    """What the config says of such a route, for requests of an `sla` where it says something else of them; `pressure` multiplies its
    `cost_weight`."""
    route = settings.routes[name]
    own = route.sla.get(sla or "", RouteSla())
    changes = {key: value for key in ("error_budget", "cost_weight") if (value := getattr(own, key)) is not None}
    return law_for(name, msgspec.structs.replace(route, **changes), editions_of(settings, name), pressure)


def law_for(name: str, route: Route, editions: Mapping[str, str], pressure: float = 1.0) -> Law:
    """The same of a route with an error budget, configured or only tried; `editions`: tier -> `name@version`."""
    assert route.error_budget is not None
    return Law(
        route=name,
        tiers=route.tiers,
        strategy=route.strategy,
        error_budget=route.error_budget,
        confidence=route.confidence,
        cost_weight=None if route.cost_weight is None else route.cost_weight * pressure,
        together=route.budget_over == "route",
        shadow=route.shadow,
        models=editions,
    )


class RouteLearner:
    """The chore. It learns anew from what the store has every time, so that whoever leads next goes on where it was."""

    def __init__(self, settings: Settings, evidence: EvidenceStore, counting: Counting, publisher: Publisher, pressure: Pressure) -> None:
        self._settings, self._routes = settings, learned_routes(settings)
        self._evidence, self._counting, self._publisher, self._pressure = evidence, counting, publisher, pressure
        self._news = True
        self._done_ns = 0

    def observe(self, records: Sequence[UsageRecord]) -> None:
        """Hears of every record of this host: whether there is something new to learn from."""
        if any(record.observed is not None for record in records):
            self._news = True

    def told(self) -> None:
        """Somebody has said something of an answer."""
        self._news = True

    def step(self, now_ns: int) -> int:
        """Learns, where there is something new or it was long ago. One route that cannot be learned keeps no other from it.
        Raises `StoreError`."""
        if not self._news and 0 <= now_ns - self._done_ns < AGAIN_NS:
            return 0
        self._news = False
        problems: list[Exception] = []
        self._publisher.withdraw(tuple(self._routes))
        for name, route in self._routes.items():
            try:
                self._learn(name, route, now_ns)
            except Exception as problem:  # whatever it is: it is raised when the others are done
                problems.append(problem)
        if problems:
            self._news = True
            raise problems[0]
        self._done_ns = now_ns
        return 0

    def _learn(self, name: str, route: Route, now_ns: int) -> None:
        counts = self._counting.of(name, now_ns)
        found = newest_of_tags(self._evidence.since(now_ns - WINDOW_NS, name, MOST))
        pressure = self._pressure(route.follow_budget, now_ns) if route.follow_budget is not None else 1.0

        def policy(sla: str | None = None) -> RoutePolicy:
            law = law_of(self._settings, name, pressure, sla)
            return fit(law, settled(found, counts, law.error_budget, now_ns), counts, now_ns)

        apart = {sla: policy(sla) for sla, own in route.sla.items() if own.error_budget is not None or own.cost_weight is not None}
        self._publisher.publish(msgspec.structs.replace(policy(), sla=apart))


def newest_of_tags(observations: Sequence[Observation], most: int = MOST_OF_TAG) -> list[Observation]:
    """At most so many labels of each tag, the newest ones, and as many of what people said; in their order."""
    room: dict[tuple[str, bool], int] = {}
    kept: list[Observation] = []
    for each in reversed(observations):
        place = each.tag, each.judge == "feedback"
        left = room.get(place, most)
        if left:
            room[place] = left - 1
            kept.append(each)
    return kept[::-1]
