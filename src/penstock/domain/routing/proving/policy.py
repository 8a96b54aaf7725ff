"""Which ways are open on a route, tag by tag: what the cost plane proves, and the data plane acts on."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from penstock.domain.routing.course import Course

State = Literal["proven", "expected", "gated", "closed", "alarm", "off"]
"""`proven`: labels of this tag bound its loss below the error budget; `expected`: other tags and what there is of its own make that likely;
`gated`: too little is known of it, so only what two cheap tiers agree on is kept, which has gone well elsewhere; `closed`: nothing cheap is
open; `alarm`: it was, and its labels show more loss than was expected; `off`: it does not beat the best fixed split at its cost, so the
best single tier answers"""


class TagPolicy(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One tag of a route. Losses are means over its requests, of what is kept of cheap tiers."""

    tag: str
    state: State
    course: Course
    labels: int = 0
    expected_loss: float | None = None
    loss_low: float | None = None
    """80 % interval of the expected loss"""
    loss_high: float | None = None
    at_most: float | None = None
    """what labels prove, with probability 1 - delta at all times at once"""
    cost_share: float | None = None
    """expected cost as a share of always asking the last tier"""
    shadow: float = 0.0
    """share of its requests to be shadowed"""
    since_ns: int = 0
    """when its state began"""


class RoutePolicy(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A route: its tags, and what holds for one that was never seen."""

    route: str
    at_ns: int
    error_budget: float
    models: Mapping[str, str]
    """tier -> `name@version` that the evidence is about; another model's tier is as good as unproven"""
    tags: Mapping[str, TagPolicy] = {}
    fresh: TagPolicy | None = None
    """for tags without evidence; None: nothing is known, so the last tier answers"""
    sla: Mapping[str, "RoutePolicy"] = {}
    """what holds instead for requests of an `sla` that has an error budget or a cost weight of its own"""

    def of(self, tag: str) -> TagPolicy | None:
        return self.tags.get(tag, self.fresh)
