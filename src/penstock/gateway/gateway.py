"""All that the steps need, wired once at start: settings compiled, ports plugged in."""

from collections.abc import Callable

import msgspec

from penstock.config.settings import Settings
from penstock.domain.prices.book import PriceBook
from penstock.domain.routing.rules import RuleBook
from penstock.gateway.accounts import Caps
from penstock.gateway.keys import KeyRing
from penstock.gateway.lanes import Lanes
from penstock.gateway.purses import Purses
from penstock.gateway.rates import Rates
from penstock.gateway.speech import Speech
from penstock.gateway.standing import Standing
from penstock.gateway.targets import Targets
from penstock.gateway.upstreams import Upstreams
from penstock.ports.cache import Cache
from penstock.ports.journal import Journal


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
