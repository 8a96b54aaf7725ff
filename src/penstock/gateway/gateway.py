"""All that the steps need, wired once at start: settings compiled, ports plugged in."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from penstock.config.settings import Settings
from penstock.domain.prices.book import PriceBook
from penstock.domain.routing.rules import RuleBook
from penstock.gateway.accounts import Caps
from penstock.gateway.keys import KeyRing
from penstock.gateway.lanes import Lanes
from penstock.gateway.purses import Purses
from penstock.gateway.rates import Rates
from penstock.gateway.routing.paces import Paces
from penstock.gateway.routing.policies import Policies
from penstock.gateway.routing.sessions import Sessions
from penstock.gateway.speech import Speech
from penstock.gateway.standing import Standing
from penstock.gateway.targets import Targets
from penstock.gateway.upstreams import Upstreams
from penstock.ports.cache import Cache
from penstock.ports.journal import Journal

if TYPE_CHECKING:
    from penstock.gateway.routing.checking import Checks
    from penstock.gateway.routing.shadowing import Shadows
    from penstock.gateway.semantic.meaning import Meaning


class Counters(msgspec.Struct):
    """What a worker counts by itself, for `/metrics`."""

    in_flight: int = 0
    journal_failures: int = 0
    unmetered: int = 0
    exceeded: int = 0
    """requests that cost more than was reserved for them"""
    refused: dict[str, int] = {}
    """budget -> requests that it refused"""


class Gateway(msgspec.Struct, frozen=True):
    """The wired data plane of one worker. `log` tells people of trouble, on stderr."""

    settings: Settings
    targets: Targets
    rules: RuleBook
    prices: PriceBook
    keys: KeyRing
    cache: Cache | None
    upstreams: Upstreams
    lanes: Lanes
    speech: Speech
    journal: Journal
    log: Callable[[str], None]
    counters: Counters
    baseline: str | None
    """the model that counterfactuals are priced on; None: the model that answered, without cache"""
    name: str = "worker"
    """this worker, on its records and in the budget book"""
    purses: Purses | None = None
    caps: Caps | None = None
    rates: Rates | None = None
    standing: Standing = msgspec.field(default_factory=Standing)
    """what the controller asks for while an objective is missed"""
    meaning: "Meaning | None" = None
    """the semantic cache; None: it is off, or what it needs is not installed"""
    policies: Policies = msgspec.field(default_factory=Policies)
    """which ways are open on each route, as the controller says"""
    sessions: Sessions = msgspec.field(default_factory=Sessions)
    """which tier conversations stay with"""
    paces: Paces = msgspec.field(default_factory=Paces)
    """how quick models were lately"""
    checks: "Checks | None" = None
    """what answers are tested by; None: there is no route"""
    shadows: "Shadows | None" = None
    """measures what cheap tiers lose, beside the answers; None: no route keeps evidence"""
