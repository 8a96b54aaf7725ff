"""Routing by evidence, wired: what is counted, learned and published on the controller, and what people's words are made of."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from penstock.bootstrap.audit import open_audit
from penstock.bootstrap.leading import host_name
from penstock.bootstrap.ledger import open_books, open_documents, open_evidence
from penstock.bootstrap.notifying import console_link
from penstock.config.editions import editions_of
from penstock.config.settings import Settings

if TYPE_CHECKING:
    from penstock.domain.ledger.record import UsageRecord
    from penstock.finops.chores import Chore
    from penstock.finops.leading import Leader
    from penstock.finops.metrics import Gauges
    from penstock.finops.routing.hearing import RouteFeedback
    from penstock.finops.routing.publishing import Post
    from penstock.gateway.routing.shadowing import Shadows

REST = 4.0
"""a fifth of a core is enough for what learns"""


class Routed:
    """What a controller does for routes that go by evidence; every host counts its own requests, and the one that leads learns."""

    def __init__(self, settings: Settings, leader: "Leader", post: "Post", log: Callable[[str], None]) -> None:
        """`post` is the outbox. Raises `StoreError`, `JournalError`."""
        from penstock.finops.chores import Paced
        from penstock.finops.leading import LeaderOnly
        from penstock.finops.routing.counting import Counting
        from penstock.finops.routing.learning import LOOK_S, RouteLearner, learned_routes
        from penstock.finops.routing.pressing import BudgetPressure
        from penstock.finops.routing.publishing import Published, Publisher

        routes, documents = tuple(learned_routes(settings)), open_documents(settings)
        counting = Counting(documents, host_name(settings), routes)
        link = console_link(settings, "/routing")
        publisher = Publisher(documents, open_audit(settings), post, tuple(settings.notify), log, link)
        pressure = BudgetPressure(settings, lambda now_ns: open_books(settings, now_ns))
        self._learner = RouteLearner(settings, open_evidence(settings), counting, publisher, pressure)
        self.policies: Published = Published(documents, routes)
        """what stands, for the workers"""
        self.chores: tuple[Chore, ...] = (counting, LeaderOnly(Paced(self._learner, LOOK_S, REST), leader))
        self.gauges: Callable[[], Gauges] = self.policies.gauges
        self.observers: tuple[Callable[[Sequence[UsageRecord]], None], ...] = (counting.observe, self._learner.observe)

    def told(self) -> None:
        """Somebody has said something of an answer: it is learned soon."""
        self._learner.told()


def open_shadows(settings: Settings, log: Callable[[str], None]) -> "Shadows | None":
    """What measures a worker's routes; None where no route keeps evidence. Raises `UnitError` for a budget that cannot be read."""
    if all(route.error_budget is None for route in settings.routes.values()):
        return None
    from penstock.gateway.routing.shadowing import Shadows

    return Shadows(settings, log)


def keeps_evidence(settings: Settings) -> bool:
    """Whether some route goes by evidence."""
    from penstock.finops.routing.learning import learned_routes

    return bool(learned_routes(settings))


def open_route_feedback(settings: Settings, told: Callable[[], None]) -> "RouteFeedback":
    """What ratings say of the tiers that answered. Raises `StoreError`."""
    from penstock.finops.routing.hearing import RouteFeedback

    return RouteFeedback({name: editions_of(settings, name) for name in settings.routes}, open_evidence(settings), told)
